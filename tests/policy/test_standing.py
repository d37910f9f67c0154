"""Who waits, by caller."""

from proxy.policy.limits import Lane
from proxy.policy.standing import MOST, by_caller
from proxy.policy.turns import Place
from proxy.state import CallerState

LANES = (Lane("standard", "k"),)


def place(caller: str, credential: str | None = "k") -> Place:
    return Place(1, LANES, caller=caller, credential=credential)


def test_the_longest_queues_come_first_with_when_their_first_and_last_go() -> None:
    one, many = place("one"), [place("many") for _ in range(3)]
    starts = {one: 102.04, many[0]: 99.0, many[1]: 103.0, many[2]: 131.5}
    assert by_caller([one, *many], starts, 100.0) == (
        CallerState("k", "many", 3, 0.0, 31.5),
        CallerState("k", "one", 1, 2.0, 2.0),
    )


def test_who_came_after_the_forecast_is_counted_without_an_estimate() -> None:
    old, new, newer = place("ci"), place("ci"), place("nightly")
    assert by_caller([old, new, newer], {old: 101.0}, 100.0) == (
        CallerState("k", "ci", 2, 1.0, 1.0),
        CallerState("k", "nightly", 1, None, None),
    )


def test_one_name_with_two_credentials_is_two_callers() -> None:
    assert {(one.credential, one.queued) for one in by_caller([place("ci"), place("ci", None)], {}, 0.0)} == {
        ("k", 1),
        (None, 1),
    }


def test_of_many_callers_only_those_with_the_longest_queues_are_shown() -> None:
    places = [place(f"c{number}") for number in range(500)] + [place("c400")]
    shown = by_caller(places, {}, 0.0)
    assert len(shown) == MOST
    assert shown[0] == CallerState("k", "c400", 2, None, None)
