"""The line offers turns to who is next and can use one, and to nobody who left."""

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.limits import Lane, Lanes
from proxy.policy.line import Line
from proxy.policy.turns import Place, Rules

A, B, C = Lane("a", "k"), Lane("b", "k"), Lane("c", "k")


def new() -> Line:
    return Line(Rules(30.0))


def heads(line: Line, now: float = 0.0) -> list[int]:
    """Serve everybody who can be served, in order."""
    served = []
    while (place := line.next(now)) is not None:
        served.append(place.ticket)
        line.took(place, now)
    return served


def joined(line: Line, *places: tuple[int, Lanes]) -> list[Place]:
    return [join(line, ticket, lanes) for ticket, lanes in places]


def join(
    line: Line,
    ticket: int,
    lanes: Lanes = (A,),
    *,
    credential: str | None = None,
    caller: str = "",
    key: Hashable = None,
) -> Place:
    place = Place(ticket, lanes, credential=credential, caller=caller, key=key)
    line.join(place, 0.0)
    return place


def park(line: Line, lane: Lane, now: float = 0.0) -> Place:
    """Find a lane full for who is next."""
    place = line.next(now)
    assert place is not None
    line.park(place, lane, now)
    return place


def remembers_nothing(line: Line) -> bool:
    return not any(
        (line._queues, line._ready, line._parked, line._needing, line._alike, line._places, len(line))
    )


def test_the_oldest_goes_first_whatever_it_needs() -> None:
    line = new()
    joined(line, (3, (A,)), (1, (B,)), (2, (A, B)))
    assert heads(line) == [1, 2, 3]
    assert remembers_nothing(line)


def test_who_was_here_before_gets_its_old_place() -> None:
    line = new()
    joined(line, (5, (A,)), (6, (A,)), (2, (A,)))
    assert heads(line) == [2, 5, 6]


def test_those_of_one_ticket_go_in_the_order_in_which_they_joined() -> None:
    line = new()
    places = joined(line, (1, (A,)), (1, (A,)), (1, (A,)))
    served = []
    while (place := line.next(0.0)) is not None:
        served.append(place)
        line.took(place, 0.0)
    assert served == places


def test_a_full_lane_stops_only_those_who_need_it() -> None:
    line = new()
    joined(line, (1, (A, B)), (2, (A,)), (3, (A, B)))
    park(line, B)
    assert heads(line) == [2]
    assert line.unpark(B, 0.0)
    assert heads(line) == [1, 3]


def test_a_newcomer_waits_where_its_like_are_parked() -> None:
    line = new()
    joined(line, (1, (A,)))
    park(line, A)
    joined(line, (2, (A,)))
    assert line.next(0.0) is None
    line.unpark(A, 0.0)
    assert heads(line) == [1, 2]


def test_a_newcomer_that_needs_something_else_does_not_wait_with_them() -> None:
    line = new()
    joined(line, (1, (A,)))
    park(line, A)
    assert line.next(0.0) is None
    joined(line, (2, (B,)))
    assert heads(line) == [2]


def test_a_place_was_held_by_the_lane_that_had_no_room_for_longest_since_it_came() -> None:
    line = new()
    place, other = joined(line, (1, (A, B)), (2, (A,)))
    assert line.held_by(place, 0.0) is None
    park(line, B, 1.0)
    assert line.held_by(place, 4.0) == B
    line.unpark(B, 4.0)
    park(line, A, 4.0)
    late = Place(3, (A, B))
    line.join(late, 4.0)
    line.unpark(A, 6.0)
    assert line.held_by(place, 9.0) == B
    assert late.before == {A: 0.0, B: 3.0}
    assert line.held_by(other, 9.0) is None


def test_who_left_is_gone_at_once_and_only_once() -> None:
    line = new()
    first, second = joined(line, (1, (A,)), (2, (A, B)))
    line.leave(first)
    line.leave(first)
    assert len(line) == 1
    assert dict(line.depths()) == {A: 1, B: 1}
    line.leave(second)
    assert dict(line.depths()) == {}
    assert remembers_nothing(line)


def test_who_had_its_turn_has_left() -> None:
    line = new()
    (place,) = joined(line, (1, (A,)))
    line.took(place, 0.0)
    assert place.gone
    line.leave(place)
    assert remembers_nothing(line)


def test_a_turn_is_taken_although_an_older_one_came_back_after_it_was_offered() -> None:
    line = new()
    joined(line, (5, (A,)))
    offered = line.next(0.0)
    assert offered is not None
    joined(line, (2, (A,)))
    line.took(offered, 0.0)
    line.leave(offered)
    assert (len(line), heads(line)) == (1, [2])


