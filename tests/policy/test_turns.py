"""Waiting makes a request more urgent, step by step; a caller's turns are counted by its weight."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.limits import Lane
from proxy.policy.turns import AGED, LEVELS, Place, Rules, Turns

LANES = (Lane("a", "k"),)


def place(urgency: int, arrived: float = 0.0) -> Place:
    return Place(7, LANES, caller="me", urgency=urgency, arrived=arrived)


def test_a_place_shows_who_it_is() -> None:
    assert repr(place(5)) == "<Place 7 of 'me', u=5>"


def test_a_place_waits_for_ever_and_like_nobody_unless_told_otherwise() -> None:
    plain = Place(1, LANES)
    assert (plain.deadline, plain.key, plain.credential, plain.gone) == (math.inf, None, None, False)
    assert plain.urgency == 3


@pytest.mark.parametrize("urgency", [0, 1])
def test_waiting_makes_nobody_more_urgent_than_that(urgency: int) -> None:
    rules = Rules(30.0)
    assert rules.level(place(urgency), 1e9) == urgency
    assert rules.raised_at(place(urgency), urgency) == math.inf


def test_the_least_urgent_is_raised_after_each_step_of_waiting_and_not_before() -> None:
    rules, waiting = Rules(30.0), place(7, arrived=5.0)
    for step in range(6):
        level = 7 - step
        assert rules.level(waiting, 5.0 + 30.0 * step) == level
        assert rules.level(waiting, 5.0 + 30.0 * (step + 1) - 0.001) == level
        assert rules.raised_at(waiting, level) == 5.0 + 30.0 * (step + 1)
    assert rules.level(waiting, 5.0 + 180.0) == AGED
    assert rules.level(waiting, 1e6) == AGED
    assert rules.raised_at(waiting, AGED) == math.inf


seconds = st.integers(0, 10**6).map(lambda ticks: ticks / 64)


@given(urgency=st.sampled_from(LEVELS), arrived=seconds, ageing=st.integers(1, 600), waited=seconds)
def test_a_level_never_lies_outside_and_the_next_comes_when_foretold(
    urgency: int, arrived: float, ageing: int, waited: float
) -> None:
    rules, waiting = Rules(float(ageing)), place(urgency, arrived)
    level = rules.level(waiting, arrived + waited)
    assert min(urgency, AGED) <= level <= urgency
    at = rules.raised_at(waiting, level)
    assert at > arrived + waited
    assert at == math.inf or rules.level(waiting, at) == level - 1


def test_a_place_whose_time_has_come_is_raised_whatever_rounding_does() -> None:
    waiting = place(7, arrived=2e7)  # the clock of a machine that has been up for 231 days
    for hundredths in range(100, 200):
        rules = Rules(hundredths / 100)
        assert rules.level(waiting, rules.raised_at(waiting, 7)) < 7


def test_each_turn_takes_a_caller_on_by_the_inverse_of_its_weight() -> None:
    turns = Turns({"heavy": 4.0, "light": 0.5})
    for caller in ("heavy", "light", "unnamed"):
        assert turns.of(caller) == 0.0
        turns.took(caller)
    assert [turns.of(caller) for caller in ("heavy", "light", "unnamed")] == [0.25, 2.0, 1.0]


def test_who_was_away_comes_back_to_the_present() -> None:
    turns = Turns({})
    turns.took("away")
    for _ in range(5):
        turns.took("here")
    assert turns.of("away") == turns.of("new") == 4.0


def test_who_had_turns_while_alone_is_one_turn_behind_and_no_more() -> None:
    turns = Turns({})
    for _ in range(1000):
        turns.took("alone")
    assert turns.of("alone") - turns.of("new") == 1.0


def test_a_copy_goes_on_by_itself() -> None:
    turns = Turns({"a": 2.0})
    turns.took("a")
    copy = turns.copy()
    copy.took("a")
    copy.took("b")
    assert (turns.of("a"), turns.of("b")) == (0.5, 0.0)
    assert (copy.of("a"), copy.of("b")) == (1.0, 1.5)


def test_callers_whose_turns_are_past_are_forgotten_and_nobody_notices() -> None:
    turns = Turns({})
    turns.took("here")
    for number in range(5000):
        turns.took(f"once {number}")
        turns.took("here")
        assert len(turns._next) <= 1025
    assert turns.of("once 0") == turns.of("new")
    assert turns.of("here") == turns.of("new") + 1.0


def test_callers_that_come_once_each_are_forgotten_too() -> None:
    turns = Turns({})
    for number in range(3000):
        turns.took(f"once {number}")
    assert len(turns._next) <= 1025


@given(st.lists(st.sampled_from("abc")), st.sampled_from("abcd"))
def test_nobodys_next_turn_ever_moves_back(order: list[str], watched: str) -> None:
    turns = Turns({"a": 3.0, "b": 0.25})
    seen = turns.of(watched)
    for caller in order:
        turns.took(caller)
        assert turns.of(watched) >= seen
        seen = turns.of(watched)
