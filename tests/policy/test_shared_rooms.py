"""What a limit can be asked where others spend from it who are known: their turns, and what they may hold."""

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.at_once import AtOnce
from proxy.policy.feedback import Quota
from proxy.policy.foreign import most_likely
from proxy.policy.outlook import Outlook
from proxy.policy.window import SlidingWindow


def test_what_is_withheld_takes_room_until_its_time() -> None:
    room = SlidingWindow(4, 10.0, 1.0)
    room.withhold("other", 3, 8.0)
    assert room.remaining(0.0) == 1
    room.take(0.0)
    assert room.ready_at(0.0) == 8.0
    assert room.outlook(0.0).ready() == 8.0
    assert room.ready_at(8.0) == 8.0
    assert room.remaining(8.0) == 3


def test_what_is_withheld_can_be_given_back() -> None:
    room = SlidingWindow(4, 10.0, 1.0)
    room.withhold("other", 4, 8.0)
    assert room.remaining(0.0) == 0
    room.withhold("other", 0, 8.0)
    assert room.remaining(0.0) == 4


def test_those_ahead_have_the_first_slots() -> None:
    room = SlidingWindow(2, 10.0, 1.0)
    for now in (0.0, 1.0):
        slot = room.take(now)
        room.sent(slot, now)
        room.settle(slot, now + 0.5)
    assert [room.ready_at(1.5, ahead=count) for count in range(3)] == [10.5, 11.5, math.inf]


def test_an_answer_that_comes_late_does_not_disturb_the_order() -> None:
    room = SlidingWindow(3, 10.0, 1.0)
    early, late = room.take(0.0), room.take(0.0)
    room.sent(early, 4.0)
    room.settle(early, 4.5)
    room.sent(late, 1.0)  # heard of later than it happened
    room.settle(late, 5.0)
    assert (room.free_at(late), room.free_at(early)) == (12.0, 14.5)
    assert room.remaining(12.0) == 2
    assert room.remaining(14.5) == 3


def test_when_a_slot_comes_free_is_known_as_far_as_it_is() -> None:
    room = SlidingWindow(3, 10.0, 1.0)
    slot = room.take(0.0)
    assert room.free_at(slot) == math.inf
    room.sent(slot, 2.0)
    assert room.free_at(slot) == 13.0
    room.settle(slot, 2.5)
    assert (room.free_at(slot), room.hold) == (12.5, 10.0)
    given_back, refused = room.take(3.0), room.take(3.0)
    room.refund(given_back)
    room.sent(refused, 3.0)
    room.refused(refused, 3.5)
    assert room.free_at(given_back) == room.free_at(refused) == -math.inf
    at_once = AtOnce(1)
    held = at_once.take(0.0)
    assert at_once.free_at(held) == math.inf
    at_once.release(held, 1.0)
    assert at_once.free_at(held) == -math.inf


def test_at_once_slots_can_be_withheld_too() -> None:
    room = AtOnce(3)
    room.withhold("other", 2, 30.0)
    assert (room.ready_at(0.0), room.ready_at(0.0, ahead=1)) == (0.0, 30.0)
    slot = room.take(0.0)
    assert room.ready_at(0.0) == 30.0
    room.take(0.0)
    room.take(0.0)
    assert room.ready_at(0.0) == math.inf
    room.release(slot, 1.0)
    assert room.ready_at(31.0) == 31.0
    room.withhold("other", 0, 40.0)
    assert room.ready_at(1.0) == 1.0
    assert (room.allowed(1.0), room.measured) == (3, True)


def test_how_many_may_be_held_leaves_room_for_those_who_are_not_counted() -> None:
    room = SlidingWindow(10, 10.0, 1.0)
    assert (room.allowed(0.0), room.measured) == (10, True)
    for number in range(2):
        slot = room.take(number * 2.0)
        room.sent(slot, number * 2.0)
        room.settle(slot, number * 2.0 + 0.1)
        room.learn(slot, Quota(10, 10 - (1 + 3 * number)), number * 2.0 + 0.1)
    assert room.foreign == 2
    assert not room.measured
    assert room.allowed(2.1) <= 8
    assert room.allowed(4.0, cautious=True) <= room.allowed(4.0)


def test_what_was_granted_to_others_may_have_been_counted() -> None:
    counted = []
    for shared in (False, True):
        room = SlidingWindow(10, 10.0, 1.0, shared=shared)
        room.take(0.0)  # another replica's, of which nothing more was heard
        slot = room.take(0.0)
        room.sent(slot, 0.0)
        room.settle(slot, 0.5)
        room.learn(slot, Quota(10, 8), 0.5)
        counted.append(room.foreign)
    assert counted == [1, 0]


@given(st.floats(0, 400))
def test_what_is_most_likely_is_hardly_ever_exceeded(mean: float) -> None:
    assert most_likely(mean) >= mean
    assert most_likely(mean + 1) >= most_likely(mean)


def test_an_outlook_of_several_is_shared_by_them() -> None:
    outlook = Outlook(4, 10.0, [108.0, 105.0, 106.0, 107.0], 103.0).by(100.0, 2)
    assert outlook.ready() == 5.0
    outlook.take(5.0)
    assert outlook.ready() == 7.0
    assert Outlook(1, 10.0, [], -math.inf).by(100.0, 4).ready() == -math.inf
