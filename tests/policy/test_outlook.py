"""What can be expected of a limit is a copy that is spent ahead of time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.outlook import Outlook, Typical


def test_nothing_seen_yet_takes_no_time() -> None:
    assert Typical().seconds == 0.0


def test_the_first_ones_weigh_alike_and_then_the_latest_a_tenth() -> None:
    typical = Typical()
    for number in range(10):
        typical.add(float(number))
    assert math.isclose(typical.seconds, 4.5)
    typical.add(14.5)
    assert math.isclose(typical.seconds, 5.5)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_what_is_typical_lies_among_what_was_seen(seen: list[float]) -> None:
    typical = Typical()
    for seconds in seen:
        typical.add(seconds)
    assert min(seen) - 1e-6 <= typical.seconds <= max(seen) + 1e-6


def test_a_free_slot_is_ready_before_anything() -> None:
    assert Outlook(2, 10.0, [5.0], -math.inf).ready() == -math.inf


def test_without_a_free_slot_the_first_to_come_back_is_waited_for() -> None:
    assert Outlook(2, 10.0, [9.0, 5.0], -math.inf).ready() == 5.0


def test_of_more_than_there_may_be_the_first_to_come_back_frees_none() -> None:
    assert Outlook(2, 10.0, [4.0, 3.0, 2.0, 1.0], -math.inf).ready() == 3.0


def test_a_pause_holds_everything() -> None:
    assert Outlook(2, 10.0, [], 7.0).ready() == 7.0
    assert Outlook(1, 10.0, [8.0], 7.0).ready() == 8.0


def test_a_slot_that_is_taken_comes_back_after_it_was_held() -> None:
    outlook = Outlook(2, 10.0, [5.0, 6.0], -math.inf)
    outlook.take(5.5)
    assert outlook.ready() == 6.0
    outlook.take(7.0)
    assert outlook.ready() == 15.5


def test_its_releases_are_a_copy() -> None:
    releases = [3.0, 1.0]
    Outlook(1, 10.0, releases, 0.0).ready()
    assert releases == [3.0, 1.0]


def test_it_shows_its_state() -> None:
    assert repr(Outlook(3, 1.5, [0.0], 0.0)) == "<Outlook 1 of 3 taken, each for 1.5 s>"


def test_the_longest_wait_counts_rounds_of_all_slots_and_the_rest_of_a_pause() -> None:
    outlook = Outlook(2, 10.0, [5.0], -math.inf)
    assert [outlook.longest_wait(ahead, 0.0) for ahead in range(4)] == [0.0, 10.0, 10.0, 20.0]
    paused = Outlook(2, 10.0, [], 7.0)
    assert [paused.longest_wait(ahead, 3.0) for ahead in range(3)] == [4.0, 4.0, 14.0]
    assert paused.longest_wait(0, 8.0) == 0.0


ticks = st.integers(0, 80).map(lambda tick: tick / 8)


@given(
    size=st.integers(1, 5),
    hold=ticks,
    releases=st.lists(ticks, max_size=8),
    pause=st.none() | ticks,
    ahead=st.integers(0, 30),
)
def test_nobody_waits_longer_than_the_longest_wait_nor_goes_before_its_slot_is_back(
    size: int, hold: float, releases: list[float], pause: float | None, ahead: int
) -> None:
    releases = [min(release, hold) for release in releases]  # taken by now, so back within `hold`
    outlook = Outlook(size, hold, releases, -math.inf if pause is None else pause)
    longest, now = outlook.longest_wait(ahead, 0.0), 0.0
    back = list(releases)
    for _ in range(ahead + 1):
        now = max(now, outlook.ready())
        outlook.take(now)
        assert sum(at > now for at in back) < size
        back.append(now + hold)
    assert now >= (pause or 0.0)
    assert now <= longest
