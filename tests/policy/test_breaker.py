"""The breaker: when it opens, what it lets go as a probe, and what closes it."""

import math
from collections.abc import Callable

import pytest

from proxy import config
from proxy.policy.breaker import Breaker, Permit

RULES = config.Breaker(
    failures=3, interval=5.0, longest_interval=30.0, maintenance=30.0, longest_maintenance=900.0
)


def closed(**changes: object) -> Breaker:
    return Breaker(RULES.model_copy(update=changes))


def take(breaker: Breaker, now: float) -> Permit:
    assert breaker.ready_at(now) == now
    return breaker.take(now)


def fail(breaker: Breaker, now: float, many: int = 1, *, retry_after: float | None = None) -> None:
    for permit in [take(breaker, now) for _ in range(many)]:
        breaker.failed(permit, now, retry_after=retry_after)


def opened(**changes: object) -> Breaker:
    """Return one that opened at 0, so that its first probe may go at 5."""
    breaker = closed(**changes)
    fail(breaker, 0.0, RULES.failures)
    return breaker


# --- closed --------------------------------------------------------------------------------------------


def test_a_new_one_is_closed_and_lets_everything_go() -> None:
    breaker = closed()
    permits = [take(breaker, 1.0) for _ in range(3)]
    assert (breaker.state, breaker.forced) == ("closed", False)
    assert not any(permit.probe for permit in permits)
    assert len(set(permits)) == 3


def test_so_many_failures_in_a_row_open_it_for_the_first_interval() -> None:
    breaker = closed()
    fail(breaker, 1.0, 2)
    assert (breaker.state, breaker.ready_at(1.0)) == ("closed", 1.0)
    fail(breaker, 2.0)
    assert (breaker.state, breaker.forced, breaker.ready_at(2.0)) == ("open", False, 7.0)


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = closed()
    fail(breaker, 0.0, 2)
    breaker.succeeded(take(breaker, 0.0), 0.0)
    fail(breaker, 0.0, 2)
    assert breaker.state == "closed"


def test_an_abandoned_request_in_between_does_not() -> None:
    breaker = closed()
    fail(breaker, 0.0, 2)
    breaker.abandon(take(breaker, 0.0), 0.0)
    fail(breaker, 0.0)
    assert breaker.state == "open"


def test_one_that_is_disabled_never_opens_by_itself() -> None:
    breaker = closed(enabled=False)
    fail(breaker, 0.0, 50)
    fail(breaker, 0.0, retry_after=600.0)
    assert (breaker.state, breaker.ready_at(0.0)) == ("closed", 0.0)


Ending = Callable[[Breaker, Permit], None]
ENDINGS: dict[str, Ending] = {
    "abandoned": lambda breaker, permit: breaker.abandon(permit, 6.0),
    "succeeded": lambda breaker, permit: breaker.succeeded(permit, 6.0),
    "failed": lambda breaker, permit: breaker.failed(permit, 6.0),
    "failed for long": lambda breaker, permit: breaker.failed(permit, 6.0, retry_after=600.0),
}
each_ending = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS.keys())


@pytest.mark.parametrize("first", ["abandoned", "succeeded", "failed"])
@each_ending
def test_only_the_first_ending_of_a_permit_counts(first: str, end: Ending) -> None:
    breaker = closed()
    fail(breaker, 0.0)
    permit = take(breaker, 0.0)
    ENDINGS[first](breaker, permit)
    before = repr(breaker)
    end(breaker, permit)
    assert repr(breaker) == before


# --- maintenance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("demand", "ready"), [(30.0, 31.0), (120.0, 121.0), (86400.0, 901.0)])
def test_a_503_that_demands_a_long_wait_opens_it_at_once_for_that_long_within_reason(
    demand: float, ready: float
) -> None:
    breaker = closed()
    fail(breaker, 1.0, retry_after=demand)
    assert (breaker.state, breaker.ready_at(1.0)) == ("open", ready)


