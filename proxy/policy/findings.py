"""Each thing that can be said of the proxy: where, how bad it is, and in which words.

A function for each case, in the order in which they are told. Which of them is the headline is decided in
`verdict.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from proxy.errors import ErrorClass, Fault
from proxy.policy.situation import PERIOD, Situation
from proxy.policy.words import listed, many, rough
from proxy.state import BreakerState

Where = Literal["client", "proxy", "network", "api"]
Level = Literal["ok", "note", "warn", "bad"]

NAMES: dict[Where, str] = {"client": "Clients", "proxy": "Proxy", "network": "Network", "api": "API"}
"""The places, in the order in which a request meets them."""

MINOR = frozenset(("network some", "api some", "clients some"))
"""Keys of what need not be said where there is worse."""

_REFUSALS = (
    ErrorClass.QUEUE_FULL,
    ErrorClass.QUEUE_TIMEOUT,
    ErrorClass.CIRCUIT_OPEN,
    ErrorClass.SHUTTING_DOWN,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them: its place, a short `word`, a `title` of a few, and a sentence, the `text`.

    `key` stays the same while only numbers change, so that nothing is announced twice.
    """

    where: Where
    level: Level
    word: str
    key: str
    title: str
    text: str


def findings(now: Situation) -> Iterator[Finding]:
    """Yield all that is to be said."""
    yield from _stopping(now)
    yield from _unresolved(now)
    for breaker in now.state.breakers:
        yield from _breaker(breaker, now)
    yield from _network(now)
    yield from _api(now)
    yield from _pauses(now)
    yield from _full(now)
    yield from _broken(now)
    yield from _refusing(now)
    yield from _store(now)
    yield from _unready(now)
    yield from _clients(now)
    yield from _waiting(now)


def _finding(where: Where, level: Level, word: str, key: str, text: str) -> Finding:
    return Finding(where, level, word, key, f"{NAMES[where]}: {word}", text)


def _stopping(now: Situation) -> Iterator[Finding]:
    if now.state.draining:
        left = many(now.state.in_flight, "request")
        yield _finding("proxy", "warn", "stopping", "stopping", f"The proxy is stopping: {left} to finish")


def _unresolved(now: Situation) -> Iterator[Finding]:
    if not now.ready and now.reason.startswith("dns_error"):
        yield _finding("network", "bad", "fails", "dns", "The network: the API’s name cannot be resolved")


def _breaker(breaker: BreakerState, now: Situation) -> Iterator[Finding]:
    name = breaker.name
    of = f"breaker of {name}" if len(now.state.breakers) > 1 else "breaker"
    if breaker.forced:
        text = f"Stopped by hand: the {of} is held open"
        yield _finding("proxy", "bad", "stopped", f"forced {name}", text)
    elif breaker.state == "half_open":
        text = f"The API is tried again: the {of} lets one request through"
        yield _finding("api", "warn", "tried again", f"half {name}", text)
    elif breaker.state == "open" and now.of_fault[Fault.NETWORK] > now.of_fault[Fault.UPSTREAM]:
        text = f"The network: connections fail, {of} open"
        yield _finding("network", "bad", "fails", f"open {name}", text)
    elif breaker.state == "open":
        yield _finding("api", "bad", "fails", f"open {name}", f"The API fails: {of} open")


def _network(now: Situation) -> Iterator[Finding]:
    errors = now.told(Fault.NETWORK)
    if now.is_severe(Fault.NETWORK):
        yield _finding("network", "bad", "fails", "network", f"The network: connections fail, {errors}")
    elif now.of_fault[Fault.NETWORK]:
        yield _finding("network", "warn", "unsteady", "network some", f"The network is unsteady: {errors}")


def _api(now: Situation) -> Iterator[Finding]:
    errors = now.told(Fault.UPSTREAM)
    if now.is_severe(Fault.UPSTREAM):
        yield _finding("api", "bad", "fails", "api", f"The API fails: {errors}")
    elif now.of_fault[Fault.UPSTREAM]:
        yield _finding("api", "warn", "unsteady", "api some", f"The API is unsteady: {errors}")


def _pauses(now: Situation) -> Iterator[Finding]:
    longest_first = sorted(now.state.pauses.items(), key=lambda pause: -pause[1])
    if longest_first:
        text = listed([f"{name} is paused for {rough(seconds)}" for name, seconds in longest_first])
        key = f"paused {','.join(sorted(now.state.pauses))}"
        yield _finding("api", "warn", "refuses", key, f"The API refuses: {text}")


def _full(now: Situation) -> Iterator[Finding]:
    if 0 < now.state.queue_size <= now.state.queued:
        text = f"The proxy’s queue is full: {now.state.queued:,} wait"
        yield _finding("proxy", "bad", "queue full", "full", text)


def _broken(now: Situation) -> Iterator[Finding]:
    if errors := now.of_class[ErrorClass.INTERNAL_ERROR]:
        text = f"The proxy failed: {many(errors, 'internal error')} {PERIOD}"
        yield _finding("proxy", "bad", "fails", "internal", text)


def _refusing(now: Situation) -> Iterator[Finding]:
    if now.refused:
        reasons = [name for name, count in now.of_class.items() if count and name in _REFUSALS]
        why = f" ({listed(reasons)})" if reasons else ""
        text = f"The proxy refused {many(now.refused, 'request')} {PERIOD}{why}"
        yield _finding("proxy", "warn", "refuses", "refusing", text)


def _store(now: Situation) -> Iterator[Finding]:
    if now.state.shared and not now.state.ledger_up:
        text = "The shared store is gone: this replica goes on with its share"
        yield _finding("proxy", "warn", "on its own", "store", text)


def _unready(now: Situation) -> Iterator[Finding]:
    """Tell what else makes it not ready: of a breaker, the name server and its end has been told by now."""
    told = now.state.draining or now.reason.startswith(("dns_error", "circuit_open"))
    if not now.ready and not told:
        yield _finding("proxy", "bad", "not ready", "unready", f"The proxy is not ready: {now.reason}")


def _clients(now: Situation) -> Iterator[Finding]:
    errors = now.told(Fault.CLIENT)
    if now.is_severe(Fault.CLIENT):
        text = f"The clients’ own requests are wrong: {errors}"
        yield _finding("client", "warn", "in error", "clients", text)
    elif now.of_fault[Fault.CLIENT]:
        text = f"Some requests of clients are wrong: {errors}"
        yield _finding("client", "note", "some errors", "clients some", text)


def _waiting(now: Situation) -> Iterator[Finding]:
    if not now.state.queued:
        return
    last = max((caller.last for caller in now.callers if caller.last is not None), default=None)
    until = "" if last is None else f", the last goes in {rough(last)}"
    used_up = [
        limit.name for limit in now.state.limits if limit.queued and limit.remaining <= 0 and not limit.paused
    ]
    because = f"; {listed(used_up)} {'are' if len(used_up) > 1 else 'is'} used up" if used_up else ""
    waiting = many(now.state.queued, "request waits", "requests wait")
    yield _finding("proxy", "note", "waiting", "waiting", f"{waiting}{until}{because}")
