"""The demonstration tells the truth about the best that was possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.demo import best_possible, scaled_limits


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 0.0), (1, 0.0), (20, 0.0), (21, 1.0), (100, 4.0), (101, 6.0), (300, 16.0)]
)
def test_the_bound_is_one_window_after_whoever_made_room(count: int, seconds: float) -> None:
    assert best_possible(count, [(100, 6.0), (20, 1.0)]) == seconds


def test_the_issue_in_real_time_takes_three_minutes_and_four_seconds() -> None:
    assert best_possible(400, [(100, 60.0), (20, 1.0)]) == 184.0


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 10))
def test_more_requests_never_take_less(count: int, size: int, per: int) -> None:
    assert best_possible(count, [(size, per)]) <= best_possible(count + 1, [(size, per)])


def test_only_the_minutes_are_shortened() -> None:
    assert {limit.name: limit.per for limit in scaled_limits() if limit.per} == {
        "standard": 6.0,
        "burst": 1.0,
        "anonymous": 6.0,
        "signup": 6.0,
        "inference": 6.0,
    }
