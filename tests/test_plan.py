"""A rehearsal takes as long as can be computed by hand, and breaks no limit of the API."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import DOCUMENTED_LIMITS, Limit, Match, Pace, Queue, Settings, Upstream
from proxy.demo import best_possible
from proxy.errors import ErrorClass
from proxy.plan import KIND, Kind, Plan, parse_kind, rehearse
from proxy.sandbox.limits import Rate
from proxy.sandbox.throttle import Throttles
from tests.fakes import INFERENCE, UPLOADS

STANDARD = Limit(name="standard", requests=100, per=60.0)
BURST = Limit(name="burst", requests=20, per=1.0)
PATIENT = Queue(longest_wait=1e5, size=100_000)
EXACT = Upstream(clock_drift=0.0)


def planned(
    *kinds: str,
    limits: Sequence[Limit] = (),
    callers: int = 1,
    latency: float = 0.0,
    at_once: bool = False,
    **tables: Any,
) -> Plan:
    tables = {"queue": PATIENT, "upstream": EXACT} | tables
    parsed = [parse_kind(kind) for kind in kinds]
    chosen = Settings(limits=tuple(limits), **tables)
    return rehearse(chosen, parsed, callers=callers, latency=latency, at_once=at_once)


# What is asked for.


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("300", Kind(300, "GET", "/api/v1/datasets/", None)),
        (" 1\n", Kind(1, "GET", "/api/v1/datasets/", None)),
        ("999999", Kind(999_999, "GET", "/api/v1/datasets/", None)),
        ("20 POST /api/v1/exports/", Kind(20, "POST", "/api/v1/exports/", None)),
        ("20 post /x", Kind(20, "POST", "/x", None)),
        ("20  PUT   /x   3", Kind(20, "PUT", "/x", 3.0)),
        ("20 GET / 0.25", Kind(20, "GET", "/", 0.25)),
        ("20 GET /x 3.", Kind(20, "GET", "/x", 3.0)),
        ("20 GET /x 0", Kind(20, "GET", "/x", 0.0)),
    ],
)
def test_a_kind_is_a_count_and_perhaps_what_is_asked_and_how_long_an_answer_takes(
    text: str, kind: Kind
) -> None:
    assert parse_kind(text) == kind


NO_COUNT = ["", "0", "-1", "+1", "1.5", "010", "1000000", "many", "GET /x", "٣"]
NO_REQUEST = ["5 GET", "5 /x", "5 GET x", "5GET /x", "5\tGET\t/x", "5 GET /x y", "5 GET /x 1 2"]
NO_SECONDS = ["5 GET /x -1", "5 GET /x 1e3", "5 GET /x inf", "5 GET /x nan", "5 GET /x .5"]


@pytest.mark.parametrize("text", [*NO_COUNT, *NO_REQUEST, *NO_SECONDS])
def test_what_is_no_kind_is_quoted_beside_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="is not COUNT") as error:
        parse_kind(text)
    assert str(error.value) == f"{text!r} is not {KIND}."


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("5 G@T /x", "an HTTP method"), ("5 GET /x?page=2", "without query"), ("5 GET /x#y", "a path")],
)
def test_a_method_or_a_path_that_is_none_is_an_error_that_says_what_it_has_to_be(
    text: str, wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_kind(text)


def test_an_error_in_a_kind_says_in_which() -> None:
    with pytest.raises(ValueError, match="'5 GET /x\\?page=2'"):
        parse_kind("5 GET /x?page=2")


def test_a_pattern_is_no_path() -> None:
    with pytest.raises(ValueError, match="path"):
        parse_kind("5 POST /api/v1/inference/**")


def test_a_kind_is_called_by_what_it_asks() -> None:
    assert str(Kind(5, "POST", "/x", 3.0)) == "POST /x"


# How long it takes.


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 20, 21, 100, 101, 300])
def test_a_crowd_takes_as_long_as_the_limits_allow_at_best(count: int, latency: float) -> None:
    plan = planned(str(count), limits=[STANDARD, BURST], latency=latency, at_once=True)
    # A slot comes back one window after its request was counted: by the answer, by `transit` at the latest.
    counted = min(latency, EXACT.transit)
    best = best_possible(count, [(100, 60 + counted), (20, 1 + counted)])
    assert plan.seconds == pytest.approx(best + latency, abs=1e-3)
    assert len(plan.done) == len(plan.trips) == count


def test_three_hundred_at_once_take_two_windows_and_four_bursts() -> None:
    plan = planned("300", limits=[STANDARD, BURST], at_once=True)
    assert plan.seconds == pytest.approx(124.0, abs=1e-3)
    went = Counter(round(trip.went) for trip in plan.done)
    assert went == {minute + second: 20 for minute in (0, 60, 120) for second in range(5)}


def test_windows_are_as_much_longer_as_the_apis_clock_may_be_slow() -> None:
    plan = planned("300", limits=[STANDARD], at_once=True, upstream=Upstream(clock_drift=0.001))
    assert plan.seconds == pytest.approx(2 * 60.06, abs=1e-3)


def test_one_after_the_other_they_fill_a_window_and_then_follow_the_ones_before_them() -> None:
    plan = planned("300", limits=[STANDARD, BURST], latency=0.2)
    assert plan.seconds == pytest.approx(2 * (60.0 + 0.2) + 100 * 0.2, abs=1e-3)
    assert [round(plan.trips[at].waited, 3) for at in (99, 100, 101, 200)] == [0.0, 40.2, 0.0, 40.2]
    assert max(trip.waited for trip in plan.trips) == pytest.approx(40.2, abs=1e-3)


def test_where_nothing_holds_them_callers_take_the_time_of_their_answers() -> None:
    assert planned("12", latency=2.0).seconds == pytest.approx(24.0)
    assert planned("12", latency=2.0, callers=3).seconds == pytest.approx(8.0)
    assert planned("12", latency=2.0, callers=5).seconds == pytest.approx(6.0), "two of them have three"
    assert planned("12", latency=2.0, callers=100).seconds == pytest.approx(2.0)
    assert planned("12", latency=2.0, callers=3, at_once=True).seconds == pytest.approx(2.0)
    assert planned("12 GET /x 0.5", latency=2.0).seconds == pytest.approx(6.0)


def test_grants_are_paced_as_in_earnest() -> None:
    paced = BURST.model_copy(update={"pace": Pace(burst=5, rate=10.0)})
    plan = planned("10", limits=[paced], at_once=True)
    assert plan.seconds == pytest.approx(0.5, abs=1e-3)
    assert {trip.limit for trip in plan.trips} == {"none"}


def test_an_at_once_limit_lets_the_next_go_when_an_answer_is_there() -> None:
    plan = planned("7 POST /api/v1/uploads/ 3", limits=[UPLOADS], latency=0.1, at_once=True)
    assert [round(trip.went, 3) for trip in plan.done] == [0.0, 0.0, 3.0, 3.0, 6.0, 6.0, 9.0]
    assert plan.seconds == pytest.approx(12.0)
    assert [trip.limit for trip in plan.done] == ["none"] * 2 + ["uploads"] * 5


def test_who_needs_no_narrow_limit_is_not_held_by_it() -> None:
    limits = [STANDARD, INFERENCE, UPLOADS]
    kinds = ["50 GET /x", "6 POST /api/v1/inference/invoke/ 0", "4 POST /api/v1/uploads/ 5"]
    plan = planned(*kinds, limits=limits, latency=0.1, at_once=True)
    waited: dict[str, list[float]] = {}
    for trip in plan.done:
        waited.setdefault(trip.kind.path, []).append(round(trip.waited, 3))
    assert set(waited["/x"]) == {0.0}
    assert sorted(waited["/api/v1/inference/invoke/"]) == [0.0, 0.0, 6.0, 6.0, 12.0, 12.0]
    assert sorted(waited["/api/v1/uploads/"]) == [0.0, 0.0, 5.0, 5.0]
    lanes = {trip.kind.path: [lane.limit for lane in trip.lanes] for trip in plan.trips}
    assert lanes["/x"] == ["standard"]
    assert lanes["/api/v1/uploads/"] == ["standard", "uploads"]


def test_all_callers_use_one_key_and_are_known_by_it() -> None:
    anonymous = Limit(name="anonymous", requests=1, per=60.0, match=Match(anonymous=True))
    assert planned("20", limits=[anonymous], callers=4, at_once=True).seconds == 0.0
    shared = planned("20", limits=[STANDARD.model_copy(update={"requests": 5})], callers=4, at_once=True)
    assert shared.seconds == pytest.approx(180.0)


def test_callers_take_turns() -> None:
    one = Limit(name="one", requests=1, per=1.0)
    plan = planned("1 GET /first", "3 GET /a", limits=[one], callers=4, at_once=True)
    assert sorted(round(trip.went, 3) for trip in plan.done) == [0.0, 1.0, 2.0, 3.0]


def test_observing_is_not_foreseen_since_nothing_would_be_held() -> None:
    observing = Queue(observe=True, longest_wait=1e5)
    assert planned("11", limits=[BURST], at_once=True).seconds == 0.0
    plan = planned("30", limits=[BURST], at_once=True, queue=observing)
    assert plan.seconds == pytest.approx(1.0)


# Who is refused.


def test_who_would_wait_too_long_is_refused() -> None:
    ten = Limit(name="ten", requests=10, per=60.0)
    plan = planned("35", limits=[ten], at_once=True, queue=Queue(longest_wait=100.0))
    assert Counter(trip.refused for trip in plan.trips) == {None: 20, ErrorClass.QUEUE_TIMEOUT: 15}
    assert plan.seconds == pytest.approx(60.0)
    assert len(plan.done) == 20


def test_who_finds_the_line_full_is_refused() -> None:
    ten = Limit(name="ten", requests=10, per=60.0)
    plan = planned("30", limits=[ten], at_once=True, queue=Queue(size=5, longest_wait=1e5))
    assert Counter(trip.refused for trip in plan.trips) == {None: 15, ErrorClass.QUEUE_FULL: 15}


def test_a_caller_that_was_refused_goes_on() -> None:
    ten = Limit(name="ten", requests=10, per=60.0)
    plan = planned("15", limits=[ten], queue=Queue(longest_wait=10.0))
    assert Counter(trip.refused for trip in plan.trips) == {None: 10, ErrorClass.QUEUE_TIMEOUT: 5}


def test_of_nothing_done_the_time_is_nothing() -> None:
    assert Plan().seconds == 0.0
    assert Plan().done == []


# How kinds are mixed.


def longest_run(paths: Iterable[str]) -> int:
    longest, run, before = 0, 0, ""
    for path in paths:
        run = run + 1 if path == before else 1
        longest, before = max(longest, run), path
    return longest


def test_kinds_come_spread_over_the_whole() -> None:
    plan = planned("4 GET /a", "2 GET /b", "1 GET /c")
    assert "".join(trip.kind.path[1:] for trip in plan.trips) == "abacaba"


@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=4))
@settings(max_examples=50)
def test_at_no_point_is_a_kind_far_from_its_share(counts: list[int]) -> None:
    plan = planned(*(f"{count} GET /{number}" for number, count in enumerate(counts)))
    seen: Counter[str] = Counter()
    for number, trip in enumerate(plan.trips, 1):
        seen[trip.kind.path] += 1
        for kind, count in enumerate(counts):
            assert abs(seen[f"/{kind}"] - count * number / sum(counts)) <= len(counts) / 2
    assert seen == {f"/{kind}": count for kind, count in enumerate(counts)}


@pytest.mark.parametrize("kinds", [2, 3, 4])
def test_each_caller_gets_its_share_of_each_kind(kinds: int) -> None:
    durations = [1.0, 5.0, 3.0, 7.0][:kinds]
    texts = [f"{10 * kinds} GET /{number} {seconds}" for number, seconds in enumerate(durations)]
    plan = planned(*texts, callers=kinds)
    assert plan.seconds == pytest.approx(10 * sum(durations))


# What it is worth.


def test_the_same_is_foreseen_each_time() -> None:
    def once() -> str:
        kinds = ["80", "15 POST /api/v1/inference/invoke/ 2", "15 POST /api/v1/uploads/ 5"]
        return repr(
            planned(*kinds, limits=DOCUMENTED_LIMITS, callers=7, queue=Queue(longest_wait=60.0), latency=0.3)
        )

    assert once() == once()


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("latency", [0.0, 0.4, 2.5])
def test_the_pretended_api_would_refuse_none_of_it_whenever_it_counts(at_once: bool, latency: float) -> None:
    """It counts on arrival, which may be any moment up to `transit` after the last byte, or the answer."""
    limits = [STANDARD, BURST]
    plan = planned("250", limits=limits, callers=30, latency=latency, at_once=at_once)
    rates = {limit.name: Rate(limit.size, limit.per) for limit in limits if limit.per is not None}
    for share in (0.0, 0.5, 1.0):
        throttles = Throttles(rates, lambda scope, count: None)
        arrivals = sorted(trip.went + share * min(latency, EXACT.transit) for trip in plan.done)
        for at in arrivals:
            throttles.enter(dict.fromkeys(rates, "key"), at * (1 + 1e-9))  # the last digit is rounding


@pytest.mark.parametrize(
    ("callers", "at_once", "patience"),
    [(1, False, 1e5), (20, False, 1e5), (20, True, 1e5), (20, True, 90.0)],
)
def test_two_thousand_are_foreseen(callers: int, at_once: bool, patience: float) -> None:
    kinds = ["1500", "300 POST /api/v1/inference/invoke/ 2", "200 POST /api/v1/uploads/ 5"]
    began = time.perf_counter()
    plan = planned(
        *kinds,
        limits=DOCUMENTED_LIMITS,
        callers=callers,
        latency=0.2,
        at_once=at_once,
        queue=Queue(longest_wait=patience),
    )
    seconds = time.perf_counter() - began
    print(f"\n{callers} callers, at once: {at_once}: {len(plan.done)} of 2000 in {seconds:.2f} s")
    assert len(plan.trips) == 2000
