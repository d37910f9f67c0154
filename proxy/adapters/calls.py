"""One book kept in step with the shared store: what is written goes up, what others wrote comes down.

A call that the store cannot carry out in time is void there: it says from when to when it may be. What the
store lost, because it was restarted empty or a replica with less took over, is written down anew.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.adapters.alone import Alone
from proxy.adapters.book import Book
from proxy.adapters.presence import LEASE, Presence
from proxy.adapters.server_time import ServerTime
from proxy.adapters.wire import Entry, Reply, Writing, replica_of
from proxy.clock import Clock

NOT_NOW = -1
"""Allowed where something else than the count keeps a lane closed: only a place in line is asked for."""

_SLACK = 0.1
"""Seconds by which a call may seem to be early or late beyond what is known of the store's clock."""

_ANEW = 2.0
"""Seconds for which a store that forgot grants nothing, unless all others were heard (`ledger.lua`)."""

_TRIES = 6

Run = Callable[[Sequence[str], Sequence[bytes | str]], Awaitable[bytes]]


class Unsteady(Exception):
    """The store answered, but could not be agreed with."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A slot asked for in lanes: how many may be held in each, and whether nothing else may have happened."""

    id: str
    limits: tuple[str, ...]
    allowed: tuple[int, ...]
    strict: bool
    number: int


@dataclass(frozen=True, slots=True)
class _Asking:
    """The same in one call: what is written down if it is granted, and if it has to wait for a limit."""

    asked: Asked
    take: Entry
    waits: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Terms:
    """What all books of a replica have in common; times in seconds."""

    me: str
    prefix: str
    limits: tuple[str, ...]
    horizon: float
    patience: float
    assumed: int


