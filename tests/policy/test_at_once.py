"""How many go at the same time is halved by a refusal, and comes back one by one."""

import math

from proxy.policy.at_once import AtOnce
from proxy.policy.feedback import Quota
from proxy.policy.memory import Memory
from proxy.policy.room import Slot


def under_way(room: AtOnce, count: int, now: float) -> list[Slot]:
    slots = [room.take(now) for _ in range(count)]
    for slot in slots:
        room.began(slot, now)
        room.sent(slot, now)
    return slots


def test_a_refusal_halves_how_many_go_and_those_under_way_with_it_halve_nothing_more() -> None:
    room = AtOnce(10)
    slots = under_way(room, 10, 0.0)
    for slot in slots[:3]:
        room.refused(slot, 1.0)
    assert (room.capacity, room.ready_at(1.0)) == (5, math.inf)
    room.refused(under_way(room, 1, 2.0)[0], 2.5)
    assert room.capacity == 2


def test_it_is_never_less_than_one() -> None:
    room = AtOnce(2)
    for now in range(5):
        (slot,) = under_way(room, 1, float(now))
        room.refused(slot, now + 0.5)
        room.release(slot, now + 0.5)
    assert (room.capacity, room.ready_at(9.0)) == (1, 9.0)


def test_as_many_answers_raise_it_by_one_up_to_the_limit() -> None:
    room = AtOnce(4)
    room.refused(under_way(room, 4, 0.0)[0], 1.0)
    assert room.capacity == 2
    grown = []
    for _ in range(14):
        room.settle(Slot(2.0), 2.0)
        grown.append(room.capacity)
    assert grown[:3] == [2, 2, 3]
    assert grown[-1] == 4


def test_what_the_upstream_has_left_is_not_believed_to_last() -> None:
    room = AtOnce(4)
    room.learn(Slot(0.0), Quota(4, 0), 0.0)
    assert (room.remaining(0.0), room.foreign) == (4, 0)


def test_another_size_keeps_who_is_under_way_and_what_refusals_showed() -> None:
    room = AtOnce(4)
    under_way(room, 2, 0.0)
    room.configure(8)
    assert (room.capacity, room.remaining(0.0)) == (8, 6)
    room.refused(under_way(room, 2, 1.0)[0], 2.0)
    assert room.capacity == 2
    room.configure(16)
    assert room.capacity == 2
    room.configure(1)
    assert (room.capacity, room.remaining(0.0)) == (1, 0)


def test_of_a_restart_it_remembers_a_pause_only() -> None:
    room = AtOnce(4)
    under_way(room, 2, 0.0)
    assert room.memory(0.0) == Memory()
    room.resumption.pause(5.0)
    after = AtOnce(4)
    after.remember(room.memory(2.0), 100.0)
    assert after.ready_at(101.0) == 103.0
    fresh = AtOnce(4)
    fresh.remember(Memory(), 0.0)
    assert fresh.ready_at(0.0) == 0.0
