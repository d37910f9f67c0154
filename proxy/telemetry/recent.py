"""What happened lately: a listener that remembers minutes, and no more than that of anything.

The metrics page tells a scraper of everything since the start; this is for people who look now.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from proxy.clock import Clock
from proxy.errors import ErrorClass, Fault
from proxy.events import Admitted, AttemptEnded, Failed, Rejected
from proxy.recent import LATELY, ErrorCount, Example, History, Quantiles, Recent

SECONDS = 180
"""Three windows of the API's standard limit."""

_CALLS = 1000
_FRESH = 300.0
"""Seconds for which a call is told of."""


class RecentEvents:
    """Remember what happened; `second_over` is to be called once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent, self._refused, self._rate_limited = 0, 0, 0
        empty = (0, 0, 0, 0)
        self._seconds: deque[tuple[int, int, int, int]] = deque([empty] * SECONDS, SECONDS)
        self._errors: dict[ErrorClass, tuple[Fault, int, Example]] = {}
        self._failures: deque[Counter[ErrorClass]] = deque([Counter()], LATELY)
        self._upstream: deque[tuple[float, float]] = deque(maxlen=_CALLS)
        self._waits: deque[tuple[float, float]] = deque(maxlen=_CALLS)
        self.hears: dict[type, Callable[[Any], None]] = {
            Admitted: self._admitted,
            AttemptEnded: self._attempt_ended,
            Rejected: self._rejected,
            Failed: self._failed,
        }

    def _admitted(self, event: Admitted) -> None:
        self._waits.append((self._clock.now(), event.waited))

    def _attempt_ended(self, event: AttemptEnded) -> None:
        if event.written:
            self._sent += 1
            self._rate_limited += event.status == 429
        if event.status is not None:
            self._upstream.append((self._clock.now(), event.seconds))

    def _rejected(self, _event: Rejected) -> None:
        self._refused += 1

    def _failed(self, event: Failed) -> None:
        _, count, _ = self._errors.get(event.error_class, (None, 0, None))
        example = Example(
            round(self._clock.wall(), 3),
            event.method,
            event.route,
            event.status,
            event.code,
            event.request_id,
        )
        self._errors[event.error_class] = (event.fault, count + 1, example)
        self._failures[-1][event.error_class] += 1

    def second_over(self, queued: int) -> None:
        """Begin another second; so many requests wait at the end of this one."""
        self._seconds.append((self._sent, queued, self._refused, self._rate_limited))
        self._sent, self._refused, self._rate_limited = 0, 0, 0
        self._failures.append(Counter())

    def now(self) -> Recent:
        """Return all of it."""
        sent, queued, refused, rate_limited = zip(*self._seconds, strict=True)
        since = self._clock.now() - _FRESH
        lately = sum(self._failures, Counter[ErrorClass]())
        return Recent(
            History(int(self._clock.wall()) - 1, sent, queued, refused, rate_limited),
            tuple(
                ErrorCount(error_class, fault, count, lately[error_class], last)
                for error_class, (fault, count, last) in self._errors.items()
            ),
            _quantiles([seconds for at, seconds in self._upstream if at >= since]),
            _quantiles([seconds for at, seconds in self._waits if at >= since]),
        )


def _quantiles(seconds: Sequence[float]) -> Quantiles:
    """Take the nearest ranks."""
    if not seconds:
        return Quantiles()
    ordered, last = sorted(seconds), len(seconds) - 1
    p50, p95, p99 = (round(ordered[round(last * share)], 4) for share in (0.5, 0.95, 0.99))
    return Quantiles(len(ordered), p50, p95, p99, round(ordered[-1], 4))
