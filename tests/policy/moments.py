"""Moments of a proxy, for the tests of what is said of them."""

from proxy.errors import ErrorClass
from proxy.policy.classify import FAULT_OF
from proxy.recent import ErrorCount, Example, History, Recent
from proxy.state import BreakerState, CallerState, LimitState, State

SERVING = (True, "serving")
UPSTREAM, EXPORTS = BreakerState("upstream", "closed", False), BreakerState("exports", "closed", False)
CALM = State(queue_size=1000, breakers=(UPSTREAM,))

_BEFORE = (50,) * 150


def lately(*, sent: int = 0, refused: int = 0, **errors: int) -> Recent:
    """Have so much happened in the last half minute, and more before it."""
    return Recent(
        History(
            until=1_790_000_000,
            sent=(*_BEFORE, *(0,) * 29, sent),
            queued=(0,) * 180,
            refused=(*_BEFORE, *(0,) * 29, refused),
            rate_limited=(0,) * 180,
        ),
        tuple(_error(ErrorClass(name), count) for name, count in errors.items()),
    )


def _error(error_class: ErrorClass, count: int) -> ErrorCount:
    last = Example(1_790_000_000.1, "GET", "/api/v1/datasets/", None, None, "r1")
    return ErrorCount(error_class, FAULT_OF[error_class], 99 + count, count, last)


def limit(name: str, *, remaining: int = 9, queued: int = 0, paused: bool = False) -> LimitState:
    """Have a limit of 100 in a minute."""
    return LimitState(name, 100, 60.0, 0, remaining, 0, queued, paused)


def waiter(last: float | None) -> CallerState:
    """Have somebody wait, who will be through in so many seconds."""
    return CallerState("5e1f", "nightly", 3, None, last)
