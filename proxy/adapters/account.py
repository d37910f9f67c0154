"""What one replica has and says of one key: its book, the calls for it, and the slots that it holds.

What happens is noted here and written up to the store as soon as that can be asked; how slots are taken is in
`taking.py`, and what becomes of them in `settling.py`.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from proxy.adapters.book import Book
from proxy.adapters.calls import Asked, Calls, Terms, Unsteady
from proxy.adapters.outage import Outage
from proxy.adapters.presence import LEASE
from proxy.adapters.shared_grant import Part
from proxy.adapters.store_gone import StoreGone
from proxy.adapters.wire import Entry, Reply, Writing
from proxy.policy.limits import Lanes
from proxy.turn import Freed

_GRACE = 0.3
"""Seconds after its time that a replica stays in line without asking."""

_AHEAD = 0.6 * LEASE
"""Seconds before the end of its lease that a replica shows that it is still here."""

_WOKEN = 16
"""How many in each line are woken when something has changed for all: the others hear of it in time."""


class Account:
    """Keep one key's book in step with the store; `freed` hears where something may have come free."""

    def __init__(self, calls: Calls, outage: Outage, freed: Freed) -> None:
        self.calls = calls
        self.outage = outage
        self.freed = freed
        self.clock, self.new_id = calls.clock, calls.new_id
        self.open: dict[str, Part] = {}
        self.due = -math.inf
        """When it is our turn, as far as was known when a slot was last asked for."""
        self._writer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Account {len(self.open)} open, {self.book!r}>"

    @property
    def book(self) -> Book:
        """What is known of the key."""
        return self.calls.book

    @property
    def terms(self) -> Terms:
        """What all accounts of this replica have in common."""
        return self.calls.terms

    @property
    def lanes(self) -> Lanes:
        """Every lane of the key."""
        return tuple(self.book.lane(limit) for limit in self.terms.limits)

    @property
    def waits(self) -> bool:
        """Whether this replica is in any line."""
        return self.book.lines.waits(self.terms.me)

    @property
    def is_here(self) -> bool:
        """Whether others should know if this replica falls silent."""
        return self.waits or self.calls.put_off > self.clock.now() or bool(self.open)

    @property
    def matters(self) -> bool:
        """Whether the store is needed for it."""
        return bool(self.book.pending) or self.is_here

    @property
    def idle(self) -> bool:
        """Whether nothing is lost if it is forgotten."""
        return not self.matters and self.clock.now() > self.calls.heard + 2 * self.terms.horizon

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Return what lets one call be made at a time; nobody waits for one to a store that is gone.

        Such a call does not show that we are here: until it was answered, others leave us our share.
        """
        return nullcontext() if self.outage and not self.calls.agreeing else self.calls.lock

    async def call(self, asked: Asked | None = None, *, bye: bool = False) -> Reply | None:
        """Call the store, with the lock held; return its answer, None if it is gone."""
        try:
            reply, news = await self.calls.call(asked, bye=bye, quiet=bool(self.outage))
        except (StoreGone, Unsteady, ValueError) as error:
            self.outage.failed(error)
            return None
        self.outage.succeeded()
        if self.calls.alone.begun:
            self.calls.alone.ends()
            news = True
        if news:
            self.freed(self.lanes)
        return reply

    def is_back(self, *, long: bool) -> None:
        """Go on with a store that was gone, and perhaps for `long`."""
        self.calls.cut_off |= long
        if self.book.pending:
            self._flush()

    def note(
        self,
        kind: str,
        rest: tuple[Any, ...],
        changes: list[tuple[str, str, str]],
        *,
        critical: bool = False,
        wake: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Note something that happens now, here and for the others."""
        entry = Entry(self.new_id(), kind, self.calls.latest(), rest)
        self.book.apply(entry)
        self.write(Writing(entry, critical, changes, wake))

    def write(self, writing: Writing) -> None:
        """Have something written up to the store."""
        self.book.write(writing)
        if not self.outage:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_up())

    async def _write_up(self) -> None:
        try:
            while self.book.pending and not self.outage:
                async with self.calls.lock:
                    if self.book.pending and not self.outage:
                        await self.call(bye=not self.is_here)
        finally:  # in one step with the last look: what comes from now on has another writer
            self._writer = None

    def others(self, limits: Iterable[str] | None = None) -> Callable[[], frozenset[str]]:
        """Return who tells who else is first in line: for given limits, or for all and some more of each."""

        def others() -> frozenset[str]:
            lines, count = (self.book.lines.limits(), _WOKEN) if limits is None else (limits, 1)
            names = {name for limit in lines for name in self.book.lines.first(limit, count)}
            return frozenset(names - {self.terms.me})

        return others

    async def hear(self) -> None:
        """Hear what others wrote: something has come free earlier than was said."""
        async with self.calls.lock:
            if not self.outage:
                await self.call(bye=not self.is_here)
        self.freed(self.lanes)

    async def tend(self, *, in_doubt: bool) -> None:
        """Leave lines where nobody asks any more; show that we are here while something is under way."""
        now = self.clock.now()
        if self.waits and now > self.due + _GRACE:
            self.note("l", (), [], wake=self.others(self.book.lines.limits()))
        elif self.is_here and (in_doubt or now > self.calls.presence.promised - _AHEAD):
            async with self.calls.lock:
                if not self.outage:
                    await self.call()

    async def close(self) -> None:
        """Tell what is left to tell, as far as the store can be reached."""
        async with self.calls.lock:
            if not self.outage and self.matters:
                self.book.write(Writing(Entry(self.new_id(), "l", self.calls.latest())))
                await self.call(bye=True)
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
