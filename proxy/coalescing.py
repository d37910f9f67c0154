"""Who asks for the same goes as one: the two ways to come together before anything leaves.

Each waits in its own place in line. When the first of those who ask for the same gets its turn, the others
leave the line and go along (`admission.py`), as a `Party`. And who asks for what is under way already waits a
moment for others like it; to join that one would be wrong, since its answer may be older than the question.
"""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.clock import Clock
from proxy.policy.alike import Alike


@dataclass(slots=True)
class _Flight:
    left_at: float
    count: int = 0
    gathering: "asyncio.Future[None] | None" = None


class Coalescing:
    """Bring together those who ask for what is under way; they go `gather` seconds after that left."""

    def __init__(self, alike: Alike, gather: float, clock: Clock) -> None:
        self.alike = alike
        self._gather = gather
        self._clock = clock
        self._under_way: dict[Hashable, _Flight] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._under_way)

    async def gather(self, key: Hashable, deadline: float) -> bool:
        """Wait for others who ask for the same, if that is under way; tell whether it was."""
        flight = self._under_way.get(key)
        if flight is None:
            return False
        until = flight.left_at + self._gather
        if flight.gathering is None:
            if until <= self._clock.now():
                return False
            loop = asyncio.get_running_loop()
            flight.gathering = loop.create_future()
            loop.call_at(until, self._gathered, key, flight)
        if until > deadline:
            return False
        await asyncio.shield(flight.gathering)
        return True

    @contextmanager
    def under_way(self, key: Hashable) -> Iterator[None]:
        """Note that a request has left, and that it is back; None is the key of what is like nothing."""
        if key is None:
            yield
            return
        flight = self._under_way.setdefault(key, _Flight(0.0))
        flight.left_at = self._clock.now()
        flight.count += 1
        try:
            yield
        finally:
            flight.count -= 1
            self._forget(key, flight)

    def _gathered(self, key: Hashable, flight: _Flight) -> None:
        if flight.gathering is not None and not flight.gathering.done():
            flight.gathering.set_result(None)
        flight.gathering = None
        self._forget(key, flight)

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if not flight.count and flight.gathering is None and self._under_way.get(key) is flight:
            del self._under_way[key]
