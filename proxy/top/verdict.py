"""How the proxy is, in a sentence: the gravest first, and what else is to be known.

The cases, in this order: no news; it drains; a breaker is open; the network fails; the API refuses; the queue
is full; the store is lost; it is not ready for another reason; it serves.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from proxy.top.marks import age, duration
from proxy.top.news import News
from proxy.top.status import Breaker, Status

_LATELY = 10.0
"""Seconds for which a failure of the network speaks for the network as it is now."""

_TOLD = ("draining", "circuit_open", "dns_error")
"""Reasons for not being ready that are said in a finding of their own."""


class Finding(NamedTuple):
    """A sentence, and how grave it is."""

    level: Literal["good", "warning", "bad"]
    text: str


def verdict(news: News) -> list[Finding]:
    """Say how it is; there is always something to say."""
    if news.status is None:
        return [Finding("bad", news.trouble) if news.trouble else Finding("warning", f"Asking {news.url}.")]
    if news.trouble:
        return [Finding("bad", f"No news since {_time(news.heard)}: {news.trouble}. It is tried again.")]
    status, found = news.status, list(_findings(news.status))
    if status.ready is False and not (found and status.reason.partition(":")[0] in _TOLD):
        found.append(Finding("bad", f"Not ready: {status.reason}"))
    return found or [Finding("good", "Serving.")]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


def _findings(status: Status) -> Iterator[Finding]:
    state = status.state
    if state.draining:
        yield Finding(
            "warning", f"Draining: no more are taken, {state.in_flight + state.queued:,} are let finish."
        )
    yield from map(_breaker, (one for one in state.breakers if one.state != "closed"))
    yield from _network(status)
    for limit, seconds in state.pauses.items():
        yield Finding("warning", f"The API refuses: limit {limit} is paused for {duration(seconds)}.")
    if 0 < state.queue_size <= state.queued:
        yield Finding("bad", f"The queue is full: {state.queued:,} wait, and whoever comes is refused.")
    if not state.ledger_up:
        yield Finding("warning", "The store is lost: this replica keeps to its share of the budget.")


def _breaker(breaker: Breaker) -> Finding:
    if breaker.state == "half_open":
        return Finding("warning", f"The API is tried again: the breaker of {breaker.name} is half open.")
    if breaker.forced:
        return Finding("bad", f"The API is left alone: the breaker of {breaker.name} was opened by hand.")
    return Finding("bad", f"The API fails: the breaker of {breaker.name} is open.")


def _network(status: Status) -> Iterator[Finding]:
    if status.reason.startswith("dns_error"):
        yield Finding("bad", f"The network fails: {status.reason}")
        return
    failures = [
        (status.now - error.last.at, error.error_class)
        for error in (status.recent.errors if status.recent else ())
        if error.fault == "network" and error.last is not None
    ]
    ago, error_class = min(failures, default=(_LATELY, ""))
    if ago < _LATELY:
        yield Finding("warning", f"The network fails: {error_class}, {age(ago)}.")
