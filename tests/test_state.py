"""What the proxy is doing is shown of the credential that has it worst."""

from proxy.state import LaneUse, LimitState, limit_states, pauses
from tests.fakes import INFERENCE, STANDARD, UPLOADS

USES = [
    LaneUse("standard", 5, 4, 0, 0.0),
    LaneUse("standard", 9, 1, 2, 2.34567),
    LaneUse("standard", 4, 3, 1, 1.0),
    LaneUse("uploads", 2, 2, 0, 0.0),
]


def test_a_limit_that_nobody_used_yet_has_all_of_its_size_left_but_the_reserve() -> None:
    kept = STANDARD.model_copy(update={"reserve": 2})
    assert limit_states([kept], [], []) == (LimitState("standard", 5, 6.0, 2, 3, 0, 0, False),)


def test_each_limit_is_shown_as_it_is_for_the_credential_with_the_least_left() -> None:
    states = limit_states(
        [STANDARD, INFERENCE, UPLOADS], USES, [("standard", 2), ("uploads", 1), ("standard", 5)]
    )
    assert states == (
        LimitState("standard", 4, 6.0, 0, remaining=1, foreign=2, queued=7, paused=True),
        LimitState("inference", 2, 6.0, 0, remaining=2, foreign=0, queued=0, paused=False),
        LimitState("uploads", 2, 0.0, 0, remaining=2, foreign=0, queued=1, paused=False),
    )


def test_a_limit_is_paused_for_as_long_as_for_whom_it_is_longest() -> None:
    assert pauses(USES) == {"standard": 2.346}
    assert pauses([]) == {}
