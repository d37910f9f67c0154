// The only place that judges: what is wrong, where, and how bad it is.
//
// `findings` lists all that is to be said, the worst first. Where: client, proxy, network or api, in the order in
// which a request meets them. `key` stays the same while only numbers change, so that nothing is announced twice.

import { count, list, many, rough } from "./words.js";

export const PLACES = { client: "Clients", proxy: "Proxy", network: "Network", api: "API" };
export const PLACE_OF_FAULT = { client: "client", proxy: "proxy", network: "network", upstream: "api" };

const SEVERITY = { bad: 2, warn: 1, note: 0 };
const REFUSALS = new Set(["queue_full", "queue_timeout", "circuit_open", "shutting_down"]);
const SPAN = 30; // seconds for which an error is one of now
const LATELY = `in the last ${SPAN} s`;
const SOME = " some"; // the end of the keys of what need not be said where there is worse

export function verdict(status) {
  const found = findings(status);
  const [worst] = found;
  const fine = !worst || worst.level === "note";
  const headline = fine ? { key: "serving", level: "ok", title: "Serving", text: "Serving" } : worst;
  return { ...headline, also: fine ? found : found.slice(1), places: places(found, status) };
}

export function findings(status) {
  const about = { ...status, ...status.state, lately: classes(status), faults: faults(status) };
  const found = [stopping, unresolved, breakers, network, api, pauses, queue, broken, refusing, store, unready, clients, waiting]
    .flatMap((look) => look(about))
    .sort((one, other) => SEVERITY[other.level] - SEVERITY[one.level]);
  return found.filter((one) => !one.key.endsWith(SOME) || found.find((other) => other.where === one.where) === one);
}

// How many errors of each fault there were lately; what the API refuses by 429 is told by its pause.
function faults(status) {
  const sum = { client: 0, upstream: 0, network: 0, proxy: 0 };
  for (const { error_class: name, fault, lately } of status.recent.errors) {
    if (name !== "rate_limited") sum[fault] += lately;
  }
  return { ...sum, sent: total(status.recent.history.sent) };
}

function classes(status) {
  return Object.fromEntries(status.recent.errors.map((error) => [error.error_class, error.lately]));
}

function total(series) {
  return series.slice(-SPAN).reduce((sum, value) => sum + value, 0);
}

function told(errors) {
  return `${many(errors, "error")} ${LATELY}`;
}

function finding(where, level, word, key, text) {
  return { where, level, word, key, text, title: `${PLACES[where]}: ${word}` };
}

function stopping({ draining, in_flight: left }) {
  if (!draining) return [];
  return [finding("proxy", "warn", "stopping", "stopping", `The proxy is stopping: ${many(left, "request")} to finish`)];
}

function unresolved({ ready, reason }) {
  if (ready || !reason.startsWith("dns_error")) return [];
  return [finding("network", "bad", "fails", "dns", "The network: the API’s name cannot be resolved")];
}

function breakers({ breakers: all, faults: by }) {
  return all.flatMap(({ name, state, forced }) => {
    const of = all.length > 1 ? `the breaker of ${name}` : "the breaker";
    if (forced) return [finding("proxy", "bad", "stopped", `forced ${name}`, `Stopped by hand: ${of} is held open`)];
    if (state === "half_open") {
      return [finding("api", "warn", "tried again", `half ${name}`, `The API is tried again: ${of} lets one request through`)];
    }
    if (state !== "open") return [];
    const open = all.length > 1 ? `breaker of ${name} open` : "breaker open";
    return by.network > by.upstream
      ? [finding("network", "bad", "fails", `open ${name}`, `The network: connections fail, ${open}`)]
      : [finding("api", "bad", "fails", `open ${name}`, `The API fails: ${open}`)];
  });
}

// Half of all that was tried is a failure; less is a nuisance.
function severe(errors, { sent }) {
  return errors >= 3 && errors * 2 >= sent;
}