def test_a_parked_file_that_empties_is_forgotten() -> None:
    line = new()
    joined(line, (1, (A, B)))
    park(line, A)
    (place,) = joined(line, (2, (A,)))
    park(line, A)
    line.leave(place)
    assert line.unpark(A, 0.0)
    assert not line.unpark(A, 0.0)
    assert heads(line) == [1]


def test_the_last_parked_file_takes_its_lane_with_it() -> None:
    line = new()
    (place,) = joined(line, (1, (A,)))
    park(line, A)
    line.leave(place)
    assert not line.unpark(A, 0.0)
    assert remembers_nothing(line)


def test_those_who_wait_for_what_a_newcomer_does_not_need_are_not_ahead_of_it() -> None:
    line = new()
    first, _, third = joined(line, (1, (A, B)), (2, (A, B)), (3, (A,)))
    assert line.ahead(A, (A,)) == line.ahead(A, (A, B)) == 3
    park(line, B)
    assert line.ahead(A, (A,)) == 1
    assert line.ahead(A, (A, B)) == 3
    assert line.ahead(B, (A, B)) == 2
    assert line.ahead(C, (C,)) == 0
    joined(line, (4, (A, B)))
    line.leave(first)
    line.leave(third)
    assert (line.ahead(A, (A,)), line.ahead(A, (A, B)), line.ahead(B, (A, B))) == (0, 2, 2)
    line.unpark(B, 0.0)
    assert line.ahead(A, (A,)) == 2
    assert heads(line) == [2, 4]
    assert remembers_nothing(line)


def test_those_who_left_do_not_pile_up() -> None:
    line = new()
    places = joined(line, *((ticket, (A,)) for ticket in range(1000)))
    for place in places[1:]:
        line.leave(place)
    (queue,) = line._queues.values()
    (row,) = queue.file((A,))._rows.values()
    assert len(row._heap) <= 2


def test_everybody_is_all_who_wait() -> None:
    line = new()
    first, second, third = joined(line, (1, (A,)), (2, (B,)), (3, (A,)))
    line.leave(third)
    assert line.everybody() == [first, second]


def test_a_line_shows_its_state() -> None:
    line = new()
    joined(line, (1, (A,)), (2, (B,)), (3, (A,)))
    assert repr(line) == "<Line 3 waiting in 2 files, parked at {}>"
    park(line, A)
    assert repr(line) == "<Line 3 waiting in 2 files, parked at {'a/k': 1}>"


def test_credentials_that_share_a_lane_take_turns() -> None:
    line = new()
    for ticket in range(6):
        join(line, ticket, credential="greedy")
    join(line, 6, credential="modest")
    join(line, 7, credential=None)
    assert heads(line) == [0, 6, 7, 1, 2, 3, 4, 5]


def test_credentials_take_turns_too_when_each_turn_has_to_be_waited_for() -> None:
    line, served = new(), []
    for ticket in range(4):
        join(line, ticket, credential="a")
        join(line, 10 + ticket, credential="b")
    while len(line):
        place = line.next(0.0)
        assert place is not None
        line.took(place, 0.0)
        served.append(place.credential)
        while line.next(0.0) is not None:
            park(line, A)
        line.unpark(A, 0.0)
    assert served == ["a", "b"] * 4


def test_a_credential_whose_last_one_left_is_asked_no_more() -> None:
    line = new()
    gone = join(line, 1, credential="a")
    join(line, 2, credential="b")
    line.leave(gone)
    assert heads(line) == [2]


def test_those_who_wait_for_the_same_answer_find_each_other() -> None:
    line = new()
    first, second = join(line, 1, key="x"), join(line, 2, credential="c", key="x")
    other, alone = join(line, 3, key="y"), join(line, 4)
    assert line.alike(first) == [second]
    assert line.alike(Place(9, (A,), key="x")) == [first, second]
    assert line.alike(other) == line.alike(alone) == line.alike(Place(9, (A,))) == []
    line.leave(first)
    assert line.alike(second) == []
    line.took(second, 0.0)
    assert line.alike(Place(9, (A,), key="x")) == []
    assert list(line._alike) == ["y"]


def test_a_caller_waits_while_one_of_its_requests_does() -> None:
    line = new()
    place = join(line, 1, credential="c", caller="me")
    assert line.waits("c", "me")
    assert not line.waits("c", "you")
    assert not line.waits(None, "me")
    line.leave(place)
    assert not line.waits("c", "me")


