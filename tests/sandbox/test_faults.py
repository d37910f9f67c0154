"""How faults are asked for, and who gets one."""

import random
from collections import Counter

import pytest

from proxy.sandbox import Fault, parse_fault
from proxy.sandbox.fault_answers import answer
from proxy.sandbox.faults import FAULT_NAMES, MOST_KEYS, FaultChooser, FaultPlan

WALL = 1_800_000_000.25


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_every_fault_can_be_asked_for_by_its_bare_name(name: str) -> None:
    assert parse_fault(name) == Fault(name)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("500;after", Fault("500", after=True)),
        (" reset ; after ; times=2 ", Fault("reset", after=True, times=2)),
        ("503;retry-after=1", Fault("503", retry_after=1.0)),
        ("503;retry-after=date", Fault("503", retry_after=1.0, as_date=True)),
        ("503;retry-after=date;in=2", Fault("503", retry_after=2.0, as_date=True)),
        ("429;reset=2", Fault("429", reset=2.0)),
        ("slow;seconds=0.2", Fault("slow", seconds=0.2)),
        ("hang;seconds=3", Fault("hang", seconds=3.0)),
        ("403;code=scope_required;", Fault("403", code="scope_required")),
    ],
)
def test_a_fault_is_read_with_its_options(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Unknown fault ''. Allowed are 500"),
        ("418", "Unknown fault '418'. Allowed are 500"),
        ("503;after", "The fault '503' has no option 'after'. Allowed are in, retry-after, times."),
        ("500;after=yes", "The option 'after' takes no value."),
        ("503;in=2", "The option 'in' belongs to 'retry-after=date'."),
        ("403;code=other", "Unknown code 'other'. Allowed are plan_insufficient, scope_required."),
        ("500;times=often", "The option 'times' takes a number that is not negative, not 'often'."),
        ("slow;seconds=-1", "The option 'seconds' takes a number"),
        ("hang;seconds=inf", "The option 'seconds' takes a number that is not negative, not 'inf'."),
        ("hang;after", "The fault 'hang' has no option 'after'. Allowed are seconds, times."),
    ],
)
def test_a_fault_that_cannot_be_read_is_told_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"fault|option|code") as refused:
        parse_fault(text)
    assert sentence in str(refused.value)


def chooser(after_share: float = 0.5, **rates: float) -> FaultChooser:
    plan = FaultPlan({name.lstrip("_"): rate for name, rate in rates.items()})
    return FaultChooser(plan, after_share, random.Random(7))


def test_faults_are_drawn_by_their_shares_and_strike_after_by_theirs() -> None:
    choose = chooser(_500=0.25, _503=0.25, slow=0.0)
    drawn = Counter(choose.choose(None, None) for _ in range(4000))
    assert 850 < drawn[Fault("503")] < 1150
    assert 400 < drawn[Fault("500")] < 600
    assert 400 < drawn[Fault("500", after=True)] < 600
    assert 1800 < drawn[None] < 2200
    assert sum(drawn.values()) == 4000


def test_nothing_is_drawn_without_rates() -> None:
    assert chooser().choose(None, "key") is None


def test_another_plan_is_drawn_by_at_once_and_forgets_no_attempts() -> None:
    choose, fault = chooser(_503=1.0), Fault("500", times=1)
    assert choose.choose(None, None) == Fault("503")
    assert choose.choose(fault, "a") == fault
    choose.plan = FaultPlan({"504": 0.0, "hang": 1.0})
    assert choose.choose(None, None) == Fault("hang")
    assert choose.choose(fault, "a") is None
    choose.plan = FaultPlan()
    assert choose.choose(None, None) is None


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_a_plan_refuses_a_retry_after_that_is_no_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="retry_after must be seconds, not negative, and not "):
        FaultPlan({}, seconds)


def test_a_fault_that_is_asked_for_beats_the_draw() -> None:
    assert chooser(_503=1.0).choose(Fault("404"), None) == Fault("404")


def test_only_the_first_attempts_of_a_key_get_a_fault_with_times() -> None:
    choose, fault = chooser(_503=1.0), Fault("500", times=2)
    assert [choose.choose(fault, "a") for _ in range(4)] == [fault, fault, None, None]
    assert choose.choose(fault, "b") == fault
    assert [choose.choose(fault, None) for _ in range(3)] == [fault] * 3


def test_the_attempts_of_the_longest_unseen_key_are_forgotten_first() -> None:
    choose, fault = chooser(), Fault("500", times=1)
    for number in range(MOST_KEYS + 1):
        assert choose.choose(fault, str(number)) == fault
    assert choose.choose(fault, str(MOST_KEYS)) is None
    assert choose.choose(fault, "0") == fault


def test_which_faults_let_the_operation_be_done() -> None:
    executing = {name for name in FAULT_NAMES if Fault(name).executes}
    assert executing == {"slow", "truncated"}
    assert Fault("reset", after=True).executes


@pytest.mark.parametrize(
    ("text", "default", "retry_after"),
    [
        ("503", None, None),
        ("503", 2.5, "3"),
        ("503;retry-after=7", 2.0, "7"),
        ("503;retry-after=0", None, "0"),
        ("503;retry-after=date;in=2", None, "Fri, 15 Jan 2027 08:00:03 GMT"),
        ("429", None, "1"),
        ("429", 9.0, "1"),
        ("429;retry-after=4", None, "4"),
        ("429;retry-after=date", None, "Fri, 15 Jan 2027 08:00:02 GMT"),
        ("429;reset=2", None, None),
        ("429;reset=2;retry-after=1", None, "1"),
    ],
)
def test_retry_after_says_what_was_asked_for(
    text: str, default: float | None, retry_after: str | None
) -> None:
    assert answer(parse_fault(text), "GET", WALL, default).headers.get("Retry-After") == retry_after


def test_an_injected_429_can_point_with_its_reset_alone() -> None:
    reply = answer(parse_fault("429;reset=2"), "GET", WALL, None)
    assert reply.headers["X-RateLimit-Reset"] == "1800000003"
    assert reply.body == b'{"detail":"Request was throttled."}'
