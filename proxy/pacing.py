"""How grants are spread: a window that opens frees many slots at once, and the upstream wants no clump.

The only place that uses aiolimiter. A pacer never lets more through than was granted; it is no guard (a leaky
bucket alone is safe only where burst + rate * window <= limit), the window is.
"""

import asyncio
from collections.abc import Iterable

from aiolimiter import AsyncLimiter

from proxy.config import Limit, Pace
from proxy.policy.limits import Lane, Lanes

_MANY = 1024


class _Pacer:
    """Let grants of one lane leave one after the other; aiolimiter alone would let a newcomer slip in."""

    def __init__(self, pace: Pace) -> None:
        self._turnstile = asyncio.Lock()
        self._bucket = AsyncLimiter(pace.burst, pace.burst / pace.rate)

    async def pass_through(self) -> None:
        async with self._turnstile:
            await self._bucket.acquire()

    def idle(self) -> bool:
        return not self._turnstile.locked() and self._bucket.has_capacity(self._bucket.max_rate)


class Pacing:
    """Spread the grants of each lane whose limit has a pace."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._paces = {limit.name: limit.pace for limit in limits if limit.pace}
        self._pacers: dict[Lane, _Pacer] = {}

    def __len__(self) -> int:
        """Return how many lanes are remembered."""
        return len(self._pacers)

    async def pass_through(self, lanes: Lanes) -> None:
        """Wait for as long as the paces of these lanes demand, in the order of arrival."""
        for lane in lanes:
            if lane.limit in self._paces:
                await self._pacer(lane).pass_through()

    def _pacer(self, lane: Lane) -> _Pacer:
        pacer = self._pacers.get(lane)
        if pacer is None:
            if len(self._pacers) >= _MANY:
                self._pacers = {lane: pacer for lane, pacer in self._pacers.items() if not pacer.idle()}
            pacer = self._pacers[lane] = _Pacer(self._paces[lane.limit])
        return pacer
