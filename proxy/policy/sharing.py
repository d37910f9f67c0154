"""What we leave to others who use the same limit: places that stay free, and time between ours.

What goes at once comes back at once, and in between nothing is learned of others. So beside others ours are
spread; and where places are demanded for them, there is room for as many as they ever come to in a window.
"""

import math

from proxy.policy.foreign import Foreign

_SPREAD = 0.6
"""Ours are spread over this share of a window: over all of it, what is free would lie idle."""

_TOGETHER = 8
"""A limit divided by this may go at once all the same."""

_MANY = 4
"""When others have a limit divided by this, ours are spread as far as that; with fewer, less."""


class Sharing:
    """Leave room and time; `reserve` places are always left free."""

    def __init__(self, foreign: Foreign) -> None:
        self.reserve = 0
        self._foreign = foreign
        self._next = -math.inf  # when one more would be too many, were all spread evenly

    def room(self, size: int) -> int:
        """Return how many places of a limit ours and others' may take together; one at least."""
        left = max(self.reserve, self._foreign.at_most() - len(self._foreign)) if self.reserve else 0
        return max(1, size - left)

    def lasting(self, size: int) -> int:
        """Return how many ours may take if others go on as they do; one at least."""
        at_most = self._foreign.at_most() if self.reserve else 0
        return max(1, size - max(self._foreign.regular + self.reserve, at_most))

    def ready_at(self, size: int, per: float) -> float:
        """Return when the next of ours may go."""
        if not self._foreign.regular:
            return -math.inf
        return self._next - self._gap(size, per) * (size // _TOGETHER)

    def took(self, now: float, size: int, per: float) -> None:
        """Note that one of ours goes."""
        self._next = max(self._next, now) + self._gap(size, per)

    def _gap(self, size: int, per: float) -> float:
        """Return the seconds between two of ours, when all that others leave is spread; 0 without others."""
        regular = self._foreign.regular
        ours = max(1, size - self.reserve - regular)
        return _SPREAD * per / ours * min(1.0, _MANY * regular / size)
