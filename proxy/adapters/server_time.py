"""The store's time by this process' clock: bounds, not a guess."""

import math

_DRIFT = 0.0005
"""Seconds per second by which two clocks may part (NTP slews at most so much)."""


class ServerTime:
    """Know from when to when it can be by the store's clock; `assumed` is its lead before it was heard of.

    An answer was made after its question was sent and before it came in; the tightest bounds count.
    """

    def __init__(self, assumed: float) -> None:
        self._least = self._most = assumed
        self._at = -math.inf
        self.heard = False

    def heard_of(self, server: float, sent: float, received: float) -> None:
        """Note that it was `server` there at some time between these two here."""
        least, most = server - received, server - sent
        if self.heard:
            slack = _DRIFT * (received - self._at)
            least, most = max(least, self._least - slack), min(most, self._most + slack)
            if least > most:
                least, most = server - received, server - sent
        self._least, self._most, self._at, self.heard = least, most, received, True

    def earliest(self, now: float) -> float:
        """Return the earliest that it can be there."""
        return now + self._least

    def latest(self, now: float) -> float:
        """Return the latest that it can be there."""
        return now + self._most

    def here(self, server: float) -> float:
        """Return when it certainly is that time there, by our clock."""
        return server - self._least
