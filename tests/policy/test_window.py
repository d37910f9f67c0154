"""The sliding window with settlement never lets the upstream count more than its limit."""

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.at_once import AtOnce
from proxy.policy.room import Room, Slot
from proxy.policy.window import SlidingWindow


def window(size: int = 2, per: float = 10.0, transit: float = 1.0) -> SlidingWindow:
    return SlidingWindow(size, per, transit)


def spend(room: SlidingWindow, now: float) -> Slot:
    assert room.ready_at(now) <= now
    slot = room.take(now)
    room.sent(slot, now)
    return slot


def test_a_new_window_has_all_its_room_at_once() -> None:
    room = window()
    assert room.remaining(0.0) == 2
    assert room.ready_at(0.0) == 0.0
    assert room.resumption.paused_until == -math.inf


def test_a_slot_comes_free_one_window_after_the_response_head() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.settle(slot, 0.25)
    assert room.ready_at(0.25) == 10.25
    assert room.remaining(10.2) == 0
    assert room.remaining(10.25) == 1


def test_slots_come_free_one_by_one() -> None:
    room = window(size=2)
    for now in (0.0, 3.0):
        room.settle(spend(room, now), now)
    assert [room.remaining(now) for now in (9.9, 10.0, 12.9, 13.0)] == [0, 1, 1, 2]


def test_room_that_came_free_long_ago_is_ready_now() -> None:
    room = window(size=1)
    room.settle(spend(room, 0.0), 0.0)
    assert room.ready_at(50.0) == 50.0


def test_a_slot_without_a_response_comes_free_after_transit_and_one_window() -> None:
    room = window(size=1)
    spend(room, 0.0)
    assert room.ready_at(0.5) == 11.0
    assert room.ready_at(5.0) == 11.0


def test_a_late_response_changes_nothing_any_more() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.remaining(2.0)
    room.settle(slot, 5.0)
    assert room.ready_at(5.0) == 11.0


def test_a_late_response_changes_nothing_even_if_nobody_looked_in_between() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.settle(slot, 5.0)
    assert room.ready_at(5.0) == 11.0


def test_slots_come_free_in_order_even_if_nobody_looked_in_between() -> None:
    room = window(size=2)
    spend(room, 0.0)
    late = spend(room, 4.5)
    room.settle(late, 5.0)
    assert room.ready_at(5.0) == 11.0
    assert room.remaining(11.0) == 1


def test_a_granted_slot_is_held_without_bound() -> None:
    room = window(size=1)
    room.take(0.0)
    assert room.ready_at(1000.0) == math.inf


def test_a_refunded_slot_is_free_at_once() -> None:
    room = window(size=1)
    room.refund(room.take(0.0))
    assert room.ready_at(0.0) == 0.0


def test_a_sent_slot_cannot_be_refunded() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.refund(slot)
    assert room.remaining(0.0) == 0


def test_a_slot_is_sent_once() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.sent(slot, 5.0)
    assert room.ready_at(5.0) == 11.0


def test_an_answer_that_overtakes_its_request_settles_it() -> None:
    room = window(size=1)
    room.settle(room.take(0.0), 3.0)
    assert room.ready_at(3.0) == 13.0


def test_release_changes_nothing_in_a_window() -> None:
    room = window(size=1)
    slot = spend(room, 0.0)
    room.release(slot, 0.0)
    assert room.remaining(0.0) == 0


def test_the_second_to_come_free_is_known_while_it_is_only_sent() -> None:
    room = window(size=2)
    first = spend(room, 0.0)
    spend(room, 0.5)
    room.settle(first, 0.6)
    assert room.ready_at(0.6) == 10.6
    assert room.outlook(0.6).ready() == 10.6, "the other one settles soon, in all likelihood"


def test_a_pause_holds_everything_and_is_never_shortened() -> None:
    room = window()
    room.resumption.pause(7.0)
    room.resumption.pause(3.0)
    assert room.resumption.paused_until == 7.0
    assert room.ready_at(0.0) == 7.0
    assert room.remaining(6.9) == 0
    assert room.outlook(0.0).ready() == 7.0
    assert room.remaining(7.0) == 2


def test_a_window_is_idle_when_it_remembers_nothing() -> None:
    room = window()
    assert room.idle(0.0)
    slot = spend(room, 0.0)
    assert not room.idle(0.0)
    room.settle(slot, 0.0)
    assert not room.idle(9.0)
    assert room.idle(10.0)
    room.resumption.pause(20.0)
    assert not room.idle(19.0)
    assert room.idle(20.0)


def expected(room: Room, now: float, many: int) -> list[float]:
    """Spend an outlook, and tell when each slot was taken."""
    outlook, taken = room.outlook(now), list[float]()
    for _ in range(many):
        now = max(now, outlook.ready())
        outlook.take(now)
        taken.append(now)
    return taken


def test_a_new_window_is_expected_to_free_its_slots_in_batches() -> None:
    assert expected(window(size=2), 0.0, 6) == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0]


def test_an_outlook_beyond_a_pause_knows_when_each_slot_comes_free() -> None:
    room = window(size=3)
    room.settle(spend(room, 0.0), 0.5)
    spend(room, 1.0)
    spend(room, 1.5)
    room.resumption.pause(8.0)
    assert expected(room, 1.6, 5) == [10.5, 11.6, 12.0, 21.0, 22.1]


def test_what_is_under_way_is_expected_to_settle_as_soon_as_others_did() -> None:
    room = window(size=3)
    room.settle(spend(room, 0.0), 0.25)
    spend(room, 1.0)
    room.take(1.125)
    assert expected(room, 1.125, 4) == [10.25, 11.25, 11.375, 20.5]


