"""A limit opens by one probe, then as fast as answers come; repeated refusals close it for longer."""

import math

import pytest

from proxy.policy.feedback import Quota
from proxy.policy.room import Resumption, Slot
from proxy.policy.window import SlidingWindow

OPEN = math.inf


def slot(began: float = 0.0) -> Slot:
    made = Slot(began)
    made.began = began
    return made


def test_one_without_a_probe_is_open() -> None:
    assert Resumption(probe=False).most == OPEN


def test_a_new_one_is_open_when_its_probe_is_answered() -> None:
    resumption = Resumption(probe=True)
    assert resumption.most == 1
    resumption.answered(slot(), 100)
    assert resumption.most == OPEN


def test_after_a_pause_one_more_may_be_under_way_with_each_answer_until_it_is_open() -> None:
    resumption = Resumption(probe=False)
    assert resumption.refused(slot(1.0), 2.0, 10.0, 900.0) == 10.0
    assert (resumption.paused_until, resumption.most) == (12.0, 1)
    grown = []
    for _ in range(5):
        resumption.answered(slot(12.0), 4)
        grown.append(resumption.most)
    assert grown == [2, 3, 4, OPEN, OPEN]
    assert repr(resumption) == "<Resumption most=inf refusals=0 until=12>"


def test_answers_to_what_went_before_the_refusal_open_nothing() -> None:
    resumption = Resumption(probe=False)
    resumption.refused(slot(1.0), 2.0, 10.0, 900.0)
    resumption.answered(slot(1.5), 100)
    assert resumption.most == 1


def test_refusals_one_after_the_other_lengthen_the_pause_up_to_a_bound() -> None:
    resumption, now, pauses = Resumption(probe=False), 0.0, []
    for _ in range(7):
        pauses.append(resumption.refused(slot(now), now + 0.1, 10.0, 100.0))
        now = resumption.paused_until
    assert pauses == pytest.approx([10.0, 20.0, 40.0, 80.0, 100.0, 100.0, 100.0])
    resumption.answered(slot(now), 100)
    assert resumption.refused(slot(now + 1.0), now + 1.0, 10.0, 100.0) == pytest.approx(10.0)


def test_those_that_were_under_way_together_lengthen_nothing() -> None:
    resumption = Resumption(probe=False)
    for late in range(5):
        resumption.refused(slot(1.0), 2.0 + late / 16, 10.0, 900.0)
    assert resumption.paused_until == 2.0 + 4 / 16 + 10.0


def test_a_pause_in_force_is_never_shortened() -> None:
    resumption = Resumption(probe=False)
    resumption.pause(50.0)
    assert resumption.refused(slot(), 1.0, 3.0, 900.0) == 49.0


def window(**options: float) -> SlidingWindow:
    return SlidingWindow(4, 10.0, 1.0, probe=True, **options)  # type: ignore[arg-type]


def went(room: SlidingWindow, now: float) -> Slot:
    made = room.take(now)
    room.began(made, now)
    room.sent(made, now)
    return made


def test_beside_the_probe_of_a_new_window_nobody_goes_until_it_is_answered() -> None:
    room = window()
    probe = went(room, 0.0)
    assert room.ready_at(0.5) == 1.0, "or until it has been counted at the latest"
    room.settle(probe, 0.25)
    assert room.ready_at(0.25) == 0.25


def test_a_probe_that_was_never_sent_is_followed_by_another() -> None:
    room = window()
    probe = room.take(0.0)
    assert room.ready_at(0.0) == OPEN
    room.refund(probe)
    assert room.ready_at(0.5) == 0.5


def test_a_probe_that_takes_minutes_to_upload_holds_nobody_up() -> None:
    room = window()
    upload = room.take(0.0)
    room.began(upload, 0.5)
    assert room.ready_at(0.5) == 1.5
    second = went(room, 1.5)
    assert room.ready_at(1.5) == 2.5
    room.settle(second, 2.0)
    assert room.ready_at(2.0) == 2.0


def test_a_refused_request_has_taken_nothing_from_the_limit_that_refused_it() -> None:
    room = SlidingWindow(4, 10.0, 1.0)
    for settled in (False, True):
        refused = went(room, 0.0)
        if settled:
            room.settle(refused, 0.5)
        room.refused(refused, 0.5)
        assert room.remaining(0.5) == 4
    unsent = room.take(0.5)
    room.refused(unsent, 0.75)
    assert (room.remaining(0.75), unsent.left) == (4, 0.75)


def test_the_size_that_the_upstream_tells_is_obeyed_within_its_bounds() -> None:
    room = SlidingWindow(4, 10.0, 1.0, least=2, most=8)
    slots = [went(room, 0.0) for _ in range(4)]
    for one in slots:
        room.settle(one, 0.5)
    room.learn(slots[0], Quota(), 0.5)
    assert room.capacity == 4
    room.learn(slots[0], Quota(limit=1), 0.5)
    assert (room.capacity, room.ready_at(0.5)) == (2, 10.5)
    later = went(room, 11.0)
    room.settle(later, 11.0)
    room.learn(later, Quota(limit=100), 11.0)
    assert (room.capacity, room.remaining(11.0)) == (8, 7)


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    room = SlidingWindow(4, 10.0, 1.0, least=1, most=8)
    first, second = went(room, 0.0), went(room, 0.5)
    room.settle(second, 0.75)
    room.learn(second, Quota(8, 6), 0.75)
    room.settle(first, 1.0)
    room.learn(first, Quota(3, 0, 5.0), 1.0)
    assert (room.capacity, room.foreign) == (8, 0)


def test_a_reserve_is_left_free() -> None:
    room = SlidingWindow(4, 10.0, 1.0, reserve=3)
    went(room, 0.0)
    assert room.remaining(0.0) == 0
    assert room.ready_at(0.0) == 11.0


def test_other_settings_keep_what_was_spent_and_what_was_told() -> None:
    room = SlidingWindow(4, 10.0, 1.0, least=1, most=8)
    one = went(room, 0.0)
    room.settle(one, 0.0)
    room.learn(one, Quota(limit=6), 0.0)
    room.configure(5, 20.0, 1.0, least=1, most=5)
    assert (room.capacity, room.remaining(15.0)) == (5, 4)


def test_what_was_spent_is_known_after_a_restart() -> None:
    room = SlidingWindow(4, 10.0, 1.0, least=1, most=8)
    settled = went(room, 0.0)
    room.settle(settled, 0.5)
    room.learn(settled, Quota(8, 5), 0.5)
    went(room, 2.0)
    room.resumption.pause(6.0)
    memory = room.memory(2.0)
    after = SlidingWindow(4, 10.0, 1.0, least=1, most=8)
    after.remember(memory, 103.0)  # on another clock
    assert (after.capacity, after.foreign, after.remaining(103.0)) == (8, 2, 0)
    assert after.resumption.paused_until == 107.0
    # Ours: counted 1.5 s before, or at the latest 1 s after. Those of others: 1.5 s before.
    assert [after.remaining(at) for at in (107.0, 111.4, 111.6, 113.9, 114.1)] == [4, 4, 7, 7, 8]


def test_whatever_became_of_the_clock_nothing_is_held_for_ever() -> None:
    room = SlidingWindow(2, 10.0, 1.0)
    memory = SlidingWindow(2, 10.0, 1.0).memory(0.0)
    wild = type(memory)(own=(-1e6, 1e6), foreign=(-1e6,))
    room.remember(wild, 50.0)
    assert room.remaining(61.0) == 2