@pytest.mark.parametrize("demand", [0.0, 29.9, -1.0, math.nan])
def test_a_shorter_demand_is_a_failure_like_any_other(demand: float) -> None:
    breaker = closed()
    fail(breaker, 0.0, 2, retry_after=demand)
    assert breaker.state == "closed"
    fail(breaker, 0.0, retry_after=demand)
    assert breaker.ready_at(0.0) == 5.0


def test_an_endless_demand_is_bounded_and_not_taken_for_an_opening_by_hand() -> None:
    breaker = closed()
    fail(breaker, 0.0, retry_after=math.inf)
    assert (breaker.forced, breaker.ready_at(0.0)) == (False, 900.0)


def test_an_answer_that_was_under_way_when_it_opened_may_demand_more_but_never_less() -> None:
    breaker = closed()
    under_way = [take(breaker, 0.0) for _ in range(4)]
    fail(breaker, 0.0, retry_after=60.0)
    readiness = []
    for permit, demand in zip(under_way, (40.0, 120.0, 30.0, None), strict=True):
        breaker.failed(permit, 1.0, retry_after=demand)
        readiness.append(breaker.ready_at(1.0))
    assert readiness == [60.0, 121.0, 121.0, 121.0]


def test_such_an_answer_moves_nothing_while_a_probe_is_under_way() -> None:
    breaker = closed()
    straggler = take(breaker, 0.0)
    fail(breaker, 0.0, 3)
    take(breaker, 5.0)
    breaker.failed(straggler, 6.0, retry_after=600.0)
    assert (breaker.state, breaker.ready_at(6.0)) == ("half_open", 10.0)


def test_a_probe_may_demand_a_long_wait_as_well() -> None:
    breaker = opened()
    fail(breaker, 5.0, retry_after=60.0)
    assert (breaker.state, breaker.ready_at(5.0)) == ("open", 65.0)


def test_a_demand_shorter_than_the_interval_does_not_shorten_it_for_a_probe() -> None:
    breaker = opened(maintenance=1.0)
    fail(breaker, 5.0, retry_after=2.0)
    assert breaker.ready_at(5.0) == 15.0


# --- open and half open --------------------------------------------------------------------------------


def test_when_its_time_has_come_one_probe_goes_and_the_rest_waits() -> None:
    breaker = opened()
    assert [breaker.ready_at(now) for now in (0.0, 4.9, 5.0, 8.0)] == [5.0, 5.0, 5.0, 8.0]
    assert breaker.state == "open"
    assert take(breaker, 8.0).probe
    assert (breaker.state, breaker.ready_at(8.0)) == ("half_open", 13.0)


def test_a_probe_that_succeeds_closes_it_and_all_is_as_at_first() -> None:
    breaker = opened()
    fail(breaker, 5.0)
    breaker.succeeded(take(breaker, 15.0), 16.0)
    assert (breaker.state, breaker.ready_at(16.0)) == ("closed", 16.0)
    fail(breaker, 16.0, 2)
    assert breaker.state == "closed"
    fail(breaker, 16.0)
    assert breaker.ready_at(16.0) == 21.0


def test_each_probe_that_fails_doubles_the_interval_up_to_the_longest() -> None:
    breaker, now, waits = opened(), 5.0, []
    for _ in range(4):
        permit = take(breaker, now)
        breaker.failed(permit, now + 1)
        waits.append(breaker.ready_at(now) - (now + 1))
        now = breaker.ready_at(now)
    assert waits == [10.0, 20.0, 30.0, 30.0]


def test_a_first_interval_longer_than_the_longest_is_not_shortened_by_failures() -> None:
    breaker = opened(interval=60.0)
    fail(breaker, 60.0)
    assert breaker.ready_at(60.0) == 120.0


def test_in_place_of_an_abandoned_probe_another_goes_at_once_and_nothing_is_doubled() -> None:
    breaker = opened()
    breaker.abandon(take(breaker, 5.0), 6.0)
    assert breaker.state == "half_open"
    take(breaker, 6.0)
    assert breaker.ready_at(6.0) == 11.0


