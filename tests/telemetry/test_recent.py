"""What happened lately, and nothing that is older."""

import pytest

from proxy.errors import ErrorClass, Fault
from proxy.events import Admitted, AttemptEnded, Failed, LimitPaused, Rejected
from proxy.recent import LATELY, ErrorCount, Example, Quantiles
from proxy.telemetry.recent import SECONDS, RecentEvents
from tests.telemetry.telling import tell

ROUTE = "/api/v1/datasets/"


class Hands:
    """A clock whose hands are moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_790_000_000.25 + self.time


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def recent(clock: Hands) -> RecentEvents:
    return RecentEvents(clock)


def attempt(status: int | None = 200, seconds: float = 0.2, *, written: bool = True) -> AttemptEnded:
    return AttemptEnded("GET", ROUTE, status, ErrorClass.NONE, Fault.NONE, seconds, written)


def failed(error_class: ErrorClass, fault: Fault, request_id: str = "one") -> Failed:
    return Failed(request_id, "GET", ROUTE, 500, error_class, fault, "a_code")


def test_at_first_nothing_happened(recent: RecentEvents) -> None:
    now = recent.now()
    assert now.history.sent == now.history.queued == now.history.refused == (0,) * SECONDS
    assert now.errors == ()
    assert now.upstream == now.waits == Quantiles(0, None, None, None, None)


def test_each_second_has_what_was_sent_and_refused_in_it_and_who_waited_at_its_end(
    recent: RecentEvents, clock: Hands
) -> None:
    for event in (
        attempt(),
        attempt(429),
        attempt(None, written=False),
        Rejected(ROUTE, ErrorClass.QUEUE_FULL),
    ):
        tell(recent, event)
    recent.second_over(queued=7)
    tell(recent, attempt())
    recent.second_over(queued=3)
    history = recent.now().history
    assert history.sent[-3:] == (0, 2, 1)
    assert history.queued[-3:] == (0, 7, 3)
    assert history.refused[-3:] == (0, 1, 0)
    assert history.rate_limited[-3:] == (0, 1, 0)
    assert history.until == int(clock.wall()) - 1


def test_seconds_that_are_over_for_long_are_forgotten(recent: RecentEvents) -> None:
    tell(recent, attempt())
    for _ in range(SECONDS):
        recent.second_over(0)
    assert sum(recent.now().history.sent) == 1
    recent.second_over(0)
    assert sum(recent.now().history.sent) == 0
    assert len(recent.now().history.sent) == SECONDS


def test_of_each_class_the_last_is_shown_and_all_are_counted(recent: RecentEvents, clock: Hands) -> None:
    tell(recent, failed(ErrorClass.SERVER_ERROR, Fault.UPSTREAM, "first"))
    tell(recent, failed(ErrorClass.NOT_FOUND, Fault.CLIENT))
    clock.time += 5
    tell(recent, failed(ErrorClass.SERVER_ERROR, Fault.UPSTREAM, "second"))
    server_error, not_found = recent.now().errors
    last = Example(1_790_001_005.25, "GET", ROUTE, 500, "a_code", "second")
    assert server_error == ErrorCount(ErrorClass.SERVER_ERROR, Fault.UPSTREAM, 2, 2, last)
    assert (not_found.error_class, not_found.count) == (ErrorClass.NOT_FOUND, 1)


def test_what_failed_in_the_last_half_minute_is_told_apart(recent: RecentEvents) -> None:
    for _ in range(2):
        tell(recent, failed(ErrorClass.SERVER_ERROR, Fault.UPSTREAM))
        recent.second_over(0)
    for _ in range(LATELY - 2):
        recent.second_over(0)
    (server_error,) = recent.now().errors
    assert (server_error.count, server_error.lately) == (2, 1)
    recent.second_over(0)
    (server_error,) = recent.now().errors
    assert (server_error.count, server_error.lately) == (2, 0)


def test_how_long_calls_and_waits_took_is_told_by_ranks(recent: RecentEvents) -> None:
    for hundredth in range(1, 101):
        tell(recent, attempt(seconds=hundredth / 100))
        tell(recent, Admitted(ROUTE, "standard", float(hundredth)))
    tell(recent, attempt(None, seconds=60.0))  # no head, no time to it
    now = recent.now()
    assert now.upstream == Quantiles(100, 0.51, 0.95, 0.99, 1.0)
    assert now.waits == Quantiles(100, 51.0, 95.0, 99.0, 100.0)


def test_calls_of_long_ago_are_no_longer_told_of(recent: RecentEvents, clock: Hands) -> None:
    tell(recent, attempt(seconds=9.0))
    clock.time += 301
    tell(recent, attempt(seconds=1.0))
    assert recent.now().upstream == Quantiles(1, 1.0, 1.0, 1.0, 1.0)


def test_what_does_not_matter_here_is_let_pass(recent: RecentEvents) -> None:
    before = recent.now()
    tell(recent, LimitPaused("standard", 1.0))
    recent.second_over(0)
    assert recent.now() == before
