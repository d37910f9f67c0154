"""The only place where retries are rationed: a storm of failures must not become a storm of retries.

Whether and when one attempt follows another is decided by `retry.py`; this says no when too many did.
All times are `Clock.now` seconds, handed in, and never go backwards.
"""

import math
from collections import deque

_WINDOW = 60
"""Seconds. Buckets of one second are kept until their last moment is older than this."""
_UNLIMITED = 1e6
"""Retries a request; a larger share limits nothing more, and its products would overflow."""


class _LastMinute:
    """Count events of the current second and of the 60 before it, the oldest of which is partly over."""

    def __init__(self) -> None:
        self.seen = 0  # when last looked at
        self._seconds: deque[int] = deque()  # ascending; at most 61
        self._counts: deque[int] = deque()

    def count(self, now: float) -> int:
        while self._seconds and self._seconds[0] < math.floor(now) - _WINDOW:
            self._seconds.popleft()
            self.seen -= self._counts.popleft()
        return self.seen

    def add(self, now: float) -> None:
        self.count(now)
        second = math.floor(now)
        if not self._seconds or self._seconds[-1] != second:
            self._seconds.append(second)
            self._counts.append(0)
        self._counts[-1] += 1
        self.seen += 1


class RetryBudget:
    """Allow retries up to a share of the requests, and up to a floor however few these are.

    What holds: for every retry, at a time t, the retries in the 60 s that end with it, itself included, are
    at most max(floor, share × requests sent for the first time in the 61 s that end at t). As the retries of
    any 60 s lie in the 60 s that end with the last of them, this bounds every 60 s. A retry counts for more
    than 60 s and at most 61 s, and so does a request: they are kept in buckets of a second, at most 61.
    """

    def __init__(self, share: float, floor: int) -> None:
        self._requests = _LastMinute()
        self._retries = _LastMinute()
        self.configure(share, floor)

    def configure(self, share: float, floor: int) -> None:
        """Go by another share and floor, keeping what was spent."""
        self._share = min(share, _UNLIMITED)
        self._floor = floor

    def __repr__(self) -> str:
        return f"<RetryBudget {self._retries.seen} retries, {self._requests.seen} requests in a minute>"

    def requested(self, now: float) -> None:
        """Note that a request was sent for the first time."""
        self._requests.add(now)

    def withdraw(self, now: float) -> bool:
        """Take one retry, if there is one left."""
        if not self.left(now):
            return False
        self._retries.add(now)
        return True

    def left(self, now: float) -> int:
        """Return how many retries could be taken now."""
        # Rounded down: half a retry, taken as a whole one, would be more than the share.
        allowed = max(self._floor, int(self._share * self._requests.count(now)))
        return max(0, allowed - self._retries.count(now))