def test_what_should_have_settled_by_now_is_expected_to_settle_now() -> None:
    room = window(size=2)
    room.settle(spend(room, 0.0), 0.25)
    spend(room, 20.0)
    assert expected(room, 20.75, 2) == [20.75, 30.75]
    room.take(21.0)
    assert expected(room, 40.0, 2) == [40.0, 50.0], "the one of 20 was counted by 21"


def test_nothing_sent_is_expected_to_be_counted_later_than_transit_allows() -> None:
    room = window(size=1)
    room.settle(room.take(0.0), 9.0)  # the upload took long; what was sent at once will not
    spend(room, 20.0)
    assert expected(room, 20.5, 2) == [31.0, 42.0]


def test_an_outlook_takes_a_granted_slot_for_one_that_is_sent_now() -> None:
    room = window(size=1)
    room.take(0.0)
    assert expected(room, 4.0, 1) == [14.0]


def test_an_outlook_is_spent_without_the_window() -> None:
    room = window(size=1)
    expected(room, 0.0, 5)
    assert room.remaining(0.0) == 1


def test_where_every_answer_takes_longer_than_transit_slots_are_expected_back_after_transit() -> None:
    room = window(size=1)
    for now in (0.0, 20.0):
        room.settle(spend(room, now), now + 5.0)
    spend(room, 40.0)
    assert room.ready_at(40.0) == 51.0
    assert expected(room, 40.0, 2) == [51.0, 62.0]


def test_a_window_shows_its_state() -> None:
    room = window()
    spend(room, 0.0)
    assert (
        repr(room)
        == "<SlidingWindow 2 per 10 s: granted=0 sent=1 settled=0 <Foreign 0 counted, 0 seen to come>>"
    )


def test_at_once_counts_exchanges_until_they_are_over() -> None:
    room = AtOnce(1)
    slot = room.take(0.0)
    room.sent(slot, 0.0)
    room.settle(slot, 0.0)
    assert room.ready_at(100.0) == math.inf
    assert not room.idle(100.0)
    room.release(slot, 100.0)
    assert room.ready_at(100.0) == 100.0
    assert room.idle(100.0)


def test_at_once_takes_back_what_was_not_sent() -> None:
    room = AtOnce(1)
    room.refund(room.take(0.0))
    assert room.remaining(0.0) == 1


def test_at_once_takes_each_slot_back_once() -> None:
    room = AtOnce(2)
    first, second = room.take(0.0), room.take(0.0)
    room.release(first, 0.0)
    room.release(first, 0.0)
    assert room.remaining(0.0) == 1
    room.refund(second)
    room.refund(second)
    assert room.remaining(0.0) == 2


def test_at_once_can_be_paused() -> None:
    room = AtOnce(1)
    assert room.resumption.paused_until == -math.inf
    room.resumption.pause(5.0)
    assert room.ready_at(0.0) == 5.0
    assert room.outlook(0.0).ready() == 5.0
    assert room.remaining(0.0) == 0
    assert not room.idle(0.0)
    assert room.remaining(5.0) == 1
    assert room.idle(5.0)


def test_at_once_expects_an_exchange_to_take_as_long_as_others_did() -> None:
    room = AtOnce(2)
    assert expected(room, 0.0, 3) == [0.0, 0.0, 0.0], "nothing is known yet"
    room.release(room.take(0.0), 4.0)
    room.take(5.0)
    room.take(6.0)
    assert expected(room, 7.0, 5) == [9.0, 10.0, 13.0, 14.0, 17.0]
    assert expected(room, 9.5, 3) == [9.5, 10.0, 13.5], "the one of 5 is late, and may end at any moment"


def test_at_once_learns_nothing_from_what_was_not_sent() -> None:
    room = AtOnce(1)
    room.refund(room.take(0.0))
    slot = room.take(0.0)
    room.refund(slot)
    room.release(slot, 9.0)
    assert room.outlook(9.0).longest_wait(100, 9.0) == 0.0


def test_at_once_shows_its_state() -> None:
    room = AtOnce(3)
    room.take(0.0)
    assert repr(room) == "<AtOnce 1 of 3 (at most 3)>"


def seconds(low: int, high: int) -> st.SearchStrategy[float]:
    """Draw times whose sums are exact, so that the bound can be checked without a tolerance."""
    return st.integers(low * 1024, high * 1024).map(lambda ticks: ticks / 1024)


steps = st.lists(
    st.tuples(
        seconds(0, 3),  # until the next request asks
        seconds(0, 1),  # from sending to arrival, within `transit`
        seconds(0, 4),  # from arrival to the response head
        st.sampled_from(["answered", "lost", "refunded"]),
    ),
    max_size=60,
)


@given(size=st.integers(1, 5), per=seconds(1, 8), plan=steps)
def test_no_window_of_the_upstream_ever_counts_more_than_the_limit(
    size: int, per: float, plan: list[tuple[float, float, float, str]]
) -> None:
    room = SlidingWindow(size, per, 1.0)
    now, arrivals = 0.0, list[float]()
    settling: list[tuple[float, Slot]] = []
    for gap, up, down, ending in plan:
        now += gap
        settling.sort(key=lambda entry: entry[0])
        while settling and settling[0][0] <= now:
            at, slot = settling.pop(0)
            room.settle(slot, at)
        if room.ready_at(now) > now:
            continue
        slot = room.take(now)
        if ending == "refunded":
            room.refund(slot)
            continue
        room.sent(slot, now)
        arrivals.append(now + up)
        if ending == "answered":
            settling.append((now + up + down, slot))
    for at in arrivals:
        assert sum(at - per < other <= at for other in arrivals) <= size
