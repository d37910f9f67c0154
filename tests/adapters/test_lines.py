"""Who waits for a limit, and in what order."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.lines import Lines


def lines(*names: str, limit: str = "standard") -> Lines:
    made = Lines()
    for at, name in enumerate(names):
        made.joins(name, limit, float(at))
    return made


def test_who_came_first_goes_first() -> None:
    made = lines("a", "b", "c")
    assert [made.ahead("standard", name) for name in "abc"] == [0, 1, 2]
    assert made.ahead("burst", "a") is None
    assert made.ahead("standard", "d") is None
    assert made.length("standard") == 3
    assert made.first("standard", 2) == ["a", "b"]


def test_who_was_served_goes_behind_the_others() -> None:
    made = lines("a", "b", "c")
    made.served("a", ["standard"], 5.0)
    assert made.first("standard", 9) == ["b", "c", "a"]
    made.served("b", ["standard"], 6.0)
    assert made.first("standard", 9) == ["c", "a", "b"]


def test_to_be_served_elsewhere_costs_no_place() -> None:
    made = lines("a", "b")
    made.joins("a", "inference", 2.0)
    made.joins("b", "inference", 3.0)
    made.served("a", ["standard"], 5.0)
    assert made.first("standard", 9) == ["b", "a"]
    assert made.first("inference", 9) == ["a", "b"]


def test_who_leaves_is_in_no_line_and_begins_anew() -> None:
    made = lines("a", "b")
    made.joins("a", "burst", 3.0)
    assert made.limits("a") == ["standard", "burst"]
    made.leaves("a")
    assert not made.waits("a")
    assert made.limits() == ["standard"]
    assert made.limits("a") == []
    made.joins("a", "standard", 9.0)
    assert made.first("standard", 9) == ["b", "a"]


def test_who_is_in_no_line_is_served_without_a_place() -> None:
    made = lines("a")
    made.served("b", ["standard"], 1.0)
    assert not made.waits("b")


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.booleans()), max_size=60))
def test_who_wants_the_same_stands_in_the_same_order_everywhere(steps: list[tuple[str, bool, bool]]) -> None:
    """Two limits, always needed together: whoever is first in one line is first in the other, if in both."""
    made = Lines()
    for at, (name, joins, burst) in enumerate(steps):
        if joins:
            made.joins(name, "burst" if burst else "standard", float(at))
        else:
            made.served(name, ["standard", "burst"], float(at))
    both = [name for name in "abcde" if {"standard", "burst"} <= set(made.limits(name))]
    orders = [[name for name in made.first(limit, 9) if name in both] for limit in ("standard", "burst")]
    assert orders[0] == orders[1]
