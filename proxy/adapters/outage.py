"""Whether the shared store can be asked; while it cannot, when it is tried again."""

import math
from collections.abc import Callable

from proxy.adapters.presence import LEASE
from proxy.adapters.store_gone import StoreGone
from proxy.adapters.ways import Ways
from proxy.clock import Clock

_SOONEST, _LATEST, _LATEST_SLOW, _AT_LEISURE = 0.1, 0.3, 1.0, 5.0
"""Seconds between two tries of a store that is gone: at first; later; where it does not answer in time, as
tries may be too much for it; and where nothing waits.
"""


class Outage:
    """Keep account of calls that fail and succeed.

    `waiting` tells whether anything waits for the store. `began` hears when it is gone; `ended`, when it is
    back, and whether it was gone for so long that replicas may have begun to spend alone.
    """

    def __init__(
        self,
        ways: Ways,
        clock: Clock,
        *,
        waiting: Callable[[], bool],
        began: Callable[[], None],
        ended: Callable[[bool], None],
    ) -> None:
        self._ways = ways
        self._clock = clock
        self._waiting = waiting
        self._began, self._ended = began, ended
        self._failures = 0
        self._since, self._next_try = math.inf, -math.inf
        self.reason = ""
        """Why the store cannot be asked; "" if it can."""

    def __bool__(self) -> bool:
        return bool(self.reason)

    def __repr__(self) -> str:
        return f"<Outage {self.reason!r}, {self._failures} failures>"

    @property
    def try_due(self) -> bool:
        """Whether the store is to be tried again."""
        return self._clock.now() >= self._next_try

    def failed(self, error: Exception) -> None:
        """Note that a call did not succeed."""
        self._ways.failed(error.reason if isinstance(error, StoreGone) else "error")
        latest = _AT_LEISURE
        if self._waiting():
            slow = isinstance(error, StoreGone) and error.reason == "timeout"
            latest = _LATEST_SLOW if slow else _LATEST
        wait = min(_SOONEST * 1.5 ** min(self._failures, 20), latest)
        self._failures += 1
        # Spread: a store that comes back is not to be asked by a whole fleet at the same moment.
        self._next_try = self._clock.now() + wait * (0.5 + 0.5 * self._ways.chance())
        if not self:
            self.reason, self._since = str(error), self._clock.now()
            self._ways.changed(False, self.reason)
            self._began()

    def succeeded(self) -> None:
        """Note that a call did."""
        self._failures = 0
        if self:
            self.reason = ""
            self._ways.changed(True, "The budget is shared again.")
            self._ended(self._clock.now() > self._since + LEASE)
