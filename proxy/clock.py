"""The two times the proxy knows: one that only goes forward, and the one in HTTP dates.

The only place where a clock is read. Everything that waits does so on the event loop, whose time is
`Clock.now`, so a loop with virtual time makes the whole program virtual.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the proxy asks of time."""

    def now(self) -> float:
        """Return monotonic seconds, comparable with the event loop's timers."""

    def wall(self) -> float:
        """Return seconds since 1970, for dates in headers."""


class LoopClock:
    """Read the running event loop's time and the system's wall clock."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return time.time()
