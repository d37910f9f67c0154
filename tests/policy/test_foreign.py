"""What others spend is found out from what the upstream counts, against a log as the upstream keeps it."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.feedback import Quota
from proxy.policy.foreign import CAUTIOUS, RISK, Foreign
from proxy.policy.window import SlidingWindow

PER = 60.0
ticks = st.integers(0, 4096).map(lambda count: count / 1024)


def poisson_tail(mean: float, count: int) -> float:
    """Return the chance of more than `count`."""
    return 1.0 - sum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(count + 1))


def seen(count: int, *, looked: float = 10.0) -> Foreign:
    """Make others of whom so many came while we looked, within ten seconds."""
    foreign = Foreign(PER)
    foreign.count(0, 0, 0.0, 0.0)
    foreign.count(count, count, looked, looked)
    return foreign


def test_without_others_nothing_is_feared() -> None:
    foreign = Foreign(PER)
    assert (len(foreign), foreign.unseen(1e6)) == (0, 0)
    foreign.count(0, 0, 1.0, 1.0)
    assert foreign.unseen(1e6) == 0


@pytest.mark.parametrize("risk", [RISK, CAUTIOUS])
@pytest.mark.parametrize("since", [0.5, 1.2, 7.0, 59.0, 300.0])
def test_who_comes_regularly_is_feared_to_have_come_again(risk: float, since: float) -> None:
    unseen = seen(50).unseen(10.0 + since, risk)
    mean = 50 * min(since / PER, 1.0)
    assert poisson_tail(mean, unseen) <= risk
    assert unseen == 0 or poisson_tail(mean + 1 / 64, unseen - 1) > risk


def test_of_very_many_as_many_are_feared_as_a_normal_distribution_has() -> None:
    assert 1000 < seen(1000).unseen(1000.0) < 1100


def test_those_who_were_there_at_first_leave_a_window_later_and_are_not_taken_to_go_on() -> None:
    foreign = Foreign(PER)
    foreign.count(5, 5, 3.0, 2.5)
    assert (len(foreign), foreign.regular, foreign.releases()) == (5, 0, [63.0] * 5)
    foreign.advance(62.9)
    assert len(foreign) == 5
    foreign.advance(63.0)
    assert len(foreign) == 0


def test_those_who_came_between_two_answers_are_taken_to_have_come_one_after_the_other() -> None:
    assert seen(2).releases() == [65.0, 70.0]


def test_who_cannot_have_left_was_none() -> None:
    foreign = seen(3)
    foreign.count(0, 2, 11.0, 11.0)
    assert foreign.releases() == [10 / 3 + PER, 20 / 3 + PER], "the newest is taken back"
    assert foreign.regular == 2


def test_who_can_have_left_has_left_first() -> None:
    foreign = Foreign(PER)
    foreign.count(2, 2, 1.0, 1.0)
    foreign.count(3, 3, 5.0, 5.0)
    foreign.count(2, 2, 6.0, 6.0)
    assert (foreign.releases(), foreign.regular) == ([61.0, 65.0], 1)


def test_the_oldest_leaves_when_the_upstream_says_so_and_never_later_than_known() -> None:
    foreign = Foreign(PER)
    foreign.first_leaves(7.0)
    foreign.count(2, 2, 1.0, 1.0)
    foreign.first_leaves(30.0)
    foreign.first_leaves(500.0)
    assert foreign.releases() == [30.0, 61.0]
    assert repr(foreign) == "<Foreign 2 counted, 0 seen to come>"


def test_there_is_room_for_more_than_there_usually_are() -> None:
    foreign = Foreign(PER)
    foreign.count(0, 0, 0.0, 0.0)
    for minute in range(1, 21):
        foreign.advance(minute * PER)
        foreign.count(50, 50, minute * PER, minute * PER)
    assert 70 <= foreign.at_most() <= 95
    foreign.advance(22 * PER)
    assert len(foreign) == 0
    assert foreign.at_most() >= 65, "though there are none at the moment"


def test_what_was_known_before_a_restart_is_known_after_it() -> None:
    before, after = seen(3), Foreign(PER)
    after.remember(before.ages(12.0), 100.0)
    assert [round(at, 9) for at in after.releases()] == [round(at + 88.0, 9) for at in before.releases()]


@given(st.lists(st.tuples(st.sampled_from(["ours", "theirs"]), ticks), max_size=120))
def test_against_an_exact_log_others_are_known_exactly_at_each_answer(
    events: list[tuple[str, float]],
) -> None:
    window = SlidingWindow(1000, 4.0, 0.25)
    log: deque[tuple[float, str]] = deque()
    now = 0.0
    for whose, later in events:
        now += later
        while log and log[0][0] <= now - 4.0:
            log.popleft()
        log.append((now, whose))
        if whose == "theirs":
            continue
        assert window.ready_at(now) <= now
        slot = window.take(now)
        window.began(slot, now)
        window.sent(slot, now)
        window.settle(slot, now)
        window.learn(slot, Quota(1000, 1000 - len(log)), now)
        theirs = sum(who == "theirs" for _, who in log)
        # Of two at one moment nobody knows which left first, nor whether one that is a window old counts.
        edge = sum(at in (now, now - 4.0) or at + 4.0 <= now + 0.25 for at, _ in log) + 1
        assert theirs - edge <= window.foreign <= theirs + edge


@given(
    st.lists(
        st.tuples(
            ticks,
            st.none() | st.integers(0, 10**18),
            st.none() | st.integers(0, 10**18),
            st.none() | st.floats(0, 3e7),
        ),
        max_size=30,
    )
)
def test_whatever_is_said_a_window_is_ready_again_when_all_have_left(
    answers: list[tuple[float, int | None, int | None, float | None]],
) -> None:
    window = SlidingWindow(10, 6.0, 1.0, least=1, most=100)
    now = 0.0
    for later, limit, remaining, reset_in in answers:
        now += later
        if window.ready_at(now) > now:
            continue
        slot = window.take(now)
        window.began(slot, now)
        window.sent(slot, now)
        window.settle(slot, now)
        remaining = None if remaining is None else max(remaining, (limit or 0) - 200)
        window.learn(slot, Quota(limit, remaining, reset_in), now)
        assert 0 <= window.remaining(now) <= window.capacity <= 100
        assert window.foreign >= 0
    assert window.ready_at(now) <= now + 7.0
    assert window.ready_at(now + 7.0) == now + 7.0
