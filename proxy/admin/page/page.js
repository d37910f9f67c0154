// The live page: what the source says is shown everywhere. What is wrong has been judged by the proxy.

import { budget } from "./budget.js";
import { chart } from "./chart.js";
import { $, each, make, part, put } from "./dom.js";
import { callers, errors, facts, health, times } from "./lists.js";
import { Source } from "./source.js";
import { clock, rough } from "./words.js";

let seen = null; // when the last status came
let said = ""; // what was announced last

function status(now) {
  seen = Date.now();
  put($("about"), `${now.version}, up ${rough(Math.floor(now.uptime))}, at ${clock(now.now * 1000)}`);
  verdict(now.verdict);
  facts(now);
  budget(now.state);
  chart(now.recent);
  callers(now.callers);
  times(now.recent);
  health(now.state);
  errors(now.recent.errors, now.verdict.places);
}

function verdict(found) {
  headline(found.headline);
  const create = () => make("li");
  each($("also"), found.also, (one) => one.key, create, (node, one) => {
    put(node, one.text);
    node.dataset.level = one.level;
  });
  const place = () => make("li", "", make("span", "name"), make("b", "word"), make("span", "detail"));
  each($("way"), found.places, (one) => one.where, place, (node, one) => {
    node.dataset.level = one.level;
    put(part(node, "name"), one.name);
    put(part(node, "word"), one.word);
    put(part(node, "detail"), one.detail);
  });
}

// Numbers change every second: only another verdict is announced.
function headline({ key, level, title, text }) {
  put($("headline"), text);
  $("verdict").dataset.level = level;
  document.title = `${title} · avala-proxy`;
  if (said !== key) put($("said"), text);
  said = key;
}

function configuration(text) {
  put($("configuration"), text);
}

function feed(state) {
  const lost = state === "lost";
  const since = seen ? `last seen ${clock(seen)}` : "nothing seen yet";
  put($("feed"), { live: "live", polling: "polling", lost: `connection lost; ${since}` }[state]);
  $("feed").dataset.feed = state;
  document.body.classList.toggle("stale", lost);
  if (lost) headline({ key: "lost", level: "unknown", title: "Lost", text: `Connection lost; ${since}` });
}

new Source({ status, configuration, feed }).start();
