"""The requests of clients that are being answered, whoever answers them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


class Traffic:
    """Know who is being answered, and whether the proxy is about to stop.

    `draining`: what comes is answered, but clients should go elsewhere. `cutting`: nothing is waited for.
    """

    def __init__(self) -> None:
        self.draining = False
        self.cutting = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        """Return how many requests have no end of an answer yet."""
        return len(self._tasks)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Count the current task in."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.idle.clear()
        try:
            yield
        finally:
            self._tasks.remove(task)
            if not self._tasks:
                self.idle.set()

    def cut_off(self) -> None:
        """End every request now: those without an answer yet are told that the proxy stops."""
        self.cutting = True
        for task in self._tasks:
            task.cancel()

    async def those_here_have_left(self) -> None:
        """Wait until all who are being answered now have their answers."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))


class Retiring:
    """Close what is used no more by who comes, when those who are here have left."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._tasks: set[asyncio.Task[None]] = set()

    def retire(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something that those who are being answered now may use."""
        task = asyncio.get_running_loop().create_task(self._close(close))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, close: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._traffic.those_here_have_left()
        finally:
            await close()

    async def end(self) -> None:
        """Close all of it now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