def tickets(queues: list[object]) -> list[int]:
    return sorted(place.ticket for queue in queues for file in queue for place in file.places())  # type: ignore[attr-defined]


def test_parts_have_no_lane_in_common() -> None:
    line = new()
    join(line, 1, (A,), credential="a")
    join(line, 2, (C,), credential="c")
    join(line, 3, (A, B), credential="ab")
    join(line, 4, (B,), credential="b")
    join(line, 5, (B,), credential="a")
    assert [tickets(list(part)) for part in line.parts()] == [[1, 3, 4, 5], [2]]


def test_one_credential_is_one_part_even_if_its_requests_share_nothing() -> None:
    line = new()
    join(line, 1, (A,))
    join(line, 2, (B,))
    assert [tickets(list(part)) for part in line.parts()] == [[1, 2]]


def test_a_newcomer_joins_copies_of_what_it_has_to_do_with() -> None:
    line = new()
    join(line, 1, (A,), credential="a")
    join(line, 2, (C,), credential="c")
    newcomer = Place(9, (A, B), credential="new")
    assert tickets(list(line.joined_by(newcomer, 0.0))) == [1, 9]
    assert tickets(list(line.joined_by(Place(9, (C,), credential="c"), 0.0))) == [2, 9]
    assert tickets(list(line.joined_by(Place(9, (B,), credential="a"), 0.0))) == [9]
    assert (len(line), line.everybody()[0].ticket, newcomer.gone) == (2, 1, False)


steps = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "back", "leave", "park", "unpark", "took"]),
        st.sampled_from([(A,), (B,), (A, B), (B, C)]),
        st.sampled_from([None, "c"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 7),
    ),
    max_size=60,
)


@given(steps)
def test_nobody_is_lost_and_each_callers_requests_keep_their_order(
    plan: list[tuple[str, Lanes, str | None, str, int]],
) -> None:
    line, waiting, now = new(), list[Place](), 0.0
    for ticket, (step, lanes, credential, caller, number) in enumerate(plan):
        now += number
        if step in {"join", "back"}:
            # Who comes back has a ticket of long ago.
            place = Place(
                ticket if step == "join" else -ticket,
                lanes,
                credential=credential,
                caller=caller,
                urgency=number,
                arrived=now,
                key=number or None,
            )
            line.join(place, now)
            waiting.append(place)
        elif step == "leave" and waiting:
            line.leave(waiting.pop(number % len(waiting)))
        elif step == "park" and (head := line.next(now)) is not None:
            line.park(head, head.lanes[number % len(head.lanes)], now)
            assert line.held_by(head, now) in {None, *head.lanes}
        elif step == "unpark":
            line.unpark(lanes[0], now)
        elif step == "took" and (head := line.next(now)) is not None:
            assert head in waiting
            assert not head.gone
            line.took(head, now)
            waiting.remove(head)
        assert line.everybody() == waiting
        assert dict(line.depths()) == {
            lane: many for lane in (A, B, C) if (many := sum(lane in place.lanes for place in waiting))
        }
        for place in waiting:
            assert line.alike(place) == [
                other for other in waiting if other is not place and other.key == place.key is not None
            ]
    parts = list(line.parts())
    assert sum(len(queue) for part in parts for queue in part) == len(line) == len(waiting)
    for lane in (A, B, C):
        assert line.ahead(lane, (A, B, C)) == sum(lane in place.lanes for place in waiting)
        line.unpark(lane, 0.0)
    last: dict[tuple[str | None, str, int, Lanes], int] = {}
    while (head := line.next(now)) is not None:
        line.took(head, now)
        waiting.remove(head)
        like = head.credential, head.caller, head.urgency, head.lanes
        assert last.get(like, -100) <= head.ticket
        last[like] = head.ticket
    assert not waiting
    assert remembers_nothing(line)


def test_who_is_behind_one_with_an_older_ticket_that_came_later_and_left_is_not_lost() -> None:
    line = Line(Rules(1.0))
    first = Place(4, (A,), caller="a", urgency=7, arrived=0.0)
    later = Place(-5, (A,), caller="a", urgency=7, arrived=5.0)
    line.join(first, 0.0)
    line.join(later, 5.0)
    line.leave(later)
    assert line.next(5.0) is first


def test_other_rules_hold_for_keys_of_which_nobody_waits() -> None:
    line = new()
    line.configure(Rules(30.0, {"heavy": 2.0}))
    for ticket, caller in enumerate(["heavy", "heavy", "heavy", "heavy", "light", "light"]):
        join(line, ticket, caller=caller)
    assert heads(line).index(5) > 3, "when heavy has had three turns, and not two"
