// The last three minutes as four strips over one axis, each with a scale of its own, and the same as a table.

import { $, attr, each, make, part, put } from "./dom.js";
import { count } from "./words.js";

const STRIPS = [
  { name: "sent", title: "Sent", unit: "in this second" },
  { name: "queued", title: "Waiting", unit: "now" },
  { name: "refused", title: "Refused", unit: "in this second" },
  { name: "rate_limited", title: "429s", unit: "in this second" },
];
const SECONDS = 180;
const HEIGHT = 40;
const HALF = 30;
const SVG = "http://www.w3.org/2000/svg";

export function chart({ history }) {
  each($("chart"), STRIPS, (strip) => strip.name, strip, (node, one) => fill(node, one, padded(history[one.name])));
  const halves = [...Array(SECONDS / HALF).keys()].reverse().map((index) => half(history, index));
  each($("halves"), halves, (one) => one.ago, row, cells);
}

// There may be fewer numbers than seconds: they are the newest.
function padded(series) {
  return [...Array(Math.max(0, SECONDS - series.length)).fill(0), ...series.slice(-SECONDS)];
}

function strip({ name, title }) {
  const drawing = document.createElementNS(SVG, "svg");
  attr(drawing, "viewBox", `0 0 ${SECONDS} ${HEIGHT}`);
  attr(drawing, "preserveAspectRatio", "none");
  attr(drawing, "role", "img");
  const minutes = document.createElementNS(SVG, "path");
  attr(minutes, "class", "minutes");
  attr(minutes, "d", `M60 0V${HEIGHT}M120 0V${HEIGHT}`);
  const bars = document.createElementNS(SVG, "path");
  attr(bars, "class", "bars");
  drawing.append(minutes, bars);
  const words = make("div", "words", make("span", "title", title), make("b", "value"));
  return make("div", `strip ${name}`, words, make("div", "plot", drawing, make("span", "scale")));
}

function fill(node, { title, unit }, series) {
  const top = ceiling(Math.max(...series));
  put(part(node, "value"), count(series.at(-1)));
  put(part(node, "scale"), count(top));
  attr(part(node, "bars"), "d", outline(series, top));
  const most = Math.max(...series);
  attr(node.querySelector("svg"), "aria-label", `${title}: ${count(series.at(-1))} ${unit}, at most ${count(most)} in three minutes`);
}

// One bar a second; what is not nothing can be seen.
function outline(series, top) {
  return series
    .map((value, second) => {
      const height = value && Math.max(1.5, (value / top) * (HEIGHT - 2));
      return value ? `M${second} ${HEIGHT}v${-height.toFixed(2)}h.85v${height.toFixed(2)}z` : "";
    })
    .join("");
}

// The least of 5, 10, 20, 50, 100, … that all values fit under: a scale that moves seldom.
function ceiling(most) {
  let step = 5;
  while (step < most) step *= String(step)[0] === "2" ? 2.5 : 2;
  return step;
}

function half(history, index) {
  const of = (name) => padded(history[name]).slice(SECONDS - HALF * (index + 1), SECONDS - HALF * index);
  const sum = (name) => of(name).reduce((all, value) => all + value, 0);
  return {
    ago: `${HALF * (index + 1)} to ${HALF * index}`,
    numbers: [sum("sent"), Math.max(...of("queued")), sum("refused"), sum("rate_limited")],
  };
}

function row({ ago, numbers }) {
  const head = make("th", "", ago);
  attr(head, "scope", "row");
  return make("tr", "", head, ...numbers.map(() => make("td")));
}

function cells(node, { numbers }) {
  numbers.forEach((value, index) => put(node.children[index + 1], count(value)));
}
