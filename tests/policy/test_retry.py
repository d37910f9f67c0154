"""Retries: whether, and after how long."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Retry
from proxy.errors import ErrorClass, Fault
from proxy.policy.classify import Judgement
from proxy.policy.retry import Again, Stop, decide

FAILED = Judgement(ErrorClass.SERVER_ERROR, Fault.UPSTREAM, transient=True, repeatable=True)
PERMANENT = Judgement(ErrorClass.NOT_FOUND, Fault.CLIENT, transient=False, repeatable=True)
UNSAFE = Judgement(ErrorClass.READ_TIMEOUT, Fault.NETWORK, transient=True, repeatable=False)


def ask(
    attempt: int = 1,
    judgement: Judgement = FAILED,
    *,
    demanded: float | None = None,
    time_left: float = 300.0,
    rules: Retry | None = None,
    chance: float = 0.0,
) -> Again | Stop:
    return decide(
        attempt=attempt,
        judgement=judgement,
        demanded=demanded,
        time_left=time_left,
        rules=rules or Retry(),
        chance=chance,
    )


def test_the_waits_are_one_two_and_four_seconds_and_then_it_is_over() -> None:
    decisions = [ask(attempt) for attempt in (1, 2, 3, 4)]
    assert decisions == [Again(1.0), Again(2.0), Again(4.0), Stop("attempts_exhausted")]


def test_chance_lengthens_a_wait_by_half_at_most() -> None:
    assert [ask(2, chance=chance) for chance in (0.0, 0.5)] == [Again(2.0), Again(2.5)]


def test_doubling_ends_at_the_cap_which_jitter_may_exceed() -> None:
    rules = Retry(max_retries=20, cap=10.0)
    assert [ask(20, rules=rules), ask(20, rules=rules, chance=0.5)] == [Again(10.0), Again(12.5)]


def test_what_is_permanent_is_not_tried_again() -> None:
    assert ask(judgement=PERMANENT, demanded=1.0) == Stop("not_transient")


def test_what_might_be_done_twice_is_not_tried_again() -> None:
    assert ask(judgement=UNSAFE, demanded=1.0) == Stop("not_repeatable")


def test_without_retries_the_first_attempt_is_the_last() -> None:
    assert ask(rules=Retry(max_retries=0)) == Stop("attempts_exhausted")


@pytest.mark.parametrize("demanded", [0.25, 12.0, 100.0])
def test_a_demanded_wait_is_obeyed_to_the_letter_whatever_the_backoff(demanded: float) -> None:
    assert ask(3, demanded=demanded, chance=0.9) == Again(demanded)


def test_a_server_that_demands_no_wait_is_not_hammered() -> None:
    assert [ask(attempt, demanded=0.0) for attempt in (1, 2, 3)] == [Again(1.0), Again(2.0), Again(4.0)]


def test_a_wait_may_end_at_the_deadline_but_not_after_it() -> None:
    assert ask(demanded=20.0, time_left=20.0) == Again(20.0)
    assert ask(demanded=20.1, time_left=20.0) == Stop("deadline")
    assert ask(time_left=0.9) == Stop("deadline")
    assert ask(time_left=-5.0) == Stop("deadline")


@pytest.mark.parametrize("demanded", [math.inf, 1e300])
def test_an_absurd_demand_is_not_slept(demanded: float) -> None:
    assert ask(demanded=demanded) == Stop("deadline")


def test_a_demand_that_is_no_number_counts_as_none() -> None:
    assert ask(demanded=math.nan) == Again(1.0)


@pytest.mark.parametrize("attempt", [20, 10_000])
def test_no_attempt_and_no_base_overflow(attempt: int) -> None:
    rules = Retry.model_construct(max_retries=10**6, base=1e308, cap=30.0, jitter=0.5, routes=())
    assert ask(attempt, rules=rules) == Again(30.0)


_chances = st.floats(0, 1, exclude_max=True)
_rules = st.builds(
    Retry,
    max_retries=st.just(20),
    base=st.floats(1e-3, 1e3),
    cap=st.floats(1e-3, 1e6),
    jitter=st.floats(0, 1),
)


def _delay(attempt: int, rules: Retry, chance: float) -> float:
    decision = ask(attempt, rules=rules, chance=chance, time_left=math.inf)
    assert isinstance(decision, Again)
    return decision.delay


@given(st.integers(1, 20), _rules, _chances)
def test_jitter_only_lengthens_and_within_its_share(attempt: int, rules: Retry, chance: float) -> None:
    plain = _delay(attempt, rules, 0.0)
    assert plain <= _delay(attempt, rules, chance) <= plain * (1 + rules.jitter)
    assert 0 < plain <= rules.cap


@given(st.integers(1, 19), _rules, _chances)
def test_a_later_attempt_never_waits_less(attempt: int, rules: Retry, chance: float) -> None:
    assert _delay(attempt, rules, chance) <= _delay(attempt + 1, rules, chance)


@given(st.integers(1, 25), _rules, _chances, st.none() | st.floats(0, 1e9), st.floats(-10, 1e6))
def test_no_wait_ends_after_the_deadline_nor_before_a_demand(
    attempt: int, rules: Retry, chance: float, demanded: float | None, time_left: float
) -> None:
    decision = ask(attempt, rules=rules, chance=chance, demanded=demanded, time_left=time_left)
    if isinstance(decision, Again):
        assert (demanded or 0.0) <= decision.delay <= time_left
