// How much of each limit is left, and who has the rest.

import { $, attr, each, foreign, make, part, put } from "./dom.js";
import { count, rough } from "./words.js";

const PARTS = ["ours", "others", "reserve", "held"];

export function budget({ limits, pauses }) {
  each($("budget"), limits, (limit) => limit.name, gauge, (node, limit) => fill(node, limit, pauses[limit.name]));
}

function gauge({ name }) {
  const meter = make("div", "meter", ...PARTS.map((one) => make("span", one)));
  attr(meter, "role", "meter");
  attr(meter, "aria-label", `Left of ${name}`);
  const title = make("div", "limit", foreign("name"), make("span", "window"), make("span", "rest"));
  return make("li", "", title, meter, make("div", "split"));
}

function fill(node, limit, pause) {
  const { capacity, remaining, queued } = limit;
  const shares = divided(limit);
  put(part(node, "name"), limit.name);
  put(part(node, "window"), limit.window ? `${count(capacity)} per ${rough(limit.window)}` : `${count(capacity)} at once`);
  put(part(node, "rest"), limit.paused ? `paused${pause ? ` for ${rough(pause)}` : ""}` : `${count(remaining)} left`);
  node.classList.toggle("paused", limit.paused);
  node.classList.toggle("spent", !limit.paused && remaining <= 0);
  PARTS.forEach((one) => part(node, one).style.setProperty("flex-basis", `${(100 * shares[one]) / capacity}%`));
  const words = said(shares, queued);
  put(part(node, "split"), words.join(" · "));
  const meter = part(node, "meter");
  attr(meter, "aria-valuemin", 0);
  attr(meter, "aria-valuemax", capacity);
  attr(meter, "aria-valuenow", remaining);
  attr(meter, "aria-valuetext", `${count(remaining)} of ${count(capacity)} left: ${words.join(", ")}`);
}

// While it is paused nothing is left, and it is not known how much of that was used by whom.
function divided({ capacity, remaining, foreign: others, reserve, paused }) {
  const rest = Math.max(0, capacity - remaining - others - reserve);
  return { ours: paused ? 0 : rest, others, reserve, held: paused ? rest : 0 };
}

function said({ ours, others, reserve, held }, queued) {
  const parts = [
    [held, "held back"],
    [ours, "by us"],
    [others, "by others"],
    [reserve, "in reserve"],
    [queued, "waiting"],
  ];
  const words = parts.filter(([number]) => number).map(([number, what]) => `${count(number)} ${what}`);
  return words.length ? words : ["not used"];
}
