"""The retry budget: a share of the requests of the last minute, or a floor."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.budget import RetryBudget


def budget(share: float = 0.2, floor: int = 0, requests: int = 0, now: float = 0.0) -> RetryBudget:
    made = RetryBudget(share, floor)
    for _ in range(requests):
        made.requested(now)
    return made


def withdraw(made: RetryBudget, now: float, tries: int = 1000) -> int:
    return sum(made.withdraw(now) for _ in range(tries))


def test_without_requests_there_is_the_floor() -> None:
    made = budget(floor=10)
    assert made.left(0.0) == 10
    assert withdraw(made, 0.0) == 10
    assert made.left(0.0) == 0


def test_a_share_of_the_requests_may_be_tried_again() -> None:
    assert withdraw(budget(share=0.2, requests=100), 0.0) == 20


def test_the_floor_and_the_share_are_not_added() -> None:
    assert withdraw(budget(share=0.2, floor=10, requests=100), 0.0) == 20
    assert withdraw(budget(share=0.2, floor=10, requests=49), 0.0) == 10


def test_a_share_that_is_no_whole_retry_is_rounded_down() -> None:
    assert [withdraw(budget(share=0.2, requests=many), 0.0) for many in (4, 5, 9, 10)] == [0, 1, 1, 2]


def test_without_share_and_floor_nothing_is_tried_again() -> None:
    assert not budget(share=0.0, floor=0, requests=100).withdraw(0.0)


def test_a_share_beyond_all_measure_overflows_nowhere() -> None:
    assert budget(share=1e308, requests=100).left(0.0) == 10**8


def test_a_refusal_costs_nothing() -> None:
    made = budget(share=1.0, floor=1)
    assert withdraw(made, 0.0, tries=50) == 1
    for _ in range(3):
        made.requested(1.0)
    assert made.left(1.0) == 2


def test_requests_count_for_a_minute_and_for_a_second_more_at_most() -> None:
    made = budget(share=0.2, requests=100, now=0.5)
    assert [made.left(now) for now in (0.5, 60.5, 60.99, 61.0)] == [20, 20, 20, 0]


def test_retries_count_as_long_as_the_requests_do() -> None:
    made = budget(floor=10)
    assert withdraw(made, 0.999) == 10
    assert [made.left(now) for now in (60.0, 60.999, 61.0)] == [0, 0, 10]


def test_retries_that_the_requests_no_longer_cover_leave_nothing_and_no_debt() -> None:
    made = budget(share=1.0, floor=2, requests=10)
    assert withdraw(made, 30.0) == 10
    assert [made.left(now) for now in (60.0, 61.0, 90.0, 91.0)] == [0, 0, 0, 2]


def test_they_come_back_second_by_second() -> None:
    made = budget(floor=3)
    for now in (0.0, 1.5, 3.0):
        assert made.withdraw(now)
    assert [made.left(now) for now in (60.9, 61.0, 62.0, 63.0, 64.0)] == [0, 1, 2, 2, 3]


@pytest.mark.parametrize(("retries", "shown"), [(True, 1220), (False, 0)])
def test_it_remembers_a_minute_however_long_and_busy_it_was(retries: bool, shown: int) -> None:
    made = budget(share=1.0)
    for tick in range(20_000):
        made.requested(tick / 20)
        assert not retries or made.withdraw(tick / 20)
    assert repr(made) == f"<RetryBudget {shown} retries, 1220 requests in a minute>"


_TICK = 1 / 8  # sums and differences are exact
_gaps = st.integers(0, 16) | st.integers(400, 500)
_bursts = st.lists(st.tuples(_gaps, st.integers(0, 8), st.integers(0, 8)), min_size=8, max_size=40)
"""Ticks since the one before; requests; tries to take a retry."""


class Ledger:
    """A budget, and all that it was told and has said."""

    def __init__(self, share: float, floor: int) -> None:
        self.share, self.floor = share, floor
        self.made = RetryBudget(share, floor)
        self.now = 0.0
        self.requests: list[float] = []
        self.retries: list[float] = []

    def request(self) -> None:
        self.made.requested(self.now)
        self.requests.append(self.now)

    def retry(self) -> bool:
        left = self.made.left(self.now)
        allowed = self.made.withdraw(self.now)
        assert allowed == (left > 0)
        assert self.made.left(self.now) == left - allowed
        if allowed:
            self.retries.append(self.now)
        return allowed


@given(_bursts, st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, 3.0]), st.integers(0, 5))
def test_no_60_seconds_hold_more_retries_than_the_floor_or_a_share_of_61_seconds_of_requests(
    bursts: list[tuple[int, int, int]], share: float, floor: int
) -> None:
    ledger = Ledger(share, floor)
    for ticks, requests, tries in bursts:
        ledger.now += ticks * _TICK
        for _ in range(requests):
            ledger.request()
        for _ in range(tries):
            if ledger.retry():
                recent = sum(ledger.now - 60 <= at for at in ledger.retries)
                covered = sum(ledger.now - 61 < at for at in ledger.requests)
                assert recent <= max(floor, share * covered)


@given(_bursts, st.sampled_from([0.0, 0.2, 1.0]), st.integers(0, 5))
def test_a_retry_is_refused_only_if_61_seconds_hold_as_many_as_60_seconds_of_requests_allow(
    bursts: list[tuple[int, int, int]], share: float, floor: int
) -> None:
    ledger = Ledger(share, floor)
    for ticks, requests, tries in bursts:
        ledger.now += ticks * _TICK
        for _ in range(requests):
            ledger.request()
        for _ in range(tries):
            if not ledger.retry():
                recent = sum(ledger.now - 61 < at for at in ledger.retries)
                covered = sum(ledger.now - 60 <= at for at in ledger.requests)
                assert recent >= max(floor, math.floor(share * covered))


@pytest.mark.parametrize("start", [-3.5, 0.0, 1e9 + 0.25])
def test_the_origin_of_time_does_not_matter(start: float) -> None:
    made = budget(share=0.5, requests=10, now=start)
    assert [withdraw(made, start + after) for after in (0.0, 60.0, 62.0)] == [5, 0, 0]
