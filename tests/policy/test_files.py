"""Those who need the same lanes wait in one file: rows by caller and urgency, whose heads are offered."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.files import File, Row
from proxy.policy.limits import Lane
from proxy.policy.turns import LEVELS, Place, Rules, Turns

LANES = (Lane("a", "k"),)
RULES = Rules(10.0, {"heavy": 2.0})


def place(ticket: int, caller: str = "me", urgency: int = 3, arrived: float = 0.0) -> Place:
    return Place(ticket, LANES, caller=caller, urgency=urgency, arrived=arrived)


def rowed(*tickets: int) -> tuple[Row, list[Place]]:
    row, places = Row(), [place(ticket) for ticket in tickets]
    for each in places:
        row.push(each)
    return row, places


def filed(*places: Place) -> File:
    file = File(LANES, RULES)
    for each in places:
        file.push(each, each.arrived)
    return file


def leave(file: File, gone: Place) -> None:
    gone.gone = True
    file.left(gone)


def best(file: File, turns: Turns | None = None, now: float = 0.0, level: int = 3) -> int | None:
    offer = file.best(level, turns or Turns({}), now)
    return None if offer is None else offer.ticket


def drained(row: Row) -> list[int]:
    tickets = []
    while (head := row.head()) is not None:
        tickets.append(head.ticket)
        row.pop()
    return tickets


def test_the_oldest_of_a_row_goes_first_and_equals_as_they_came() -> None:
    row, places = rowed(5, 2, 9, 2)
    assert row.head() is places[1]
    row.pop()
    assert row.head() is places[3]
    assert drained(row) == [2, 5, 9]
    assert row.head() is None


def test_a_few_of_a_row_who_left_are_not_worth_a_clearing_up_and_more_are() -> None:
    row, places = rowed(*range(10))
    for each in places[5:]:
        each.gone = True
        row.left()
    assert (len(row), len(row._heap)) == (5, 10)
    places[4].gone = True
    row.left()
    assert (len(row), len(row._heap)) == (4, 4)
    assert row.places() == places[:4]
    assert drained(row) == [0, 1, 2, 3]


def test_the_order_of_a_row_survives_a_clearing_up() -> None:
    row, places = rowed(1, 5, 2, 6, 7, 3, 4)
    for index in (3, 4, 2, 0):  # tickets 6, 7, 2, 1: more than half
        places[index].gone = True
        row.left()
    assert drained(row) == [3, 4, 5]


def test_a_copy_of_a_row_goes_on_by_itself() -> None:
    row, places = rowed(1, 2, 3)
    places[2].gone = True
    row.left()
    copy = row.copy()
    copy.pop()
    copy.push(place(0))
    assert (len(row), len(copy)) == (2, 2)
    assert (drained(row), drained(copy)) == ([1, 2], [0, 2])


def test_the_oldest_head_is_the_best_among_callers_who_have_come_equally_far() -> None:
    file = filed(place(3, "b"), place(1, "a"), place(2, "b"))
    assert best(file) == 1
    assert (len(file), file.has("a"), file.has("b"), file.has("c")) == (3, True, True, False)
    assert sorted(each.ticket for each in file.places()) == [1, 2, 3]


def test_who_has_come_less_far_is_the_best_even_if_it_is_younger() -> None:
    file, turns = filed(place(1, "a"), place(2, "b")), Turns({})
    turns.took("a")
    assert best(file, turns) == 2


def test_an_offer_stays_until_it_is_taken_and_then_the_next_of_its_row_is_shown() -> None:
    first, second = place(1), place(2)
    file = filed(first, second)
    assert best(file) == best(file) == 1
    file.took(first, 0.0)
    assert best(file) == 2
    file.took(second, 0.0)
    assert best(file) is None
    assert not file
    assert not file._rows


def test_who_left_is_offered_no_more() -> None:
    first, second, other = place(1), place(2), place(3, "b")
    file = filed(first, second, other)
    leave(file, first)
    assert best(file) == 2
    leave(file, second)
    assert best(file) == 3
    assert (len(file), file.has("me")) == (1, False)


def test_the_row_of_who_left_may_begin_anew() -> None:
    gone = place(1)
    file = filed(gone)
    leave(file, gone)
    file.push(place(2), 0.0)
    assert best(file) == 2
    file.age(1000.0)
    assert best(file, now=1000.0, level=1) == 2


def test_an_older_one_of_the_row_takes_over_its_offer() -> None:
    young = place(5)
    file = filed(young)
    assert best(file) == 5
    file.push(place(2), 0.0)
    assert best(file) == 2
    assert len(file) == 2


def test_a_turn_that_was_offered_is_taken_although_an_older_one_came_back_meanwhile() -> None:
    young, old = place(5), place(2)
    file = filed(young)
    assert best(file) == 5
    file.push(old, 0.0)
    file.took(young, 0.0)
    assert young.gone
    assert (len(file), file.places()) == (1, [old])
    assert best(file) == 2


def test_urgencies_are_levels_of_their_own() -> None:
    file = filed(place(1, urgency=7), place(2, urgency=0), place(3, urgency=3))
    assert [best(file, level=level) for level in LEVELS] == [2, None, None, 3, None, None, None, 1]


def test_a_head_is_raised_when_it_has_waited_long_enough() -> None:
    file = filed(place(1, urgency=4), place(2, "b", urgency=2, arrived=5.0))
    file.age(9.99)
    assert best(file, level=4) == 1
    file.age(10.0)
    assert (best(file, level=4), best(file, level=3)) == (None, 1)
    file.age(30.0)
    assert (best(file, level=1), len(file)) == (1, 2)


def test_a_file_that_was_asked_long_ago_raises_by_as_much_as_was_waited() -> None:
    file = filed(place(1, urgency=7))
    file.age(45.0)
    assert best(file, now=45.0, level=3) == 1


def test_who_stands_behind_one_that_was_raised_and_left_has_its_own_level() -> None:
    old, young = place(1, urgency=5), place(2, urgency=5, arrived=25.0)
    file = filed(old, young)
    file.age(30.0)
    assert best(file, now=30.0, level=2) == 1
    leave(file, old)
    assert best(file, now=30.0, level=2) is None
    assert best(file, now=30.0, level=5) == 2


def test_what_is_raised_when_the_head_left_is_whoever_stands_there_now() -> None:
    old, young = place(1, urgency=5), place(2, urgency=5, arrived=5.0)
    file = filed(old, young)
    leave(file, old)
    file.age(10.0)
    assert best(file, now=10.0, level=5) == 2
    file.age(15.0)
    assert best(file, now=15.0, level=4) == 2


def test_nobody_of_a_row_that_emptied_is_raised() -> None:
    gone = place(1)
    file = filed(gone, place(2, "b", urgency=0))
    leave(file, gone)
    file.age(100.0)
    assert [best(file, level=level) for level in LEVELS] == [2, *[None] * 7]


def test_a_copy_of_a_file_goes_on_by_itself_and_is_parked_nowhere() -> None:
    first, second = place(1), place(2, "b")
    file = filed(first, second)
    file.park(LANES[0], 0.0)
    copy = file.copy(0.0)
    assert copy.parked_at is None
    assert copy.lanes == file.lanes
    copy.took(first, 0.0)
    copy.push(place(9, "c"), 0.0)
    assert (best(copy), len(copy), copy.has("c")) == (2, 2, True)
    assert (best(file), len(file), file.has("c")) == (1, 2, False)
    assert not first.gone


def test_a_copy_shows_each_head_at_the_level_that_it_has_come_to() -> None:
    file = filed(place(1, urgency=7))
    copy = file.copy(25.0)
    assert best(copy, now=25.0, level=5) == 1
    copy.age(30.0)
    assert best(copy, now=30.0, level=4) == 1


def test_offers_of_those_who_left_do_not_pile_up_while_the_file_is_parked() -> None:
    file = filed(place(0))
    for ticket in range(1, 1000):
        gone = place(ticket, f"caller {ticket}")
        file.push(gone, 0.0)
        leave(file, gone)
    assert len(file._offers[3]) + len(file._raises) < 100


steps = st.tuples(
    st.sampled_from(["join", "join", "leave", "take", "age", "copy"]),
    st.sampled_from(["a", "b", "heavy"]),
    st.sampled_from(LEVELS),
    st.integers(0, 20),
)


@given(st.lists(steps, max_size=50))
def test_the_best_is_always_the_least_turn_and_then_ticket_of_the_heads_of_its_level(
    plan: list[tuple[str, str, int, int]],
) -> None:
    file, turns, now = File(LANES, RULES), [Turns(RULES.weights) for _ in LEVELS], 0.0
    waiting: list[Place] = []
    for ticket, (step, caller, urgency, number) in enumerate(plan):
        if step == "join":
            waiting.append(place(ticket, caller, urgency, now))
            file.push(waiting[-1], now)
        elif step == "leave" and waiting:
            leave(file, waiting.pop(number % len(waiting)))
        elif step == "age":
            now += number
        elif step == "copy":
            file = file.copy(now)
        file.age(now)
        heads: dict[tuple[str, int], Place] = {}
        for each in waiting:
            heads.setdefault((each.caller, each.urgency), each)
        for level in LEVELS:
            here = [each for each in heads.values() if RULES.level(each, now) == level]
            expected = min(
                ((turns[level].of(each.caller), each.ticket, each) for each in here),
                key=lambda entry: entry[:2],
                default=None,
            )
            offer = file.best(level, turns[level], now)
            assert (None if offer is None else (offer.turn, offer.ticket, offer.place)) == expected
            if offer is not None and step == "take":
                turns[level].took(offer.place.caller)
                file.took(offer.place, now)
                waiting.remove(offer.place)
                break
        assert len(file) == len(waiting)
        assert set(file.places()) == set(waiting)
