"""How many of our requests the upstream can have counted when one of them arrived: bounds, not a guess.

It arrived after it began to leave, by now, and within `transit` of having left. So those of ours that began
to leave before that may have been counted, and those have been that were counted, at the latest, before it
began. The same on the way out, one window earlier. (That it has left is noted after it did: the upstream may
have been quicker.)
"""

import math
from bisect import bisect_left, bisect_right, insort

from proxy.policy.room import Slot

_SOME = 64


class Tally:
    """Remember when ours left, and by when each was counted, for two windows of `per` seconds."""

    def __init__(self) -> None:
        self._earliest: list[float] = []  # ascending, as the others
        self._counted: list[float] = []
        self._since = -math.inf

    def __repr__(self) -> str:
        return f"<Tally {len(self._earliest)} left, {len(self._counted)} counted>"

    def left(self, slot: Slot) -> None:
        """Note that one left."""
        slot.earliest = slot.began if slot.began < math.inf else slot.taken
        insort(self._earliest, slot.earliest)

    def counted(self, slot: Slot, per: float) -> None:
        """Note by when it was counted."""
        insort(self._counted, slot.counted)
        if len(self._counted) > _SOME and self._counted[len(self._counted) // 2] < slot.counted - 2 * per:
            self._forget(slot.counted - 2 * per)

    def _forget(self, before: float) -> None:
        """Forget those that nobody will ask for: as many here as there."""
        old = bisect_right(self._counted, before)
        del self._earliest[:old], self._counted[:old]
        self._since = before

    def refused(self, slot: Slot) -> None:
        """Note that one was not counted."""
        for times, time in ((self._earliest, slot.earliest), (self._counted, slot.counted)):
            at = bisect_left(times, time)
            if at < len(times) and times[at] == time:
                del times[at]

    def when_arrived(self, slot: Slot, now: float, per: float, transit: float) -> tuple[int, int] | None:
        """Return how many the upstream had counted at least and at most; None if that is long ago."""
        if slot.earliest <= self._since:
            return None
        arrived = min(now, slot.left + transit)
        at_most = bisect_right(self._earliest, arrived) - bisect_right(self._counted, slot.earliest - per)
        at_least = bisect_right(self._counted, slot.earliest) - bisect_right(self._earliest, arrived - per)
        return max(at_least, 0), at_most
