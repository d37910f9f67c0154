"""Who will be too late is told as soon as it is known, by as few forecasts as will do."""

import math
from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.limits import Lane, Lanes
from proxy.policy.outlook import Outlook
from proxy.policy.prospects import Prospects
from proxy.policy.turns import Place
from tests.policy.test_forecast import NEEDS, Step, World, eighths, lanes, lined_up, plans, played


class Watched:
    """Prospects of a world, and how often each outlook was asked for."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(0.0)
        self.asked = Counter[Lane]()
        self.prospects = Prospects(self.world.line, self._outlook)

    def _outlook(self, lane: Lane) -> Outlook:
        self.asked[lane] += 1
        return self.world.outlook(lane)

    def late_start(self, newcomer: Place) -> float | None:
        return self.prospects.late_start(newcomer, self.world.now)

    def too_late(self) -> list[tuple[int, float]]:
        return [(start.place.ticket, start.at) for start in self.prospects.too_late(self.world.now)]

    def forecasts(self) -> int:
        """Return how many forecasts were made since this was last asked, each after one bound."""
        many = self.asked.total()
        self.asked.clear()
        return many - 1


NARROW = lanes("narrow")  # one in six seconds


def newcomer(
    deadline: float,
    needed: Lanes = NARROW,
    *,
    caller: str = "",
    credential: str | None = None,
    urgency: int = 3,
    key: Hashable = None,
) -> Place:
    return Place(
        10**6, needed, caller=caller, credential=credential, urgency=urgency, deadline=deadline, key=key
    )


def test_a_newcomers_start_comes_after_those_of_all_who_wait() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    assert watched.prospects.start(newcomer(99.0), 0.0) == 18.0
    assert len(watched.world.line) == 2


def test_no_forecast_is_made_where_the_bound_decides() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    assert watched.late_start(newcomer(18.0)) is None
    assert watched.forecasts() == 0


def test_a_forecast_is_made_where_the_bound_does_not_decide() -> None:
    watched = Watched()
    lined_up(watched.world, 1, "narrow")
    watched.world.run(5.0)
    assert watched.late_start(newcomer(10.9)) is None, "the bound is 11, and it goes at 6"
    assert watched.forecasts() == 1


def test_who_will_be_late_is_told_when_it_would_go() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    assert watched.late_start(newcomer(17.0)) == 18.0


def test_the_bounds_of_all_lanes_add_up() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "minute", "narrow")
    assert watched.late_start(newcomer(18.0 + 8.0, lanes("minute", "narrow"))) is None
    assert watched.asked == dict.fromkeys(lanes("minute", "narrow"), 1)


def test_for_a_storm_of_late_newcomers_one_forecast_is_made() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    for number in range(100):
        assert watched.late_start(newcomer(1.0, caller=f"new {number}")) == 18.0
    assert watched.asked.total() == 101


def test_a_forecast_gets_old() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    watched.world.run(0.0)
    watched.late_start(newcomer(1.0))
    for now, forecasts in ((0.249, 0), (0.25, 1), (0.26, 0)):
        watched.world.run(now)
        watched.asked.clear()
        assert watched.late_start(newcomer(1.0)) == 18.0
        assert watched.forecasts() == forecasts


def test_a_forecast_holds_while_the_line_is_about_as_long() -> None:
    watched = Watched()
    lined_up(watched.world, 101, "narrow")
    counted = []
    for _ in range(4):
        watched.asked.clear()
        watched.late_start(newcomer(1.0, caller="new"))
        counted.append(watched.forecasts())
        lined_up(watched.world, 1, "narrow")
    assert counted == [1, 0, 0, 1], "2 of 100 more are about the same, 3 are not"


@pytest.mark.parametrize(
    "other",
    [
        newcomer(1.0, urgency=2),
        newcomer(1.0, credential="other"),
        newcomer(1.0, caller="waits"),
        newcomer(1.0, lanes("narrow", "second")),
    ],
)
def test_a_forecast_is_for_those_like_it(other: Place) -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow", caller="waits")
    watched.late_start(newcomer(1.0))
    before = watched.asked[NARROW[0]]
    watched.late_start(other)
    assert watched.asked[NARROW[0]] == before + 2


def test_callers_who_wait_are_told_apart() -> None:
    watched = Watched()
    lined_up(watched.world, 4, "narrow", caller="greedy", urgency=1)
    lined_up(watched.world, 1, "narrow", caller="modest", urgency=1)
    expected = {"greedy": 30.0, "modest": 24.0, "new": 18.0}
    assert {
        caller: watched.late_start(newcomer(1.0, caller=caller, urgency=1)) for caller in expected
    } == expected


def test_an_old_forecast_never_tells_of_the_past() -> None:
    watched = Watched()
    lined_up(watched.world, 1, "narrow")
    watched.world.run(5.875)
    assert watched.prospects.expected(newcomer(1.0), 5.875) == 6.0
    watched.world.run(6.0625)
    assert watched.prospects.expected(newcomer(1.0), 6.0625) == 6.0625


def test_the_forecasts_that_are_remembered_are_bounded() -> None:
    watched = Watched()
    for number in range(1500):
        watched.prospects.expected(newcomer(1.0, credential=str(number)), 0.0)
        assert len(watched.prospects._recent) <= 1024


def test_who_asks_for_what_goes_soon_anyway_is_in_time() -> None:
    watched = Watched()
    lined_up(watched.world, 2, "narrow", key="x")
    lined_up(watched.world, 9, "narrow")
    assert watched.late_start(newcomer(7.0)) is not None
    watched.asked.clear()
    assert watched.late_start(newcomer(7.0, key="x")) is None
    assert watched.late_start(newcomer(5.0, key="x")) == 6.0
    assert watched.late_start(newcomer(7.0, key="y")) == 66.0


def test_an_alike_newcomer_that_is_late_by_what_is_known_is_looked_at_by_itself() -> None:
    watched = Watched()
    lined_up(watched.world, 2, "narrow", key="x")
    watched.late_start(newcomer(7.0))
    for _ in range(3):
        watched.asked.clear()
        assert watched.late_start(newcomer(7.0, key="x")) is None
        assert watched.forecasts() == 1


def test_what_is_known_of_one_that_goes_along_is_not_taken_for_the_start_of_others() -> None:
    watched = Watched()
    lined_up(watched.world, 2, "narrow", key="x")
    lined_up(watched.world, 9, "narrow")
    assert watched.late_start(newcomer(7.0, key="x")) is None
    assert watched.late_start(newcomer(7.0)) == 66.0


def test_the_bound_counts_those_who_are_parked_at_a_lane_that_the_newcomer_does_not_need() -> None:
    # Ten older ones need `second` too, and are held by its pause; from 2 on, they are before the newcomer.
    watched = Watched()
    watched.world.room(Lane("second", "k")).resumption.pause(2.0)
    lined_up(watched.world, 10, "narrow", "second")
    lined_up(watched.world, 1, "narrow")
    late = newcomer(13.0)
    assert watched.prospects.start(late, 0.0) == 66.0
    assert watched.late_start(late) == 66.0


def test_who_waits_in_vain_is_told_with_when_it_would_go() -> None:
    watched = Watched()
    lined_up(watched.world, 2, "narrow", deadline=100.0)
    lined_up(watched.world, 1, "narrow", deadline=10.0)
    lined_up(watched.world, 1, "narrow", deadline=12.0)
    assert watched.too_late() == [(2, 12.0)]


@pytest.mark.parametrize(("deadline", "late"), [(98.1, False), (97.9, True)])
def test_a_forecast_is_trusted_to_within_one_part_in_fifty(deadline: float, late: bool) -> None:
    watched = Watched()
    watched.world.room(NARROW[0]).resumption.pause(100.0)
    lined_up(watched.world, 1, "narrow", deadline=deadline)
    assert watched.too_late() == ([(0, 100.0)] if late else [])
    watched.world.now = 50.0  # half the wait is half the margin
    assert watched.too_late() == [(0, 100.0)]


def test_no_forecast_is_made_for_parts_in_which_all_are_surely_in_time() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow", deadline=18.0)
    other = Lane("narrow", "other")
    for ticket in range(10, 13):
        watched.world.admit(Place(ticket, (other,), credential="other", deadline=7.0))
    assert watched.too_late() == [(12, 12.0)]
    assert watched.asked == {NARROW[0]: 1, other: 2}


def test_nobody_in_line_is_never_late() -> None:
    watched = Watched()
    assert watched.too_late() == []
    assert watched.late_start(newcomer(0.0)) is None


@given(
    latency=st.integers(0, 7).map(lambda tick: tick / 8),
    plan=plans,
    need=st.sampled_from(NEEDS),
    rest=eighths,
    patience=eighths,
    urgency=st.integers(0, 7),
)
def test_a_newcomer_is_refused_if_and_only_if_a_forecast_says_that_it_will_be_late(
    latency: float, plan: list[Step], need: tuple[str, ...], rest: float, patience: float, urgency: int
) -> None:
    watched = Watched(played(latency, plan, [need], rest))
    now = watched.world.now
    late = Place(
        10**6,
        lanes(*need, key="team"),
        credential="team",
        caller="a",
        urgency=urgency,
        arrived=now,
        deadline=now + patience,
    )
    start = watched.prospects.start(late, now)
    assert watched.late_start(late) == (start if start > late.deadline else None)


@given(latency=st.integers(0, 7).map(lambda tick: tick / 8), plan=plans, rest=eighths)
def test_whoever_is_told_to_be_too_late_does_not_go(latency: float, plan: list[Step], rest: float) -> None:
    watched = Watched(played(latency, plan, NEEDS, rest))
    late = [start.place for start in watched.prospects.too_late(watched.world.now)]
    watched.world.run(math.inf)
    assert not watched.world.went.keys() & set(late)


def test_a_storm_of_newcomers_gets_a_share_of_the_processor_and_is_let_in_for_now() -> None:
    watched = Watched()
    lined_up(watched.world, 101, "narrow", key="x")  # the first went at once

    def looked_through(seconds: float) -> int:
        """Let newcomers come whose forecasts serve nobody else, and count those who got one."""
        storm = [watched.prospects.late_start(newcomer(0.5, key="x"), seconds) for _ in range(1000)]
        assert set(storm) == {6.0, None}
        assert storm == sorted(storm, key=lambda start: start is None)
        return sum(start is not None for start in storm)

    assert looked_through(0.0) == 500  # of 100 places each
    assert looked_through(0.25) == 25
    assert watched.prospects.expected(newcomer(0.5, key="x"), 0.25) == 0.25 + 101 * 6.0, "at the latest"
    assert watched.prospects.expected(newcomer(0.5, key="x"), 0.5) == 6.0


def test_the_starts_of_all_who_wait_are_foreseen_and_the_longer_the_line_the_older_they_may_be() -> None:
    watched = Watched()
    lined_up(watched.world, 3, "narrow")
    lined_up(watched.world, 97, "minute")
    waiting = len(watched.world.line)
    starts = watched.prospects.starts(0.0)
    assert len(starts) == waiting
    assert {6.0, 12.0} < set(starts.values())
    lined_up(watched.world, 1, "narrow")
    assert watched.prospects.starts(waiting / 1000 - 0.001) is starts
    assert len(watched.prospects.starts(waiting / 1000)) == waiting + 1


def test_where_nobody_waits_nobody_starts() -> None:
    assert Watched().prospects.starts(0.0) == {}
