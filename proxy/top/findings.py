"""What there is to say of a status: what is wrong, where, and how grave it is.

The cases and their order are those of the live page, so that two people who look at the same proxy, each in
their own way, talk of the same thing.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.top.marks import rough
from proxy.top.status import Breaker, Status

_SPAN = 30
_LATELY = f"in the last {_SPAN} s"
_REFUSALS = ("queue_full", "queue_timeout", "circuit_open", "shutting_down")


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence; that of `some` trouble needs not be said where there is worse."""

    where: Literal["client", "proxy", "network", "api"]
    level: Literal["good", "note", "warning", "bad"]
    text: str
    some: bool = False


def findings(status: Status) -> Iterator[Finding]:
    """Yield all that is to be said, each case as it is met on the way of a request."""
    lately = _Lately(status)
    yield from _stopping(status)
    yield from _unresolved(status)
    for breaker in status.state.breakers:
        yield from _breaker(breaker, lately, alone=len(status.state.breakers) == 1)
    yield from _network(lately)
    yield from _api(lately)
    yield from _pauses(status)
    yield from _full(status)
    yield from _broken(lately)
    yield from _refusing(lately)
    yield from _store(status)
    yield from _unready(status)
    yield from _clients(lately)
    yield from _waiting(status)


class _Lately:
    """The last half minute: errors by fault and by class, what was sent and what was refused."""

    def __init__(self, status: Status) -> None:
        recent = status.recent
        self.of_fault: Counter[str] = Counter()
        self.of_class: Counter[str] = Counter()
        for error in recent.errors if recent else ():
            self.of_class[error.error_class] += error.lately
            if error.error_class != "rate_limited":  # which its pause tells of
                self.of_fault[error.fault] += error.lately
        history = recent.history if recent else None
        self.sent = sum(history.sent[-_SPAN:]) if history else 0
        self.refused = sum(history.refused[-_SPAN:]) if history else 0

    def is_severe(self, fault: str) -> bool:
        """Whether half of all that was tried is a failure; less is a nuisance."""
        return self.of_fault[fault] >= 3 and self.of_fault[fault] * 2 >= self.sent

    def told(self, fault: str) -> str:
        """Tell how many errors there were."""
        return f"{_many(self.of_fault[fault], 'error')} {_LATELY}"


def _stopping(status: Status) -> Iterator[Finding]:
    if status.state.draining:
        left = _many(status.state.in_flight, "request")
        yield Finding("proxy", "warning", f"The proxy is stopping: {left} to finish")


def _unresolved(status: Status) -> Iterator[Finding]:
    if status.ready is False and status.reason.startswith("dns_error"):
        yield Finding("network", "bad", "The network fails: the API's name cannot be resolved")


def _breaker(breaker: Breaker, lately: _Lately, *, alone: bool) -> Iterator[Finding]:
    of = "the breaker" if alone else f"the breaker of {breaker.name}"
    if breaker.forced:
        yield Finding("proxy", "bad", f"Stopped by hand: {of} is held open")
    elif breaker.state == "half_open":
        yield Finding("api", "warning", f"The API is tried again: {of} lets one request through")
    elif breaker.state == "open" and lately.of_fault["network"] > lately.of_fault["upstream"]:
        yield Finding("network", "bad", f"The network fails: {of} is open")
    elif breaker.state == "open":
        yield Finding("api", "bad", f"The API fails: {of} is open")


def _network(lately: _Lately) -> Iterator[Finding]:
    if lately.is_severe("network"):
        yield Finding("network", "bad", f"The network fails: {lately.told('network')}")
    elif lately.of_fault["network"]:
        yield Finding("network", "warning", f"The network is unsteady: {lately.told('network')}", some=True)


def _api(lately: _Lately) -> Iterator[Finding]:
    if lately.is_severe("upstream"):
        yield Finding("api", "bad", f"The API fails: {lately.told('upstream')}")
    elif lately.of_fault["upstream"]:
        yield Finding("api", "warning", f"The API is unsteady: {lately.told('upstream')}", some=True)


def _pauses(status: Status) -> Iterator[Finding]:
    longest_first = sorted(status.state.pauses.items(), key=lambda pause: -pause[1])
    if longest_first:
        paused = [f"limit {name} is paused for {rough(seconds)}" for name, seconds in longest_first]
        yield Finding("api", "warning", f"The API refuses: {_list(paused)}")


def _full(status: Status) -> Iterator[Finding]:
    if 0 < status.state.queue_size <= status.state.queued:
        yield Finding("proxy", "bad", f"The proxy's queue is full: {status.state.queued:,} wait")


def _broken(lately: _Lately) -> Iterator[Finding]:
    if errors := lately.of_class["internal_error"]:
        yield Finding("proxy", "bad", f"The proxy failed: {_many(errors, 'internal error')} {_LATELY}")


def _refusing(lately: _Lately) -> Iterator[Finding]:
    if lately.refused:
        reasons = [reason for reason in _REFUSALS if lately.of_class[reason]]
        why = f" ({_list(reasons)})" if reasons else ""
        refused = _many(lately.refused, "request")
        yield Finding("proxy", "warning", f"The proxy refused {refused} {_LATELY}{why}")


def _store(status: Status) -> Iterator[Finding]:
    if not status.state.ledger_up:
        yield Finding("proxy", "warning", "The shared store is lost: this replica goes on with its share")


def _unready(status: Status) -> Iterator[Finding]:
    """Tell what else makes it not ready; most of that has been said by now."""
    told = status.state.draining or status.reason.startswith(("dns_error", "circuit_open"))
    if status.ready is False and not told:
        yield Finding("proxy", "bad", f"The proxy is not ready: {status.reason}")


def _clients(lately: _Lately) -> Iterator[Finding]:
    if lately.is_severe("client"):
        yield Finding("client", "warning", f"The clients' own requests are wrong: {lately.told('client')}")
    elif lately.of_fault["client"]:
        yield Finding(
            "client", "note", f"Some requests of clients are wrong: {lately.told('client')}", some=True
        )


def _waiting(status: Status) -> Iterator[Finding]:
    if not status.state.queued:
        return
    last = max((caller.last for caller in status.callers if caller.last is not None), default=None)
    until = "" if last is None else f", the last goes in {rough(last)}"
    full = [
        limit.name
        for limit in status.state.limits
        if limit.queued and not limit.remaining and not limit.paused
    ]
    because = f"; {_list(full)} {'are' if len(full) > 1 else 'is'} used up" if full else ""
    waiting = _many(status.state.queued, "request waits", "requests wait")
    yield Finding("proxy", "note", f"{waiting}{until}{because}")


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
