"""What the proxy is doing is shown of the credential that has it worst."""

from proxy.state import BreakerState, LimitState, State
from tests.fakes import INFERENCE, STANDARD, UPLOADS


def test_a_limit_that_nobody_used_yet_has_all_of_its_size_left_but_the_reserve() -> None:
    kept = STANDARD.model_copy(update={"reserve": 2})
    state = State.of([kept], [], [], [], in_flight=0, queued=0, draining=False)
    assert state.limits == (LimitState("standard", 5, 6.0, 2, 3, 0, 0, False),)
    assert state.pauses == {}


def test_each_limit_is_shown_as_it_is_for_the_credential_with_the_least_left() -> None:
    state = State.of(
        [STANDARD, INFERENCE, UPLOADS],
        [
            ("standard", 5, 4, 0, 0.0),
            ("standard", 9, 1, 2, 2.34567),
            ("standard", 4, 3, 1, 1.0),
            ("uploads", 2, 2, 0, 0.0),
        ],
        [("standard", 2), ("uploads", 1), ("standard", 5)],
        [("upstream", "open", True), ("exports", "closed", False)],
        in_flight=9,
        queued=7,
        draining=True,
    )
    assert state == State(
        limits=(
            LimitState(
                "standard", capacity=4, window=6.0, reserve=0, remaining=1, foreign=2, queued=7, paused=True
            ),
            LimitState(
                "inference", capacity=2, window=6.0, reserve=0, remaining=2, foreign=0, queued=0, paused=False
            ),
            LimitState(
                "uploads", capacity=2, window=0.0, reserve=0, remaining=2, foreign=0, queued=1, paused=False
            ),
        ),
        in_flight=9,
        queued=7,
        draining=True,
        pauses={"standard": 2.346},
        breakers=(BreakerState("upstream", "open", True), BreakerState("exports", "closed", False)),
    )


def test_it_says_who_shares_the_budget() -> None:
    alone = State.of([], [], [], [], in_flight=0, queued=0, draining=False)
    assert (alone.ledger_up, alone.replicas) == (True, 1)
    cut_off = State.of([], [], [], [], in_flight=0, queued=0, draining=False, ledger_up=False, replicas=3)
    assert (cut_off.ledger_up, cut_off.replicas) == (False, 3)
