"""What is judged: the proxy at one moment, and the sums of the last half minute. Nothing is judged here."""

from collections import Counter
from collections.abc import Sequence

from proxy.errors import ErrorClass, Fault
from proxy.policy.words import many
from proxy.recent import LATELY, Recent
from proxy.state import CallerState, State

PERIOD = f"in the last {LATELY} s"


class Situation:
    """Add up what happened lately: errors `of_class` and `of_fault`, requests that were `sent` and `refused`.

    What the API refuses by 429 is in no fault's sum: its pause tells of it.
    """

    def __init__(
        self, ready: tuple[bool, str], state: State, callers: Sequence[CallerState], recent: Recent
    ) -> None:
        self.ready, self.reason = ready
        self.state = state
        self.callers = callers
        self.of_class: Counter[ErrorClass] = Counter()
        self.of_fault: Counter[Fault] = Counter()
        for error in recent.errors:
            self.of_class[error.error_class] += error.lately
            if error.error_class is not ErrorClass.RATE_LIMITED:
                self.of_fault[error.fault] += error.lately
        self.sent = sum(recent.history.sent[-LATELY:])
        self.refused = sum(recent.history.refused[-LATELY:])

    def is_severe(self, fault: Fault) -> bool:
        """Tell whether half of all that was tried is a failure; less is a nuisance, and two may be chance."""
        return self.of_fault[fault] >= 3 and self.of_fault[fault] * 2 >= self.sent

    def told(self, fault: Fault) -> str:
        """Tell how many errors of a fault there were."""
        return f"{many(self.of_fault[fault], 'error')} {PERIOD}"