def test_while_probes_hang_others_go_at_doubling_intervals() -> None:
    breaker, now, starts = opened(), 0.0, []
    for _ in range(5):
        now = breaker.ready_at(now)
        take(breaker, now)
        starts.append(now)
    assert starts == [5.0, 10.0, 20.0, 40.0, 70.0]


def hanging() -> tuple[Breaker, Permit, Permit]:
    """Return one with an older probe, gone at 5, and a younger, gone at 10; another may go at 20."""
    breaker = opened()
    return breaker, take(breaker, 5.0), take(breaker, 10.0)


@pytest.mark.parametrize("which", [0, 1])
def test_a_success_of_any_probe_closes_it_and_the_other_has_no_say_any_more(which: int) -> None:
    breaker, *probes = hanging()
    breaker.succeeded(probes.pop(which), 11.0)
    assert breaker.state == "closed"
    breaker.failed(probes.pop(), 12.0, retry_after=600.0)
    assert breaker.state == "closed"
    fail(breaker, 12.0, 2)
    assert breaker.state == "closed"


def test_a_late_success_closes_it_even_after_a_younger_probe_failed() -> None:
    breaker, older, younger = hanging()
    breaker.failed(younger, 11.0)
    breaker.succeeded(older, 12.0)
    assert breaker.state == "closed"


def test_a_late_failure_of_an_older_probe_moves_nothing_while_a_younger_is_under_way() -> None:
    breaker, older, younger = hanging()
    breaker.failed(older, 11.0)
    assert (breaker.state, breaker.ready_at(11.0)) == ("half_open", 20.0)
    breaker.failed(younger, 12.0)
    assert (breaker.state, breaker.ready_at(12.0)) == ("open", 32.0)


def test_nor_does_it_after_the_younger_has_failed() -> None:
    breaker, older, younger = hanging()
    breaker.failed(younger, 12.0)
    breaker.failed(older, 13.0)
    assert breaker.ready_at(13.0) == 32.0


def test_an_older_probe_that_is_abandoned_lets_no_other_go() -> None:
    breaker, older, _ = hanging()
    breaker.abandon(older, 11.0)
    assert breaker.ready_at(11.0) == 20.0


def test_when_the_younger_is_abandoned_the_older_stands_in_for_it_and_doubles_no_further() -> None:
    breaker, older, younger = hanging()
    breaker.abandon(younger, 11.0)
    assert breaker.ready_at(11.0) == 11.0
    breaker.failed(older, 12.0)
    assert (breaker.state, breaker.ready_at(12.0)) == ("open", 22.0)


def test_an_older_probe_may_still_demand_a_long_wait_which_the_end_of_the_younger_does_not_shorten() -> None:
    for end in (Breaker.abandon, Breaker.failed):
        breaker, older, younger = hanging()
        breaker.failed(older, 11.0, retry_after=60.0)
        assert (breaker.state, breaker.ready_at(11.0)) == ("open", 71.0)
        end(breaker, younger, 12.0)
        assert (breaker.state, breaker.ready_at(12.0)) == ("open", 71.0)


# --- eras ----------------------------------------------------------------------------------------------


@each_ending
def test_an_answer_from_before_it_opened_does_not_settle_its_probe(end: Ending) -> None:
    breaker = closed()
    straggler = take(breaker, 0.0)
    fail(breaker, 0.0, 3)
    probe = take(breaker, 5.0)
    end(breaker, straggler)
    assert (breaker.state, breaker.ready_at(6.0)) == ("half_open", 10.0)
    breaker.succeeded(probe, 7.0)
    assert breaker.state == "closed"


@each_ending
def test_an_answer_from_before_it_opened_counts_for_nothing_after_it_closed(end: Ending) -> None:
    breaker = closed()
    stragglers = [take(breaker, 0.0) for _ in range(3)]
    fail(breaker, 0.0, 3)
    breaker.succeeded(take(breaker, 5.0), 5.0)
    fail(breaker, 6.0, 2)
    before = repr(breaker)
    for straggler in stragglers:
        end(breaker, straggler)
    assert repr(breaker) == before
    fail(breaker, 6.0, retry_after=60.0)
    assert breaker.ready_at(6.0) == 66.0


