"""What has been spent, shared with other replicas through Redis or Valkey.

A slot is granted by the store alone, in one script that counts what is held in every lane of a request. What
else is known of a limit (others' use, pauses, probes, its size) each replica works out by the same entries
(`book.py`), and asks again if it was behind. While the store cannot be asked, a replica has its share.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from proxy.adapters.book import Book
from proxy.adapters.calls import NOT_NOW, Asked, Calls, Run, Terms, Unsteady
from proxy.adapters.presence import LEASE
from proxy.adapters.rooms import Rooms, Unguarded
from proxy.adapters.store_gone import StoreGone
from proxy.adapters.wire import Entry, Reply, Writing, write_news
from proxy.clock import Clock
from proxy.events import LedgerReason
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.outlook import Outlook
from proxy.policy.window import SlidingWindow
from proxy.turn import Busy, Freed, Grant, LaneState, Learned, News

_GRACE = 0.3
"""Seconds after its time that a replica stays in line without asking."""

_UNTOLD = 1.0
"""Longest that a replica waits (seconds) for what others have to tell."""

_MARGIN = 0.3
"""Seconds beyond its lease before a replica spends alone: then others know that it may."""

_AHEAD = 0.6 * LEASE
"""Seconds before the end of its lease that a replica shows that it is still here."""

_WOKEN = 16
"""How many in each line are woken when something has changed for all: the others hear of it in time."""

_SOONEST, _LATEST, _LATEST_SLOW, _AT_LEISURE = 0.1, 0.3, 1.0, 5.0
"""Seconds between two tries of a store that is gone: at first; later; where it does not answer in time, as
tries may be too much for it; and where nothing waits.
"""

_LATECOMERS = 10.0
"""Seconds for which what happened is kept beyond the longest window, for those who were cut off."""

_GREETING = 15.0
"""Seconds after which it is looked whether the store is still there, if nothing else was asked."""

_ROUNDS = 4


class _Part:
    """What was taken of one book."""

    __slots__ = ("began", "calls", "ended", "id", "lanes", "left", "settled", "told")

    def __init__(self, calls: Calls, id_: str, lanes: Lanes) -> None:
        self.calls = calls
        self.id = id_
        self.lanes = lanes
        self.began = math.inf
        self.left = math.inf
        self.told = self.settled = self.ended = False


class SharedGrant:
    """A slot in every lane of one request."""

    __slots__ = ("lanes", "parts")

    def __init__(self, lanes: Lanes, parts: tuple[_Part, ...]) -> None:
        self.lanes = lanes
        self.parts = parts


@dataclass(frozen=True, slots=True)
class Ways:
    """How a replica reaches the others, and whom it tells.

    `me` names this one, other than any other; `run` has the script (`ledger.lua`) carried out, within
    `patience` seconds; `changed` hears whether the store can be asked, and why not, `failed` why a call did
    not succeed; `chance` draws from 0 to 1.
    """

    run: Run
    me: str
    prefix: str
    patience: float
    changed: Callable[[bool, str], None]
    failed: Callable[[LedgerReason], None]
    chance: Callable[[], float]


class RedisLedger(Unguarded):
    """Spend from a budget that is shared, by `assumed` replicas as long as none was heard of."""

    def __init__(
        self,
        limits: LimitTable,
        ways: Ways,
        clock: Clock,
        *,
        transit: float,
        clock_drift: float,
        probe: bool,
        assumed: int,
    ) -> None:
        self._ways = ways
        self._clock = clock
        self._probe = probe
        self._assumed = assumed
        self._number = 0
        self._calls: dict[str, Calls] = {}
        self._open: dict[str, _Part] = {}
        self._due: dict[str, float] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}
        self._listeners: set[asyncio.Task[None]] = set()
        self._freed: Freed = lambda lanes: None
        self._limits = limits
        self._failures, self._look_at, self._lost_at = 0, -math.inf, -math.inf
        self._in_doubt = False
        self.trouble = ""
        """Why the store cannot be asked; "" if it can."""
        self.configure(limits, transit=transit, clock_drift=clock_drift)
        self._greeting = self._calls_of(f"of {ways.me}")

    def configure(self, limits: LimitTable, *, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        known = self._limits.by_name | limits.by_name  # who waits for one that is gone still does
        self._limits = LimitTable(list(known.values()))
        self._transit, self._drift = transit, clock_drift
        longest = max((limit.per or 0.0 for limit in known.values()), default=0.0)
        horizon = longest * (1 + clock_drift) + transit + _LATECOMERS
        ways = self._ways
        self._terms = Terms(ways.me, ways.prefix, tuple(known), horizon, ways.patience, self._assumed)
        for calls in self._calls.values():
            calls.configure(self._terms)
            calls.book.configure(self._limits, horizon=horizon, transit=transit, clock_drift=clock_drift)
            self._freed(self._lanes_of(calls.book))

    @property
    def replicas(self) -> int:
        """How many replicas were seen lately."""
        return max((calls.book.replicas for calls in self._calls.values()), default=0) or self._assumed

    def on_freed(self, freed: Freed) -> None:
        self._freed = freed

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._terms.me}:{self._number}"

    def _of(self, key: str) -> Calls:
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = self._calls_of(key)
        return calls

    def _calls_of(self, key: str) -> Calls:
        terms = self._terms
        book = Book(key, terms.me, self._rooms, horizon=terms.horizon, transit=self._transit)
        book.replicas = self._assumed
        return Calls(book, terms, self._ways.run, self._clock, self._new_id)

    def _rooms(self) -> Rooms:
        return Rooms(
            self._limits, transit=self._transit, clock_drift=self._drift, probe=self._probe, shared=True
        )

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        parts: list[_Part] = []
        try:
            for key in dict.fromkeys(lane.key for lane in lanes):
                outcome = await self._take(
                    self._of(key), tuple(lane for lane in lanes if lane.key == key), cautious=cautious
                )
                if isinstance(outcome, Busy):
                    self._give_back(parts)
                    return outcome
                parts.append(outcome)
        except BaseException:
            self._give_back(parts)
            raise
        return SharedGrant(lanes, tuple(parts))

    def _lock(self, calls: Calls) -> AbstractAsyncContextManager[None]:
        """Return what lets one call be made at a time; nobody waits for one to a store that is gone.

        Such a call does not show that we are here: until it was answered, others leave us our share.
        """
        return nullcontext() if self.trouble and not calls.agreeing else calls.lock

    async def _take(self, calls: Calls, lanes: Lanes, *, cautious: bool) -> _Part | Busy:
        async with self._lock(calls):
            for _ in range(_ROUNDS):
                if self.trouble:
                    return self._take_alone(calls, lanes, cautious=cautious)
                if not calls.book.synced:
                    await self._call(calls)
                    continue
                lane, at = self._turn(calls, lanes, cautious=cautious)
                if at > self._clock.now() and calls.book.ahead(lane.limit) is not None:
                    return self._busy(calls, lane, at)
                outcome = await self._ask(calls, lanes, cautious=cautious)
                if outcome is not None:
                    return outcome
        return Busy(lanes[0], self._clock.now() + 0.05)

    def _turn(self, calls: Calls, lanes: Lanes, *, cautious: bool) -> tuple[Lane, float]:
        now = self._clock.now()
        there = calls.time.earliest(now)
        at, lane = calls.book.due(lanes, there, cautious=cautious)
        return lane, now if at <= there else calls.time.here(at)

    def _busy(self, calls: Calls, lane: Lane, at: float) -> Busy:
        """Say when to ask again, also where that depends on what others have not told yet."""
        now, book = self._clock.now(), calls.book
        room = book.rooms.room(lane, book.now)
        if at == math.inf:
            at = now + _UNTOLD
            if isinstance(room, SlidingWindow) and room.measured and book.held:
                taken = (held.slot(lane).taken for held in book.held.values() if lane in held.lanes)
                oldest = min(taken, default=book.now)
                at = max(now + 0.1, min(calls.time.here(oldest + room.hold), now + room.hold))
        self._due[book.key] = max(self._due.get(book.key, now), at)
        book.wanting.add(lane.limit)
        return Busy(lane, max(at, now + 0.001))

    async def _ask(self, calls: Calls, lanes: Lanes, *, cautious: bool) -> _Part | Busy | None:
        book, there = calls.book, calls.time.earliest(self._clock.now())
        allowed = []
        for lane in lanes:
            room, others = book.rooms.room(lane, there), 0
            if book.ahead(lane.limit) is None:
                others = book.lines.length(lane.limit)
            closed = not room.measured or room.resumption.paused_until > there
            if closed and room.ready_at(there, cautious=cautious, ahead=others) > there:
                allowed.append(NOT_NOW)
            else:
                allowed.append(max(0, room.allowed(there, cautious=cautious) - others))
        strict = not all(book.rooms.room(lane, there).measured for lane in lanes)
        book.asks()
        book.writes += 1
        asked = Asked(
            self._new_id(), tuple(lane.limit for lane in lanes), tuple(allowed), strict, book.writes
        )
        try:
            reply = await self._call(calls, asked)
        except BaseException:
            self._undo(calls, asked, lanes)
            raise
        if reply is None:
            self._undo(calls, asked, lanes)
            return None
        if reply.status == "ok":
            self._due[book.key] = self._clock.now()
            return self._granted(calls, asked.id, lanes)
        free = calls.time.here(reply.at)
        if reply.status == "young":
            calls.put_off = free
            return Busy(lanes[0], max(free, self._clock.now() + 0.001))
        if reply.status == "busy":
            _, turn = self._turn(calls, lanes, cautious=cautious)
            return self._busy(calls, Lane(self._terms.limits[reply.lane - 1], book.key), max(turn, free))
        return None

    def _granted(self, calls: Calls, id_: str, lanes: Lanes) -> _Part:
        part = self._open[id_] = _Part(calls, id_, lanes)
        calls.book.wanting.difference_update(lane.limit for lane in lanes)
        return part

    def _undo(self, calls: Calls, asked: Asked, lanes: Lanes) -> None:
        """Give back what may have been granted by an answer that did not come."""
        book = calls.book
        if not book.knows(asked.id):
            book.apply(Entry(asked.id, "t", calls.latest(), (list(asked.limits),)))
        self._note(calls, "f", (asked.id,), _freed_now(asked.id, lanes))

    async def _call(self, calls: Calls, asked: Asked | None = None, *, bye: bool = False) -> Reply | None:
        """Call the store; return its answer, None if it is gone."""
        try:
            reply, news = await calls.call(asked, bye=bye, quiet=bool(self.trouble))
        except (StoreGone, Unsteady, ValueError) as error:
            self._lose(error)
            return None
        self._have()
        if calls.alone.begun:
            calls.alone.ends()
            news = True
        if news:
            self._freed(self._lanes_of(calls.book))
        return reply

    def _lanes_of(self, book: Book) -> Lanes:
        return tuple(book.lane(limit) for limit in self._terms.limits)

    def _lose(self, error: Exception) -> None:
        self._ways.failed(error.reason if isinstance(error, StoreGone) else "error")
        latest = _AT_LEISURE
        if any(map(self._matters, self._calls.values())):
            slow = isinstance(error, StoreGone) and error.reason == "timeout"
            latest = _LATEST_SLOW if slow else _LATEST
        wait = min(_SOONEST * 1.5 ** min(self._failures, 20), latest)
        self._failures += 1
        # Spread: a store that comes back is not to be asked by a whole fleet at the same moment.
        self._look_at = self._clock.now() + wait * (0.5 + 0.5 * self._ways.chance())
        if not self.trouble:
            self.trouble, self._lost_at = str(error), self._clock.now()
            self._ways.changed(False, self.trouble)
            for calls in self._calls.values():
                self._freed(self._lanes_of(calls.book))

    def _have(self) -> None:
        self._failures = 0
        if self.trouble:
            self.trouble = ""
            self._ways.changed(True, "The budget is shared again.")
            for calls in self._calls.values():
                calls.cut_off |= self._clock.now() > self._lost_at + LEASE
                if calls.book.pending:
                    self._flush(calls)

    def _take_alone(self, calls: Calls, lanes: Lanes, *, cautious: bool) -> _Part | Busy:
        now, book, alone = self._clock.now(), calls.book, calls.alone
        starts = calls.presence.until + _MARGIN
        if now < starts:
            return Busy(lanes[0], starts)
        if not alone.begun:
            for lane in lanes:
                book.rooms.room(lane, book.now)
            stale = now > starts + LEASE
            alone.begins(calls.time.latest(now if stale else starts), stale=stale)
        there = calls.time.earliest(now)
        at, lane = alone.due(lanes, there, cautious=cautious)
        if at > there:
            return Busy(lane, max(calls.time.here(at), now + 0.001) if at < math.inf else math.inf)
        entry = Entry(self._new_id(), "t", calls.latest(), ([lane.limit for lane in lanes],))
        alone.take(entry)
        book.write(Writing(entry, changes=[(lane.limit, entry.id, "inf") for lane in lanes]))
        return self._granted(calls, entry.id, lanes)

    def began(self, grant: Grant) -> None:
        for part in _parts(grant):
            part.began = min(part.began, part.calls.latest())

    def sent(self, grant: Grant) -> None:
        for part in _parts(grant):
            part.left = min(part.left, part.calls.latest())

    async def settle(self, grant: Grant, news: News) -> Learned:
        learned = [await self._settle(part, news) for part in _parts(grant) if not part.settled]
        self._freed(grant.lanes)
        return Learned(
            max((one.paused for one in learned), default=0.0),
            tuple(move for one in learned for move in one.moved),
            tuple(more for one in learned for more in one.foreign),
        )

    async def _settle(self, part: _Part, news: News) -> Learned:
        part.settled = True
        calls, book = part.calls, part.calls.book
        now = calls.latest()
        mine = News(
            tuple(one for one in news.quotas if one[0].key == book.key),
            news.refused if news.refused in part.lanes else None,
            news.pause,
            news.longest,
        )
        left = min(part.left, now)
        entry = Entry(self._new_id(), "s", now, (part.id, min(part.began, left), left, write_news(mine)))
        changes = []
        for lane in part.lanes:
            free = book.counted(lane, left, now)
            if free is not None:
                changes.append((lane.limit, part.id, "" if lane == mine.refused else f"{free:.6f}"))
        self._close(part)
        rooms = [book.rooms.room(lane, book.now) for lane in part.lanes]
        if mine.quotas or mine.refused or not all(room.measured for room in rooms):
            return await self._learn(part, entry, changes, refused=mine.refused is not None)
        learned = book.apply(entry)
        self._write(calls, entry, changes)
        return learned

    async def _learn(
        self, part: _Part, entry: Entry, changes: list[tuple[str, str, str]], *, refused: bool
    ) -> Learned:
        """Hold what an answer says against what all replicas sent before it: that is to be heard first."""
        calls, book = part.calls, part.calls.book
        async with self._lock(calls):
            book.write(Writing(entry, refused, changes))
            if not self.trouble:
                await self._call(calls, bye=not self._is_here(calls))
            before = self._standing(book, part.lanes)
            learned = book.apply(entry)
            changed = before != self._standing(book, part.lanes)
        if changed:
            told = Entry(self._new_id(), "c", calls.latest())
            self._write(calls, told, [], critical=True, wake=self._others(book))
        return learned

    @staticmethod
    def _standing(book: Book, lanes: Lanes) -> list[tuple[float, ...]]:
        rooms = [book.rooms.room(lane, book.now) for lane in lanes]
        return [
            (room.capacity, room.foreign, room.resumption.most, room.resumption.paused_until)
            for room in rooms
        ]

    def _others(self, book: Book, limits: Iterable[str] | None = None) -> Callable[[], frozenset[str]]:
        """Return who tells who else is first in line: for given limits, or for all and some more of each."""

        def others() -> frozenset[str]:
            lines, count = (book.lines.limits(), _WOKEN) if limits is None else (limits, 1)
            names = {name for limit in lines for name in book.lines.first(limit, count)}
            return frozenset(names - {self._terms.me})

        return others

    def _close(self, part: _Part) -> None:
        """Forget a part of which nothing is left to tell."""
        held = part.calls.book.held.get(part.id)
        if (part.settled or part.told) and (part.ended or held is None or not held.at_once):
            self._open.pop(part.id, None)

    def _give_back(self, parts: Iterable[_Part]) -> None:
        for part in parts:
            if part.id in self._open:
                del self._open[part.id]
                part.settled = part.ended = True
                self._freed_by("f", part, part.lanes)

    async def refund(self, grant: Grant) -> None:
        self._give_back(_parts(grant))
        self._freed(grant.lanes)

    async def release(self, grant: Grant) -> None:
        for part in _parts(grant):
            if part.id not in self._open:
                continue
            if not part.settled and not part.told:
                self._tell_sent(part)
            self._release(part)
        self._freed(grant.lanes)

    def _release(self, part: _Part) -> None:
        part.ended = True
        held = part.calls.book.held.get(part.id)
        if held is not None and held.at_once:
            self._freed_by("r", part, held.at_once)
        self._close(part)

    def _freed_by(self, kind: str, part: _Part, lanes: Sequence[Lane]) -> None:
        """Note what gives slots back at once, and wake who is first in line for them."""
        wake = self._others(part.calls.book, [lane.limit for lane in lanes])
        self._note(part.calls, kind, (part.id,), _freed_now(part.id, lanes), wake=wake)

    def _tell_sent(self, part: _Part) -> None:
        part.told = True
        calls = part.calls
        now = calls.latest()
        left = min(part.left, now)
        entry = Entry(self._new_id(), "n", now, (part.id, min(part.began, left), left))
        calls.book.apply(entry)
        self._write(calls, entry, [one for one in calls.slots(part.id) if one[2] != "inf"])

    async def pause(self, lane: Lane, seconds: float) -> None:
        calls = self._of(lane.key)
        self._note(calls, "p", (lane.limit, seconds), [], critical=True, wake=self._others(calls.book))

    def _note(
        self,
        calls: Calls,
        kind: str,
        rest: tuple[Any, ...],
        changes: list[tuple[str, str, str]],
        *,
        critical: bool = False,
        wake: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Note something that happens now, here and for the others."""
        entry = Entry(self._new_id(), kind, calls.latest(), rest)
        calls.book.apply(entry)
        self._write(calls, entry, changes, critical=critical, wake=wake)

    def _write(
        self,
        calls: Calls,
        entry: Entry,
        changes: list[tuple[str, str, str]],
        *,
        critical: bool = False,
        wake: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        calls.book.write(Writing(entry, critical, changes, wake))
        if not self.trouble:
            self._flush(calls)

    def _flush(self, calls: Calls) -> None:
        key = calls.book.key
        if key not in self._writers:
            self._writers[key] = asyncio.get_running_loop().create_task(self._write_up(calls))

    async def _write_up(self, calls: Calls) -> None:
        try:
            while calls.book.pending and not self.trouble:
                async with calls.lock:
                    if calls.book.pending and not self.trouble:
                        await self._call(calls, bye=not self._is_here(calls))
        finally:  # in one step with the last look: what comes from now on has another writer
            del self._writers[calls.book.key]

    def _is_here(self, calls: Calls) -> bool:
        """Tell whether others should know if this replica falls silent."""
        waits = self._waits(calls.book) or calls.put_off > self._clock.now()
        return waits or any(part.calls is calls for part in self._open.values())

    def _matters(self, calls: Calls) -> bool:
        return bool(calls.book.pending) or self._is_here(calls)

    def _waits(self, book: Book) -> bool:
        return book.lines.waits(self._terms.me)

    async def tend(self) -> None:
        """Do what is due; to be called some ten times a second.

        Tell what is sent and not answered; leave lines where nobody asks any more; show that we are here
        while something is under way; and look whether a store that was gone is back.
        """
        now, in_doubt, self._in_doubt = self._clock.now(), self._in_doubt, False
        for part in list(self._open.values()):
            calls = part.calls
            told = part.settled or part.told
            if not told and part.left < math.inf and calls.latest() > part.left + self._transit + 0.05:
                self._tell_sent(part)
                self._close(part)
        if self.trouble:
            if now >= self._look_at:
                await self._look()
            return
        for key, calls in list(self._calls.items()):
            book = calls.book
            if self._waits(book) and now > self._due.get(key, now) + _GRACE:
                self._note(calls, "l", (), [], wake=self._others(book, book.lines.limits()))
            elif self._is_here(calls) and (in_doubt or now > calls.presence.promised - _AHEAD):
                async with calls.lock:
                    if not self.trouble:
                        await self._call(calls)
            elif not self._matters(calls) and now > calls.heard + 2 * self._terms.horizon:
                del self._calls[key]
        last = max((calls.heard for calls in (self._greeting, *self._calls.values())), default=-math.inf)
        if in_doubt or now > last + _GREETING:
            await self.greet()

    async def greet(self) -> None:
        """Look whether the store is there."""
        async with self._greeting.lock:
            await self._call(self._greeting, bye=True)

    async def _look(self) -> None:
        wanted = min(self._calls.values(), key=lambda calls: not calls.book.pending, default=self._greeting)
        async with wanted.lock:
            await self._call(wanted)

    def doubt(self) -> None:
        """Have it looked soon whether the store is there: a connection to it broke."""
        self._in_doubt = True

    def woken(self, message: bytes) -> None:
        """Hear that something has come free earlier than was said."""
        calls = self._calls.get(message.decode("latin-1"))
        if calls is not None and not self.trouble:
            task = asyncio.get_running_loop().create_task(self._hear(calls))
            self._listeners.add(task)
            task.add_done_callback(self._listeners.discard)

    async def _hear(self, calls: Calls) -> None:
        async with calls.lock:
            if not self.trouble:
                await self._call(calls, bye=not self._is_here(calls))
        self._freed(self._lanes_of(calls.book))

    async def close(self) -> None:
        """Tell what is left to tell, as far as the store can be reached."""
        for calls in self._calls.values():
            async with calls.lock:
                if not self.trouble and self._matters(calls):
                    calls.book.write(Writing(Entry(self._new_id(), "l", calls.latest())))
                    await self._call(calls, bye=True)
        await asyncio.gather(*self._writers.values(), *self._listeners, return_exceptions=True)

    def capacity(self, lane: Lane) -> int:
        return self._of(lane.key).book.capacity(lane)

    def outlook(self, lane: Lane) -> Outlook:
        calls = self._of(lane.key)
        there = calls.time.earliest(self._clock.now())
        lines = calls.book.lines
        others = lines.length(lane.limit) - (calls.book.ahead(lane.limit) is not None)
        among = self.replicas if self.trouble else others + 1
        return calls.book.rooms.room(lane, there).outlook(there).by(there - self._clock.now(), among)

    def lanes(self) -> Iterable[LaneState]:
        for calls in self._calls.values():
            yield from calls.book.rooms.states(calls.time.earliest(self._clock.now()))


def _parts(grant: Grant) -> tuple[_Part, ...]:
    assert isinstance(grant, SharedGrant)
    return grant.parts


def _freed_now(id_: str, lanes: Iterable[Lane]) -> list[tuple[str, str, str]]:
    """Return what it means for the store that slots are given back."""
    return [(lane.limit, id_, "") for lane in lanes]