function network({ faults: by }) {
  if (!by.network) return [];
  const errors = told(by.network);
  return severe(by.network, by)
    ? [finding("network", "bad", "fails", "network", `The network: connections fail, ${errors}`)]
    : [finding("network", "warn", "unsteady", "network some", `The network is unsteady: ${errors}`)];
}

function api({ faults: by }) {
  if (!by.upstream) return [];
  const errors = told(by.upstream);
  return severe(by.upstream, by)
    ? [finding("api", "bad", "fails", "api", `The API fails: ${errors}`)]
    : [finding("api", "warn", "unsteady", "api some", `The API is unsteady: ${errors}`)];
}

function pauses({ pauses: paused }) {
  const names = Object.keys(paused).sort((one, other) => paused[other] - paused[one]);
  if (!names.length) return [];
  const text = names.map((name) => `${name} is paused for ${rough(paused[name])}`);
  return [finding("api", "warn", "refuses", `paused ${names.sort()}`, `The API refuses: ${list(text)}`)];
}

function queue({ queued, queue_size: size }) {
  if (!size || queued < size) return [];
  return [finding("proxy", "bad", "queue full", "full", `The proxy’s queue is full: ${count(queued)} wait`)];
}

function broken({ lately }) {
  if (!lately.internal_error) return [];
  const text = `The proxy failed: ${many(lately.internal_error, "internal error")} ${LATELY}`;
  return [finding("proxy", "bad", "fails", "internal", text)];
}

function refusing({ recent, lately }) {
  const refused = total(recent.history.refused);
  if (!refused) return [];
  const why = Object.keys(lately).filter((name) => REFUSALS.has(name) && lately[name]);
  const text = `The proxy refused ${many(refused, "request")} ${LATELY}${why.length ? ` (${list(why)})` : ""}`;
  return [finding("proxy", "warn", "refuses", "refusing", text)];
}

function store({ shared, ledger_up: up }) {
  if (!shared || up) return [];
  return [finding("proxy", "warn", "on its own", "store", "The shared store is gone: this replica goes on with its share")];
}

// What makes it not ready has mostly been said by now.
function unready({ ready, reason, draining }) {
  if (ready || draining || /^(dns_error|circuit_open)/.test(reason)) return [];
  return [finding("proxy", "bad", "not ready", "unready", `The proxy is not ready: ${reason}`)];
}

function clients({ faults: by }) {
  if (!by.client) return [];
  const errors = told(by.client);
  return severe(by.client, by)
    ? [finding("client", "warn", "in error", "clients", `The clients’ own requests are wrong: ${errors}`)]
    : [finding("client", "note", "some errors", "clients some", `Some requests of clients are wrong: ${errors}`)];
}

function waiting({ queued, callers, limits }) {
  if (!queued) return [];
  const last = Math.max(...callers.map((caller) => caller.last ?? -1), -1);
  const until = last >= 0 ? `, the last goes in ${rough(last)}` : "";
  const full = limits.filter((limit) => !limit.paused && limit.queued && limit.remaining <= 0).map((limit) => limit.name);
  const because = full.length ? `; ${list(full)} ${full.length > 1 ? "are" : "is"} used up` : "";
  return [finding("proxy", "note", "waiting", "waiting", `${many(queued, "request waits", "requests wait")}${until}${because}`)];
}

// Each place by the worst that was found there.
function places(found, status) {
  const errors = faults(status);
  errors.upstream += classes(status).rate_limited ?? 0;
  return Object.entries(PLACE_OF_FAULT).map(([fault, where]) => {
    const worst = found.find((one) => one.where === where);
    return {
      where,
      name: PLACES[where],
      level: worst?.level ?? "ok",
      word: worst?.word ?? "fine",
      detail: errors[fault] ? `${many(errors[fault], "error")} in ${SPAN} s` : "no errors",
    };
  });
}
