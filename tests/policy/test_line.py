"""The line offers turns to the oldest who can use one, and to nobody who left."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.limits import Lane
from proxy.policy.line import Line, Place

A, B = Lane("a", "k"), Lane("b", "k")


def heads(line: Line) -> list[int]:
    """Serve everybody who can be served, in order."""
    served = []
    while (candidate := line.next()) is not None:
        served.append(candidate[1].ticket)
        line.leave(candidate[1])
    return served


def joined(line: Line, *places: tuple[int, tuple[Lane, ...]]) -> list[Place]:
    made = [Place(ticket, lanes) for ticket, lanes in places]
    for place in made:
        line.join(place)
    return made


def test_the_oldest_goes_first_whatever_it_needs() -> None:
    line = Line()
    joined(line, (3, (A,)), (1, (B,)), (2, (A, B)))
    assert heads(line) == [1, 2, 3]


def test_who_was_here_before_gets_its_old_place() -> None:
    line = Line()
    joined(line, (5, (A,)), (6, (A,)), (2, (A,)))
    assert heads(line) == [2, 5, 6]


def test_those_of_one_ticket_go_in_the_order_in_which_they_joined() -> None:
    line = Line()
    places = joined(line, (1, (A,)), (1, (A,)), (1, (B,)))
    served = []
    while (candidate := line.next()) is not None:
        served.append(candidate[1])
        line.leave(candidate[1])
    assert served == places


def test_a_full_lane_stops_only_those_who_need_it() -> None:
    line = Line()
    joined(line, (1, (A, B)), (2, (A,)), (3, (A, B)))
    candidate = line.next()
    assert candidate is not None
    line.park(candidate[0], B)
    assert heads(line) == [2]
    assert line.unpark(B)
    assert heads(line) == [1, 3]


def test_a_newcomer_waits_where_its_like_are_parked() -> None:
    line = Line()
    joined(line, (1, (A,)))
    candidate = line.next()
    assert candidate is not None
    line.park(candidate[0], A)
    joined(line, (2, (A,)))
    assert line.next() is None
    line.unpark(A)
    assert heads(line) == [1, 2]


def test_who_left_is_gone_at_once() -> None:
    line = Line()
    first, second = joined(line, (1, (A,)), (2, (A, B)))
    line.leave(first)
    line.leave(first)
    assert len(line) == 1
    assert dict(line.depths()) == {A: 1, B: 1}
    line.leave(second)
    assert len(line) == 0
    assert dict(line.depths()) == {}


def test_a_parked_file_that_empties_is_forgotten() -> None:
    line = Line()
    for ticket in (1, 2):
        (place,) = joined(line, (ticket, (A, B) if ticket == 1 else (A,)))
        candidate = line.next()
        assert candidate is not None
        line.park(candidate[0], A)
        if ticket == 2:
            line.leave(place)
    assert line.unpark(A)
    assert not line.unpark(A)
    assert heads(line) == [1]


def test_the_last_parked_file_takes_its_lane_with_it() -> None:
    line = Line()
    (place,) = joined(line, (1, (A,)))
    candidate = line.next()
    assert candidate is not None
    line.park(candidate[0], A)
    line.leave(place)
    assert not line.unpark(A)


def test_those_who_wait_for_what_a_newcomer_does_not_need_are_not_ahead_of_it() -> None:
    line = Line()
    first, _, third = joined(line, (1, (A, B)), (2, (A, B)), (3, (A,)))
    assert line.ahead(A, (A,)) == line.ahead(A, (A, B)) == 3
    candidate = line.next()
    assert candidate is not None
    line.park(candidate[0], B)
    assert line.ahead(A, (A,)) == 1
    assert line.ahead(A, (A, B)) == 3
    assert line.ahead(B, (A, B)) == 2
    joined(line, (4, (A, B)))
    line.leave(first)
    line.leave(third)
    assert (line.ahead(A, (A,)), line.ahead(A, (A, B)), line.ahead(B, (A, B))) == (0, 2, 2)
    line.unpark(B)
    assert line.ahead(A, (A,)) == 2
    assert heads(line) == [2, 4]
    assert not line._held
    assert not line._held_anywhere


def test_those_who_left_do_not_pile_up() -> None:
    line = Line()
    places = joined(line, *((ticket, (A,)) for ticket in range(1000)))
    for place in places[1:]:
        line.leave(place)
    candidate = line.next()
    assert candidate is not None
    assert len(candidate[0]._heap) <= 2


def test_a_few_who_left_are_not_worth_a_clearing_up() -> None:
    line = Line()
    places = joined(line, *((ticket, (A,)) for ticket in range(10)))
    (file,) = line._files.values()
    for place in places[5:]:
        line.leave(place)
    assert len(file._heap) == 10
    line.leave(places[4])
    assert len(file._heap) == 4
    assert heads(line) == [0, 1, 2, 3]


def test_the_order_survives_a_clearing_up() -> None:
    line = Line()
    places = dict(enumerate(joined(line, *((ticket, (A,)) for ticket in (1, 5, 2, 6, 7, 3, 4)))))
    for index in (3, 4, 2, 0):  # tickets 6, 7, 2, 1: more than half
        line.leave(places[index])
    assert heads(line) == [3, 4, 5]


def test_everybody_is_all_who_wait() -> None:
    line = Line()
    first, second, third = joined(line, (1, (A,)), (2, (B,)), (3, (A,)))
    line.leave(third)
    assert set(line.everybody()) == {first, second}


def test_a_line_shows_its_state() -> None:
    line = Line()
    joined(line, (1, (A,)))
    candidate = line.next()
    assert candidate is not None
    line.park(candidate[0], A)
    assert repr(line) == "<Line 1 waiting in 1 files, parked at {'a/k': 1}>"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([(A,), (B,), (A, B)]), st.sampled_from(["join", "leave", "park", "unpark"])
        ),
        max_size=60,
    )
)
def test_nobody_is_lost_and_like_requests_keep_their_order(
    plan: list[tuple[tuple[Lane, ...], str]],
) -> None:
    line, waiting = Line(), list[Place]()
    for ticket, (lanes, step) in enumerate(plan):
        if step == "join":
            waiting += joined(line, (ticket, lanes))
        elif step == "leave" and waiting:
            line.leave(waiting.pop(ticket % len(waiting)))
        elif step == "park" and (candidate := line.next()) is not None:
            line.park(candidate[0], candidate[0].lanes[-1])
        elif step == "unpark":
            line.unpark(lanes[0])
        for file in line._files.values():
            gone = sum(entry[2].gone for entry in file._heap)
            assert file._gone == gone <= len(file._heap) / 2
    assert len(line) == len(waiting)
    for lane in (A, B):
        assert line.ahead(lane, (A, B)) == sum(lane in place.lanes for place in waiting)
    line.unpark(A)
    line.unpark(B)
    assert heads(line) == sorted(place.ticket for place in waiting)
