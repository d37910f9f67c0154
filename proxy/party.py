"""Those who share one exchange, because they asked for the same before it had left.

It goes on for as long as one of them wants it, and each gets all of the answer: a small one is one for all, a
large one is streamed once and handed out piece by piece.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import replace
from typing import Protocol

from proxy.account import Account
from proxy.messages import Bytes, Response

_WINDOW = 256 * 1024
"""Bytes by which a streamed answer may be ahead of the slowest of those who read it."""


class Abandoned(Exception):
    """Who was to lead the party left before it did: those who went along ask by themselves."""


class Ending(Protocol):
    """What has to be told when the exchange is over, however it ended; more than once changes nothing."""

    async def end(self) -> None:
        """Give back what can be given back."""


class Party:
    """Those who share an exchange, which goes on for as long as one of them wants it.

    `deadline` is the earliest of theirs, so that nobody is held past its own. `context` is that of who leads.
    """

    def __init__(self, deadline: float, limit: str) -> None:
        self.deadline = deadline
        self.limit = limit
        self.would_wait: float | None = None
        self.account = Account()
        self.context: Context | None = None
        self._head: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._head.add_done_callback(_seen)
        self._task: asyncio.Task[None] | None = None
        self._turn: Ending | None = None
        self._copies: dict[_Copy, None] = {}
        self._taken = asyncio.Event()
        self._over = False

    def lead(self, turn: Ending, carried: AbstractAsyncContextManager[Response]) -> None:
        """Begin the exchange; it pays to this party's account."""
        self._turn = turn
        self.context = copy_context()
        self._task = asyncio.get_running_loop().create_task(self._carry(carried), context=self.context)

    def abandon(self) -> None:
        """Send those who went along back, unless the exchange has begun."""
        if self._task is None and not self._head.done():
            self._head.set_exception(Abandoned())

    @asynccontextmanager
    async def answer(self, account: Account) -> AsyncIterator[Response]:
        """Yield the answer, with a body of one's own. Raises `Abandoned`, and what the exchange raises."""
        if self._head.done() and not self._head.cancelled() and self._head.exception() is None:
            raise Abandoned  # it came too late to get all of the body
        copy = _Copy(self._taken)
        self._copies[copy] = None
        try:
            try:
                response = await asyncio.shield(self._head)
            finally:
                account.share(self.account)
            yield response if isinstance(response.body, Bytes) else replace(response, body=copy)
        finally:
            del self._copies[copy]
            self._taken.set()
            if not self._copies:
                await self._end()

    async def _end(self) -> None:
        self.abandon()
        if self._task is not None and self._turn is not None:
            if not self._over:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._turn.end()  # a task that was cancelled before its first step has ended nothing

    async def _carry(self, carried: AbstractAsyncContextManager[Response]) -> None:
        try:
            async with carried as response:
                self._head.set_result(response)
                if not isinstance(response.body, Bytes):
                    await self._hand_out(response)
                self._over = True
        except Exception as error:
            self._over = True
            if not self._head.done():
                self._head.set_exception(error)
            for copy in self._copies:
                copy.end(error)
        except asyncio.CancelledError:
            if not self._head.done():
                self._head.set_exception(Abandoned())
            raise

    async def _hand_out(self, response: Response) -> None:
        async for chunk in response.body.chunks():
            for copy in self._copies:
                copy.put(chunk)
            while any(copy.held > _WINDOW for copy in self._copies):
                self._taken.clear()
                await self._taken.wait()
        for copy in self._copies:
            copy.end(None)


def _seen(head: "asyncio.Future[Response]") -> None:
    """Look at a failure, of which nobody may be left to hear."""
    if not head.cancelled():
        head.exception()


class _Copy:
    """The body of a shared answer, for one of those who share it."""

    def __init__(self, taken: asyncio.Event) -> None:
        self.held = 0
        self._taken = taken
        self._pieces: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    def put(self, piece: bytes) -> None:
        """Append to it."""
        self._pieces.append(piece)
        self.held += len(piece)
        self._arrived.set()

    def end(self, error: Exception | None) -> None:
        """Note that it is complete, or that it broke off."""
        self._ended, self._error = True, error
        self._arrived.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read it."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self.held -= len(piece)
                self._taken.set()
                yield piece
            if self._ended:
                break
            self._arrived.clear()
            await self._arrived.wait()
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Change nothing: leaving the party gives it back."""
