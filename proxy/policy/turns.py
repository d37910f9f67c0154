"""The rules of the line: how urgent a request has become, and how far each caller has come with its turns.

Nothing here holds requests; `files.py` and `fair_queue.py` keep them in the order that these rules give.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from proxy.policy.callers import LEAST_URGENT, MOST_URGENT, USUAL
from proxy.policy.limits import Lane, Lanes

AGED = MOST_URGENT + 1
"""The urgency that waiting leads to, and not beyond: urgency itself keeps a meaning."""

LEVELS = range(MOST_URGENT, LEAST_URGENT + 1)

_MANY = 1024


class Place:
    """A waiting request's place in line. Those with equal keys ask for the same (None: like nobody)."""

    __slots__ = (
        "arrived",
        "before",
        "caller",
        "credential",
        "deadline",
        "gone",
        "key",
        "lanes",
        "ticket",
        "urgency",
    )

    def __init__(
        self,
        ticket: int,
        lanes: Lanes,
        *,
        credential: str | None = None,
        caller: str = "",
        urgency: int = USUAL,
        arrived: float = 0.0,
        deadline: float = math.inf,
        key: Hashable = None,
    ) -> None:
        self.ticket = ticket
        self.lanes = lanes
        self.credential = credential
        self.caller = caller
        self.urgency = urgency
        self.arrived = arrived
        self.deadline = deadline
        self.key = key
        self.gone = False
        self.before: Mapping[Lane, float] = {}
        """For how many seconds its lanes had no room before it came."""

    def __repr__(self) -> str:
        return f"<Place {self.ticket} of {self.caller!r}, u={self.urgency}>"


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds of waiting that make a request more urgent by one, and what callers weigh (1 if not named)."""

    ageing: float
    weights: Mapping[str, float] = field(default_factory=dict)

    def level(self, place: Place, now: float) -> int:
        """Return the urgency that a place has come to."""
        if place.urgency <= AGED:
            return place.urgency
        level = max(AGED, place.urgency - int((now - place.arrived) / self.ageing))
        # The division may round down what `raised_at` says has come.
        return level - (now >= self.raised_at(place, level))

    def raised_at(self, place: Place, level: int) -> float:
        """Return when a place at this level comes to the next one; inf if there is none."""
        if level <= AGED:
            return math.inf
        return place.arrived + (place.urgency - level + 1) * self.ageing


class Turns:
    """How far each caller of one urgency has come: turns taken, divided by its weight (its virtual time)."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._now = 0.0
        self._next: dict[str, float] = {}

    def of(self, caller: str) -> float:
        """Return the virtual time of a caller's next turn; who was away comes back to the present."""
        return max(self._next.get(caller, 0.0), self._now)

    def took(self, caller: str) -> None:
        """Note that a caller had its turn."""
        self._now = self.of(caller)
        self._next[caller] = self._now + 1 / self._weights.get(caller, 1.0)
        if len(self._next) > _MANY:
            self._forget()

    def _forget(self) -> None:
        """Forget who is no further than the present; move on to a new round if too many came but once."""
        self._next = {caller: at for caller, at in self._next.items() if at > self._now}
        if len(self._next) > _MANY // 2:
            self._now = max(self._next.values())
            self._next.clear()

    def copy(self) -> "Turns":
        """Return one that goes on by itself."""
        turns = Turns(self._weights)
        turns._now, turns._next = self._now, self._next.copy()
        return turns
