"""The throttles count and refuse as Django REST Framework does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.errors import Throttled
from proxy.sandbox.limits import Concurrent, Rate
from proxy.sandbox.throttle import Place, SlidingLog, Slots, Throttles, Window

GAPS = st.lists(st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0, 2.5]), max_size=80)


def throttles(**limits: Rate | Concurrent) -> tuple[Throttles, list[tuple[str, int]]]:
    seen: list[tuple[str, int]] = []
    return Throttles(limits, lambda scope, count: seen.append((scope, count))), seen


@given(gaps=GAPS, requests=st.integers(1, 8), per=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_sliding_log_decides_as_a_naive_list_of_accepted_times(
    gaps: list[float], requests: int, per: float
) -> None:
    log, accepted, now = SlidingLog(Rate(requests, per)), list[float](), 0.0
    for gap in gaps:
        now += gap
        inside = [time for time in accepted if time > now - per]
        fits = len(inside) < requests
        assert (log.enter("k", now) is not None) == fits
        if fits:
            accepted.append(now)
        else:
            assert log.wait("k", now) == per - (now - min(inside))
        assert log.used("k") == len([time for time in accepted if time > now - per])


@given(gaps=GAPS, standard=st.integers(1, 10), burst=st.integers(1, 4))
def test_every_throttle_is_asked_and_those_that_pass_record(
    gaps: list[float], standard: int, burst: int
) -> None:
    both, _ = throttles(standard=Rate(standard, 3.0), burst=Rate(burst, 1.0))
    times: dict[str, list[float]] = {"standard": [], "burst": []}
    now = 0.0
    for gap in gaps:
        now += gap
        refusing = set()
        for scope, size, per in (("standard", standard, 3.0), ("burst", burst, 1.0)):
            if len([time for time in times[scope] if time > now - per]) < size:
                times[scope].append(now)
            else:
                refusing.add(scope)
        if refusing:
            with pytest.raises(Throttled) as refused:
                both.enter({"standard": "u", "burst": "u"}, now)
            assert refused.value.scope in refusing
        else:
            both.enter({"standard": "u", "burst": "u"}, now)


@given(moves=st.lists(st.booleans(), max_size=60), size=st.integers(1, 5))
def test_never_more_places_are_taken_than_there_are(moves: list[bool], size: int) -> None:
    slots, held = Slots(Concurrent(size)), list[Place]()
    for enter in moves:
        if enter:
            place = slots.enter("k", 0.0)
            assert (place is None) == (len(held) == size)
            held += [place] if place else []
        elif held:
            held.pop().release()
        assert slots.used("k") == len(held)


def test_an_entry_exactly_one_window_old_no_longer_counts() -> None:
    log = SlidingLog(Rate(1, 60.0))
    assert log.enter("k", 10.0)
    assert log.enter("k", math.nextafter(70.0, 0)) is None
    assert log.enter("k", 70.0)


def test_a_refused_request_is_told_when_the_oldest_counted_one_leaves() -> None:
    both, _ = throttles(standard=Rate(2, 60.0))
    both.enter({"standard": "u"}, 0.0)
    both.enter({"standard": "u"}, 30.0)
    with pytest.raises(Throttled) as refused:
        both.enter({"standard": "u"}, 48.0)
    assert refused.value.reply.headers["Retry-After"] == "12"
    assert refused.value.reply.body == (
        b'{"detail":"Request was throttled. Expected available in 12 seconds."}'
    )


def test_a_wait_is_at_least_one_second_and_then_singular() -> None:
    both, _ = throttles(burst=Rate(1, 0.1))
    both.enter({"burst": "u"}, 0.0)
    with pytest.raises(Throttled) as refused:
        both.enter({"burst": "u"}, 0.05)
    assert refused.value.reply.headers["Retry-After"] == "1"
    assert b"in 1 second." in refused.value.reply.body


def test_the_longest_wait_among_the_refusing_throttles_is_told() -> None:
    both, _ = throttles(standard=Rate(1, 60.0), burst=Rate(1, 1.0))
    both.enter({"standard": "u", "burst": "u"}, 0.0)
    with pytest.raises(Throttled) as refused:
        both.enter({"burst": "u", "standard": "u"}, 0.0)
    assert refused.value.scope == "standard"
    assert refused.value.reply.headers["Retry-After"] == "60"


def test_keys_do_not_share_a_window() -> None:
    both, seen = throttles(burst=Rate(1, 1.0))
    both.enter({"burst": "a"}, 0.0)
    both.enter({"burst": "b"}, 0.0)
    assert seen == [("burst", 1), ("burst", 1)]


def test_a_place_is_given_back_when_another_throttle_refuses() -> None:
    both, _ = throttles(uploads=Concurrent(1), burst=Rate(1, 1.0))
    both.enter({"burst": "u"}, 0.0)
    with pytest.raises(Throttled):
        both.enter({"uploads": "u", "burst": "u"}, 0.0)
    assert both.window("uploads", "u", 0.0).remaining == 1


def test_a_place_held_for_a_job_outlives_its_request_and_ends_with_the_job() -> None:
    both, _ = throttles(exports=Concurrent(1))
    permit = both.enter({"exports": "u"}, 0.0)
    permit.hold_until("exports", 5.0)
    permit.release()
    assert both.window("exports", "u", 2.0) == Window(1, 0, 3.0)
    with pytest.raises(Throttled) as refused:
        both.enter({"exports": "u"}, 2.0)
    assert refused.value.reply.headers["Retry-After"] == "3"
    assert set(both.enter({"exports": "u"}, 5.0).places) == {"exports"}


def test_a_full_concurrent_limit_without_a_known_end_asks_for_one_second() -> None:
    both, _ = throttles(uploads=Concurrent(1))
    both.enter({"uploads": "u"}, 0.0)
    with pytest.raises(Throttled) as refused:
        both.enter({"uploads": "u"}, 0.0)
    assert refused.value.reply.headers["Retry-After"] == "1"


def test_a_smaller_rate_refuses_until_the_log_has_shrunk_below_it() -> None:
    both, _ = throttles(standard=Rate(5, 60.0))
    for now in (0.0, 10.0, 20.0):
        both.enter({"standard": "u"}, now)
    both.resize({"standard": Rate(2, 60.0)})
    assert both.window("standard", "u", 30.0) == Window(2, 0, 30.0)
    with pytest.raises(Throttled):
        both.enter({"standard": "u"}, 65.0)
    assert set(both.enter({"standard": "u"}, 70.0).places) == {"standard"}


def test_a_log_longer_than_its_rate_knows_no_wait_and_the_refusal_tells_none() -> None:
    both, _ = throttles(standard=Rate(5, 60.0))
    for _ in range(3):
        both.enter({"standard": "u"}, 0.0)
    both.resize({"standard": Rate(2, 60.0)})
    with pytest.raises(Throttled) as refused:
        both.enter({"standard": "u"}, 1.0)
    assert refused.value.scope == "standard"
    assert "Retry-After" not in refused.value.reply.headers
    assert refused.value.reply.body == b'{"detail":"Request was throttled."}'


@pytest.mark.parametrize("order", [("burst", "standard"), ("standard", "burst")])
def test_a_throttle_that_knows_a_wait_is_told_before_one_that_knows_none(order: tuple[str, str]) -> None:
    both, _ = throttles(standard=Rate(5, 60.0), burst=Rate(2, 1.0))
    for _ in range(2):
        both.enter(dict.fromkeys(order, "u"), 0.0)
    both.resize({"standard": Rate(1, 60.0)})
    with pytest.raises(Throttled) as refused:
        both.enter(dict.fromkeys(order, "u"), 0.0)
    assert refused.value.scope == "burst"
    assert refused.value.reply.headers["Retry-After"] == "1"


def test_a_larger_rate_lets_more_in_at_once_on_top_of_what_was_counted() -> None:
    both, _ = throttles(standard=Rate(1, 60.0))
    both.enter({"standard": "u"}, 0.0)
    both.resize({"standard": Rate(3, 60.0)})
    for _ in range(2):
        both.enter({"standard": "u"}, 0.0)
    with pytest.raises(Throttled):
        both.enter({"standard": "u"}, 0.0)


@pytest.mark.parametrize(("per", "remaining"), [(5.0, 2), (15.0, 1), (600.0, 0)])
def test_a_window_of_another_length_keeps_the_log(per: float, remaining: int) -> None:
    both, _ = throttles(standard=Rate(2, 60.0))
    for now in (0.0, 10.0):
        both.enter({"standard": "u"}, now)
    both.resize({"standard": Rate(2, per)})
    assert both.window("standard", "u", 20.0).remaining == remaining


def test_fewer_places_throw_nobody_out_and_let_nobody_in_until_enough_have_left() -> None:
    both, _ = throttles(uploads=Concurrent(3))
    first, second, third = (both.enter({"uploads": "u"}, 0.0) for _ in range(3))
    both.resize({"uploads": Concurrent(2)})
    assert both.window("uploads", "u", 0.0).remaining == 0
    first.release()
    with pytest.raises(Throttled):
        both.enter({"uploads": "u"}, 0.0)
    second.release()
    assert set(both.enter({"uploads": "u"}, 0.0).places) == {"uploads"}
    third.release()
    assert both.window("uploads", "u", 0.0).remaining == 1


def test_a_scope_that_is_not_resized_keeps_its_limit() -> None:
    both, _ = throttles(standard=Rate(9, 60.0), uploads=Concurrent(4))
    both.resize({"uploads": Concurrent(1)})
    assert both.window("standard", "u", 0.0).limit == 9
    assert both.window("uploads", "u", 0.0).limit == 1


@pytest.mark.parametrize("limits", [{"standard": Concurrent(1)}, {"uploads": Rate(1, 1.0)}])
def test_a_scope_cannot_be_resized_to_a_limit_of_another_kind(limits: dict[str, Rate | Concurrent]) -> None:
    both, _ = throttles(standard=Rate(9, 60.0), uploads=Concurrent(4))
    with pytest.raises(TypeError, match="cannot be counted by"):
        both.resize(limits)


@given(
    steps=st.lists(
        st.one_of(st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.5]), st.integers(1, 6).map(lambda n: Rate(n, 2.0))),
        max_size=80,
    )
)
def test_under_moving_limits_the_log_decides_as_a_naive_list_by_the_limit_of_the_moment(
    steps: list[float | Rate],
) -> None:
    both, _ = throttles(burst=Rate(3, 2.0))
    rate, accepted, now = Rate(3, 2.0), list[float](), 0.0
    for step in steps:
        if isinstance(step, Rate):
            rate = step
            both.resize({"burst": rate})
            continue
        now += step
        inside = [time for time in accepted if time > now - rate.per]
        assert both.window("burst", "u", now).remaining == max(0, rate.requests - len(inside))
        if len(inside) < rate.requests:
            both.enter({"burst": "u"}, now)
            accepted.append(now)
        else:
            with pytest.raises(Throttled):
                both.enter({"burst": "u"}, now)


def test_the_window_of_an_unknown_key_is_empty_and_asking_counts_nothing() -> None:
    log = SlidingLog(Rate(3, 60.0))
    assert log.window("k", 5.0) == Window(3, 3, 60.0)
    assert log.used("k") == 0
    assert log.wait("k", 5.0) == 15.0
    assert Slots(Concurrent(2)).used("k") == 0


def test_a_place_of_a_rate_is_not_given_back_by_anything_but_time() -> None:
    log = SlidingLog(Rate(1, 60.0))
    place = log.enter("k", 0.0)
    assert place is not None
    place.release()
    place.hold_until(1.0)
    assert log.enter("k", 30.0) is None
