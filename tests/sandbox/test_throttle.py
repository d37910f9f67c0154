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
