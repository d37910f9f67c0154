"""What can be expected of a limit: when its slots come back, if all goes on as it did.

An outlook is a copy that the forecast spends from; the limit itself (`window.py`) changes by what happens.
"""

import heapq
import math
from collections.abc import Iterable

_WEIGHT = 0.1


class Typical:
    """A duration as it was lately, in seconds: an exponential average; 0 before anything was seen."""

    __slots__ = ("_seen", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._seen = 0

    def add(self, seconds: float) -> None:
        """Note one more; the first ones weigh alike."""
        self._seen += 1
        self.seconds += (seconds - self.seconds) * max(_WEIGHT, 1 / self._seen)


class Outlook:
    """At most `size` slots, each held for `hold` seconds; `releases` are when those taken come back."""

    def __init__(self, size: int, hold: float, releases: Iterable[float], paused_until: float) -> None:
        self._size = size
        self._hold = hold
        self._paused_until = paused_until
        self._releases = list(releases)
        heapq.heapify(self._releases)

    def __repr__(self) -> str:
        return f"<Outlook {len(self._releases)} of {self._size} taken, each for {self._hold:g} s>"

    def by(self, lead: float, among: int) -> "Outlook":
        """Return the same by a clock that is behind by `lead` seconds, of which one in `among` is ours."""
        releases = (at - lead for at in sorted(self._releases)[::among])
        return Outlook(max(1, self._size // among), self._hold, releases, self._paused_until - lead)

    def ready(self) -> float:
        """Return when a slot can be taken; -inf if there is one."""
        while len(self._releases) > self._size:  # the first to come back frees none
            heapq.heappop(self._releases)
        free_at = -math.inf if len(self._releases) < self._size else self._releases[0]
        return max(free_at, self._paused_until)

    def take(self, at: float) -> None:
        """Take a slot at a time when one is ready."""
        while self._releases and self._releases[0] <= at:
            heapq.heappop(self._releases)
        heapq.heappush(self._releases, at + self._hold)

    def longest_wait(self, ahead: int, now: float) -> float:
        """Return the seconds within which a request surely goes that has so many before it here."""
        rounds = (ahead + len(self._releases)) // self._size
        return max(self._paused_until - now, 0.0) + rounds * self._hold
