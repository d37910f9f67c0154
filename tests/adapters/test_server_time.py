"""What is known of the store's clock: bounds that hold, however long questions and answers take."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.server_time import ServerTime


def test_before_anything_is_heard_the_clocks_are_supposed_to_agree() -> None:
    time = ServerTime(100.0)
    assert not time.heard
    assert time.earliest(5.0) == time.latest(5.0) == 105.0
    assert time.here(105.0) == 5.0


def test_an_answer_bounds_the_time_by_when_it_was_asked_and_when_it_came() -> None:
    time = ServerTime(0.0)
    time.heard_of(50.0, sent=10.0, received=10.4)
    assert time.heard
    assert time.earliest(11.0) == 50.6
    assert time.latest(11.0) == 51.0
    assert round(time.here(50.6), 6) == 11.0


def test_what_contradicts_everything_before_is_believed() -> None:
    time = ServerTime(0.0)
    time.heard_of(50.0, sent=10.0, received=10.1)
    time.heard_of(80.0, sent=11.0, received=11.1)
    assert round(time.earliest(11.1), 6) == 80.0


@given(
    lead=st.floats(-1e6, 1e6),
    trips=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 60)), min_size=1, max_size=20),
)
def test_the_true_time_is_never_outside(lead: float, trips: list[tuple[float, float, float]]) -> None:
    time, now = ServerTime(0.0), 1000.0
    for there, back, pause in trips:
        sent, now = now, now + there + back
        time.heard_of(sent + there + lead, sent, now)
        now += pause
        assert time.earliest(now) - 1e-6 <= now + lead <= time.latest(now) + 1e-6