@each_ending
def test_an_answer_from_two_openings_ago_moves_nothing(end: Ending) -> None:
    breaker = closed()
    straggler = take(breaker, 0.0)
    fail(breaker, 0.0, 3)
    breaker.succeeded(take(breaker, 5.0), 5.0)
    fail(breaker, 5.0, 3)
    end(breaker, straggler)
    assert (breaker.state, breaker.ready_at(6.0)) == ("open", 10.0)


# --- by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [True, False])
def test_opened_by_hand_nothing_goes_until_it_is_closed_by_hand(enabled: bool) -> None:
    breaker = closed(enabled=enabled)
    breaker.force_open(1.0)
    assert (breaker.state, breaker.forced, breaker.ready_at(1e9)) == ("open", True, math.inf)
    breaker.force_close(2e9)
    assert (breaker.state, breaker.forced, breaker.ready_at(2e9)) == ("closed", False, 2e9)


@each_ending
def test_opened_by_hand_while_open_or_half_open_it_stays_so_however_probes_end(end: Ending) -> None:
    breaker = closed()
    straggler = take(breaker, 0.0)
    fail(breaker, 0.0, 3)
    breaker.force_open(1.0)
    breaker.force_close(2.0)
    fail(breaker, 2.0, 3)
    probes = [take(breaker, 7.0)]
    breaker.force_open(8.0)
    breaker.force_open(9.0)
    for permit in [straggler, *probes]:
        end(breaker, permit)
        assert (breaker.state, breaker.forced, breaker.ready_at(9.0)) == ("open", True, math.inf)


@each_ending
def test_what_was_under_way_when_it_was_opened_by_hand_counts_for_nothing_afterwards(end: Ending) -> None:
    breaker = closed()
    under_way = [take(breaker, 0.0) for _ in range(3)]
    breaker.force_open(1.0)
    end(breaker, under_way.pop())
    breaker.force_close(2.0)
    fail(breaker, 2.0)
    before = repr(breaker)
    for permit in under_way:
        end(breaker, permit)
    assert repr(breaker) == before


def test_closed_by_hand_an_ordinary_opening_is_over_and_failures_are_forgotten() -> None:
    for breaker in (opened(), closed()):
        if breaker.state == "closed":
            fail(breaker, 0.0, 2)
        breaker.force_close(1.0)
        fail(breaker, 1.0, 2)
        assert (breaker.state, breaker.ready_at(1.0)) == ("closed", 1.0)
        fail(breaker, 1.0)
        assert (breaker.state, breaker.ready_at(1.0)) == ("open", 6.0)


def test_what_is_under_way_when_a_closed_one_is_closed_by_hand_still_counts() -> None:
    breaker = closed()
    under_way = [take(breaker, 0.0) for _ in range(3)]
    breaker.force_close(1.0)
    for permit in under_way:
        breaker.failed(permit, 2.0)
    assert breaker.state == "open"


def test_a_probe_under_way_when_it_was_closed_by_hand_has_no_say_any_more() -> None:
    breaker, *probes = hanging()
    breaker.force_close(11.0)
    for probe in probes:
        breaker.failed(probe, 12.0, retry_after=600.0)
    assert breaker.state == "closed"


def test_it_shows_what_it_is_up_to() -> None:
    breaker = closed()
    fail(breaker, 0.0, 2)
    shown = [repr(breaker)]
    fail(breaker, 0.0)
    shown.append(repr(breaker))
    breaker.take(5.0)
    shown.append(repr(breaker))
    breaker.force_open(6.0)
    shown.append(repr(breaker))
    assert shown == [
        "<Breaker closed: 2 of 3 failures in a row>",
        "<Breaker open: probe=none next=5 interval=5 s>",
        "<Breaker half_open: probe=under way next=10 interval=5 s>",
        "<Breaker open by hand>",
    ]