class Calls:
    """Make calls for one book."""

    def __init__(self, book: Book, terms: Terms, run: Run, clock: Clock, new_id: Callable[[], str]) -> None:
        self.book = book
        self.alone = Alone(book)
        self.time = ServerTime(clock.wall() - clock.now())
        self.lock = asyncio.Lock()
        self.presence = Presence()
        self.heard = -math.inf
        self.put_off = -math.inf
        """Until when a store that was just started grants nothing."""
        self.agreeing = False
        """Whether a call under way was answered before: from now on, others may count on us again."""
        self.cut_off = False
        """Whether the store could not be asked for so long that others may have begun to spend alone."""
        self._since = math.inf
        self._forgot, self._others = -math.inf, frozenset[str]()
        self._run = run
        self.clock = clock
        self.new_id = new_id
        self.configure(terms)

    def configure(self, terms: Terms) -> None:
        """Go by other terms."""
        self.terms = terms
        tag = f"{terms.prefix}:{{{self.book.key}}}"
        names = ("", ":log", ":here", ":lost", ":seen", *(f":of:{limit}" for limit in terms.limits))
        self._keys = [tag + name for name in names]
        self._index = {limit: number for number, limit in enumerate(terms.limits, 1)}

    def latest(self) -> float:
        """Return the latest that it can be by the store's clock."""
        return self.time.latest(self.clock.now())

    async def call(
        self, asked: Asked | None = None, *, bye: bool = False, quiet: bool = False
    ) -> tuple[Reply, bool]:
        """Bring both sides up to date; ask for a slot; return the answer, and whether anything was news.

        A `quiet` one does not show that we are here: who does not know that its calls are carried out may be
        spending alone, and others are to go on leaving it its share.

        Raises what the store's connection does, and `Unsteady`. Only one at a time: hold the lock.
        """
        news, manner = False, _manner(bye=bye, quiet=quiet)
        agreed: dict[str, Any] = {}
        for _ in range(_TRIES):
            written = list(self.book.pending)
            woken = _to_wake(written)
            question = self._written(written) | manner
            asking = None if asked is None else self._asking(asked)
            if asking is not None:
                question["t"] = self._take(asking)
                woken |= self._missed()
            question |= self._wakes(woken)
            self.agreeing = bool(agreed)
            reply, fresh = await self._put(question | agreed)
            news |= fresh
            if reply.status in ("jumped", "forgot", "lost"):
                agreed |= self._agree(reply)
                continue
            self.book.critical = reply.critical
            self.book.pending = self.book.pending[len(written) :]
            self.heard, self.book.synced = self.clock.now(), True
            self.cut_off &= quiet
            if asking is not None:
                self._answered(asking, reply)
            if unheard := _to_wake(written) - woken:  # of whom was heard by this very answer
                await self._put(self._written([]) | self._wakes(unheard) | manner)
            return reply, news
        raise Unsteady("the shared store's state changed faster than it could be followed")

    async def _put(self, question: dict[str, Any]) -> tuple[Reply, bool]:
        """Have one question answered; hear what the answer tells, and return whether it was news."""
        book, presence, patience = self.book, self.presence, self.terms.patience
        sent, lease, shown = self.clock.now(), self._lease(), "z" not in question
        if shown:
            presence.sends(sent, patience, lease)
        try:
            content = await self._run(
                self._keys, [json.dumps({**question, "l": lease}, separators=(",", ":"))]
            )
        except BaseException:
            presence.lost()
            raise
        reply = Reply.read(content)
        book.skew = reply.skew
        if reply.status == "jumped":
            return reply, False
        self.time.heard_of(reply.now, sent, self.clock.now())
        book.replicas = self._count(reply.replicas)
        if shown and reply.status not in ("forgot", "lost"):
            presence.heard(sent, patience, 0.0 if "y" in question else lease)
        book.position, book.last = reply.position, reply.last
        return reply, book.hear(map(Entry.read, reply.entries))

    def _lease(self) -> float:
        now = self.clock.now()
        turn = self.book.turn(self.time.earliest(now))
        return self.presence.lease(None if turn is None else self.time.here(turn) - now)

    def _agree(self, reply: Reply) -> dict[str, Any]:
        """Do what brings both sides together again, and return what the next call has to say for it."""
        if reply.status == "jumped":
            return {"j": True}
        if reply.status == "forgot":
            self._since, self._forgot = math.inf, self.clock.now()
            self._others = self._write_anew({Entry.read(entry).id for entry in reply.entries})
            return {"o": sorted(self._others)}
        back = Entry(self.new_id(), "b", self.latest())
        self.book.write_anew([Writing(back, critical=True, changes=self._own_slots())])
        return {"b": True}

    def _missed(self) -> frozenset[str]:
        """Return who is to be heard before a store that forgot grants anything, but not for long."""
        return self._others if self.clock.now() < self._forgot + _ANEW else frozenset()

    def _answered(self, asking: _Asking, reply: Reply) -> None:
        """Note what became of what was asked for."""
        if reply.status == "ok":
            self.book.hear([asking.take])
        elif reply.status == "busy":
            wait = asking.waits.get(self.terms.limits[reply.lane - 1])
            if wait is not None:
                self.book.apply(wait)

    def _written(self, written: list[Writing]) -> dict[str, Any]:
        book, terms, now = self.book, self.terms, self.clock.now()
        lanes = [book.lane(limit) for limit in terms.limits]
        call: dict[str, Any] = {
            "m": terms.me,
            "n": book.position,
            "v": book.last,
            "s": book.skew,
            "c": book.critical,
            "h": terms.horizon,
            "k": math.ceil(terms.horizon + 60),
            "p": [[book.capacity(lane), book.lasts(lane)] for lane in lanes],
            "e": [
                [one.entry.id, one.entry.payload(), one.critical, self._changes(one), one.number]
                for one in written
            ],
            "g": book.key,
        }
        if self.cut_off:
            call["d"] = LEASE
        if self.time.heard:
            earliest, latest = self.time.earliest(now), self.time.latest(now)
            call |= {"f": earliest - _SLACK, "u": latest + terms.patience + _SLACK, "x": latest}
        return call

    def _count(self, seen: int) -> int:
        """Return how many replicas there are: those seen lately, and until that is long, those supposed."""
        now = self.clock.now()
        self._since = min(self._since, now)
        return seen if now > self._since + self.terms.horizon else max(seen, self.terms.assumed)

    def _wakes(self, names: frozenset[str]) -> dict[str, Any]:
        return {"w": [f"{self.terms.prefix}:wake:{name}" for name in sorted(names)]}

    def _changes(self, writing: Writing) -> list[list[Any]]:
        index = self._index
        return [[index[limit], id_, free] for limit, id_, free in writing.changes if limit in index]

    def _asking(self, asked: Asked) -> _Asking:
        take = Entry(asked.id, "t", self.latest(), (list(asked.limits),))
        waits = {
            limit: Entry(self.new_id(), "w", take.at, (limit,))
            for limit in asked.limits
            if self.book.ahead(limit) is None
        }
        return _Asking(asked, take, waits)

    def _take(self, asking: _Asking) -> dict[str, Any]:
        index, asked = self._index, asking.asked
        return {
            "i": asked.id,
            "e": asking.take.payload(),
            "s": asked.strict,
            "q": asked.number,
            "l": [[index[limit], most] for limit, most in zip(asked.limits, asked.allowed, strict=True)],
            "w": {str(index[limit]): [entry.id, entry.payload()] for limit, entry in asking.waits.items()},
        }

    def slots(self, id_: str, *, to_the_bound: bool = False) -> list[tuple[str, str, str]]:
        """Return when each slot of one comes free, for the store."""
        held, now = self.book.held.get(id_), self.book.now
        if held is None:
            return []
        changes = []
        for lane, (room, slot) in zip(held.lanes, held.slots, strict=True):
            free = room.free_at(slot)
            if to_the_bound and free == math.inf:
                free = now + self.book.lasts(lane)
            written = "" if free <= now else "inf" if free == math.inf else f"{free:.6f}"
            changes.append((lane.limit, id_, written))
        return changes

    def _own_slots(self) -> list[tuple[str, str, str]]:
        mine = [id_ for id_ in self.book.held if replica_of(id_) == self.terms.me]
        return [one for id_ in mine for one in self.slots(id_) if one[2]]

    def _write_anew(self, known: set[str]) -> frozenset[str]:
        """Have all written that the store does not know; return who else may be spending."""
        book, others = self.book, set[str]()
        waiting = {writing.entry.id for writing in book.pending}
        anew = []
        for entry in book.everything():
            if entry.kind == "x":
                continue
            if entry.replica != self.terms.me:
                others.add(entry.replica)
            if entry.id not in known and entry.id not in waiting:
                changes = []
                if entry.kind == "t":
                    mine = entry.replica == self.terms.me
                    changes = [one for one in self.slots(entry.id, to_the_bound=not mine) if one[2]]
                anew.append(Writing(entry, critical=True, changes=changes))
        book.write_anew(anew)
        return frozenset(others)


def _manner(*, bye: bool, quiet: bool) -> dict[str, Any]:
    return {name: True for name, said in (("y", bye), ("z", quiet)) if said}


def _to_wake(written: list[Writing]) -> frozenset[str]:
    return frozenset().union(*(one.wake() for one in written))
