// What is told line by line: the numbers of this moment, who waits, times, breakers, the ledger, errors.

import { $, attr, each, foreign, make, part, put, unseen } from "./dom.js";
import { clock, count, rough, span } from "./words.js";

const MINUTE = 60;

export function facts({ state, recent: { history } }) {
  const minute = (name) => count(history[name].slice(-MINUTE).reduce((sum, value) => sum + value, 0));
  const items = [
    ["In flight", count(state.in_flight), ""],
    ["Waiting", count(state.queued), `of ${count(state.queue_size)}`],
    ["Sent", minute("sent"), "in a minute"],
    ["Refused", minute("refused"), "in a minute"],
    ["429s", minute("rate_limited"), "in a minute"],
  ];
  const create = ([name]) => make("div", "", make("dt", "", name), make("dd", "", make("b", "value"), make("span", "unit")));
  each($("facts"), items, ([name]) => name, create, (node, [, value, unit]) => {
    put(part(node, "value"), value);
    put(part(node, "unit"), unit);
  });
}

export function callers(waiting) {
  $("nobody").hidden = waiting.length > 0;
  $("waiting").hidden = waiting.length === 0;
  const create = () => {
    const head = make("th", "", foreign("name"), unseen(", key "), foreign("key"));
    attr(head, "scope", "row");
    return make("tr", "", head, make("td", "queued"), make("td", "first"), make("td", "last"));
  };
  each($("callers"), waiting, (one) => JSON.stringify([one.credential, one.caller]), create, (node, one) => {
    put(part(node, "name"), one.caller);
    put(part(node, "key"), one.credential ?? "none");
    put(part(node, "queued"), count(one.queued));
    put(part(node, "first"), estimate(one.first));
    put(part(node, "last"), estimate(one.last));
  });
}

const estimate = (seconds) => (seconds === null ? "not known" : rough(seconds));

export function times({ upstream, waits }) {
  const create = ([name]) => {
    const head = make("th", "", name);
    attr(head, "scope", "row");
    return make("tr", "", head, ...Array.from({ length: 5 }, () => make("td")));
  };
  const items = [["API", upstream], ["in line", waits]];
  each($("times"), items, ([name]) => name, create, (node, [, found]) => {
    const said = [...[found.p50, found.p95, found.p99, found.most].map(span), count(found.count)];
    said.forEach((text, index) => put(node.children[index + 1], text));
  });
}

export function health(state) {
  const items = [...state.breakers.map(breaker), ledger(state)];
  const create = () => make("li", "", foreign("name"), make("span", "state"));
  each($("health"), items, (one) => one.key, create, (node, one) => {
    put(part(node, "name"), one.name);
    put(part(node, "state"), one.word);
    node.dataset.level = one.level;
  });
}

function breaker({ name, state, forced }) {
  const words = { closed: "closed", open: "open", half_open: "half open: one request tries" };
  const levels = { closed: "ok", open: "bad", half_open: "warn" };
  return {
    key: `breaker ${name}`,
    name: `breaker ${name}`,
    word: forced ? "held open by hand" : (words[state] ?? state),
    level: forced ? "bad" : (levels[state] ?? "warn"),
  };
}

function ledger({ shared, ledger_up: up, replicas }) {
  if (!shared) return { key: "ledger", name: "ledger", word: "of this process alone", level: "ok" };
  const word = up ? `shared by ${count(replicas)}` : `store gone; a share of 1 in ${count(replicas)}`;
  return { key: "ledger", name: "ledger", word, level: up ? "ok" : "warn" };
}

export function errors(found, places) {
  const groups = places.map(({ where, name }) => ({
    name,
    where,
    errors: found.filter(({ fault }) => (fault === "upstream" ? "api" : fault) === where),
  }));
  const create = ({ name, where }) => make("div", where, make("h3", "", name), make("p", "none", "No errors."), make("ul"));
  each($("errors"), groups, (group) => group.where, create, (node, group) => {
    part(node, "none").hidden = group.errors.length > 0;
    const list = node.querySelector("ul");
    list.hidden = group.errors.length === 0;
    each(list, group.errors, (error) => error.error_class, example, describe);
  });
}

function example() {
  const head = make("div", "head", foreign("name"), make("b", "value"), make("span", "new"));
  const lines = ["request", "answer", "id"].map((one) => make("div", one, make("span", "label"), foreign("text")));
  lines[1].append(foreign("code"));
  return make("li", "", head, ...lines);
}

function describe(node, { error_class: name, count: number, lately, last }) {
  put(part(node, "name"), name);
  put(part(node, "value"), count(number));
  put(part(node, "new"), lately ? `${count(lately)} just now` : "");
  labelled(part(node, "answer"), clock(last.at * 1000), last.status === null ? "no answer" : String(last.status));
  put(part(node, "code"), last.code ?? "");
  labelled(part(node, "request"), last.method, last.route);
  labelled(part(node, "id"), "id", last.request_id);
}

function labelled(node, label, text) {
  node.hidden = text === null;
  put(part(node, "label"), label);
  put(part(node, "text"), text ?? "");
}
