"""The look of each second that all who watch are shown: made once for all, and only while somebody watches.

It knows neither HTTP nor what is looked at. Nothing is kept for anybody: whoever is slow misses what came
meanwhile, and is shown the newest; whoever takes nothing at all has to go.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.clock import Clock

MOST = 32
"""As many may watch at once."""

PATIENCE = 5.0
"""Seconds that somebody may take nothing of what they are shown."""

_EVERY = 1.0

Write = Callable[[bytes], Awaitable[None]]


class Full(Exception):
    """As many watch as may."""


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to see at one moment, as it is sent; the configuration only to who has not had it yet."""

    status: bytes
    configuration: bytes


class Watch:
    """Show everybody who watches what `look` returns, which is asked at most once a second."""

    def __init__(
        self,
        look: Callable[[], Look],
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._look = look
        self._clock = clock
        self._sleep = sleep
        self._watching = 0
        self._made_at = -math.inf
        self._newest: Look | None = None
        self._next: asyncio.Task[Look] | None = None
        self._writing: set[asyncio.Timeout] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Watch of {self._watching}>"

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count somebody who watches; raises `Full`."""
        if self._watching >= MOST:
            raise Full
        self._watching += 1
        try:
            yield
        finally:
            self._watching -= 1
            if not self._watching and self._next is not None:
                self._next.cancel()
                self._next = None

    async def show(self, write: Write) -> None:
        """Write what there is, now and each second, until the watch is closed.

        Raises what `write` raises, and TimeoutError when that takes longer than may be.
        """
        seen, configuration = None, b""
        while (look := await self._after(seen)) is not None:
            news = look.configuration if look.configuration != configuration else b""
            await self._patiently(write, news + look.status)
            seen, configuration = look, look.configuration

    def close(self) -> None:
        """Let everybody go at once."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()
        for patience in self._writing:
            if not patience.expired():
                patience.reschedule(-math.inf)

    async def _after(self, seen: Look | None) -> Look | None:
        """Return the next look, or at once the newest if it is another one; None when the watch is closed."""
        if self._closed:
            return None
        if self._newest is not seen and self._clock.now() < self._made_at + _EVERY:
            return self._newest
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_task(self._make())
        coming = self._next
        await asyncio.wait({coming})  # not awaited itself: one who leaves would cancel it for all
        return None if coming.cancelled() else coming.result()

    async def _make(self) -> Look:
        now = self._clock.now()
        due = max(now, self._made_at + _EVERY)
        await self._sleep(due - now)
        self._made_at = due
        self._newest = self._look()
        return self._newest

    async def _patiently(self, write: Write, told: bytes) -> None:
        async with asyncio.timeout(PATIENCE) as patience:
            self._writing.add(patience)
            try:
                await write(told)
            finally:
                self._writing.discard(patience)
