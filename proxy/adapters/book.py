"""What all replicas together spend of one key, as one replica knows it: the sum of the entries it heard of.

Entries are applied as they come. One that comes much later than it happened (its writer was cut off) has the
sum made anew, in the order of time: so whoever knows the same entries knows the same, however they came.
"""

import math
from collections.abc import Callable, Iterable

from proxy.adapters.lines import Lines
from proxy.adapters.rooms import Held, Rooms
from proxy.adapters.wire import Entry, Writing, read_news, replica_of
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.window import SlidingWindow
from proxy.turn import Learned

_LATE = 1.0
"""Seconds. An entry that is older than the last one by more was not heard of when it happened."""

_OF_A_TAKE = frozenset("snfr")
"""Kinds of entries that say what became of a slot that was taken."""

_COURTESY = 2.0
"""Seconds that who has room lets those go first who are ahead in line and do not go."""

_ONE_BY_ONE = 0.01
"""Seconds between those who have waited for so long."""

AT_ONCE = 30.0
"""Seconds after which "at once" slots of a replica that is silent are given to others."""


class Book:
    """The entries of one key, and their sum; `horizon` is how long one matters (seconds)."""

    def __init__(
        self, key: str, me: str, make: Callable[[], Rooms], *, horizon: float, transit: float
    ) -> None:
        self.key = key
        self.me = me
        self._make = make
        self._horizon = horizon
        self._transit = transit
        self.position, self.last, self.critical, self.skew = 0, "", 0, "0"
        self.synced = False
        self.replicas = 0
        self.pending: list[Writing] = []
        self.wanting: set[str] = set()
        self._known: dict[str, Entry] = {}
        self._open_since: dict[Lane, float] = {}
        self.writes = 0
        self._reset()

    def _reset(self) -> None:
        self.rooms = self._make()
        self.held: dict[str, Held] = {}
        self.lines = Lines()
        self._early: dict[str, list[Entry]] = {}
        self.now = -math.inf

    def configure(self, limits: LimitTable, *, horizon: float, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        self._horizon, self._transit = horizon, transit
        self.rooms.configure(limits, transit=transit, clock_drift=clock_drift)

    def __repr__(self) -> str:
        return f"<Book {len(self._known)} entries, {len(self.held)} held, {len(self.pending)} to write>"

    def write(self, writing: Writing) -> None:
        """Have something written down in the store, after all before it."""
        self.writes += 1
        writing.number = self.writes
        self.pending.append(writing)

    def write_anew(self, writings: list[Writing]) -> None:
        """Have this written down before all that waits."""
        waiting, self.pending = self.pending, []
        for writing in (*writings, *waiting):
            self.write(writing)

    def lane(self, limit: str) -> Lane:
        """Return the lane of a limit."""
        return Lane(limit, self.key)

    def knows(self, id_: str) -> bool:
        """Tell whether an entry was heard of."""
        return id_ in self._known

    def everything(self) -> Iterable[Entry]:
        """Return all entries that matter, in the order of time."""
        recent = self.now - self._horizon
        return sorted((one for one in self._known.values() if one.at > recent), key=lambda entry: entry.at)

    def hear(self, entries: Iterable[Entry]) -> bool:
        """Apply what was not known; tell if there was any.

        What is older than the horizon is left out, wherever it comes from: of a slot and what became of it,
        others may have forgotten one and not yet the other.
        """
        new = [entry for entry in entries if entry.id not in self._known]
        recent = max([self.now, *(entry.at for entry in new)]) - self._horizon
        new = [entry for entry in new if entry.at > recent]
        if any(entry.at < self.now - _LATE for entry in new):
            self._known |= {entry.id: entry for entry in new}
            self._sum_up()
        else:
            for entry in new:
                self.apply(entry)
        return bool(new)

    def _sum_up(self) -> None:
        self._reset()
        known, self._known = list(self.everything()), {}
        back = {entry.replica: entry.at for entry in known if entry.kind == "b"}
        for entry in known:
            if entry.kind != "x" or back.get(entry.rest[0], -math.inf) < entry.at:
                self.apply(entry)
            self._known[entry.id] = entry

    def apply(self, entry: Entry) -> Learned:
        """Add one entry to the sum; return what is learned by it."""
        self._known[entry.id] = entry
        self.now = max(self.now, entry.at)
        learned = Learned()
        if entry.kind in _OF_A_TAKE:
            if (held := self.held.get(entry.rest[0])) is not None:
                learned = self._goes_on(held, entry)
            elif not self.knows(entry.rest[0]):  # who writes it anew need not be who knows of the take
                self._early.setdefault(entry.rest[0], []).append(entry)
        else:
            self._begins(entry)
        self._forget()
        return learned

    def _begins(self, entry: Entry) -> None:
        at = entry.at
        match entry.kind:
            case "t":
                lanes = tuple(lane for lane in map(self.lane, entry.rest[0]) if lane in self.rooms)
                self.held[entry.id] = self.rooms.take(lanes, at)
                self.lines.served(entry.replica, entry.rest[0], at)
                for early in self._early.pop(entry.id, ()):
                    self._goes_on(self.held[entry.id], early)
            case "w":
                self.lines.joins(entry.replica, entry.rest[0], at)
            case "p":
                if (lane := self.lane(entry.rest[0])) in self.rooms:
                    self.rooms.room(lane, at).resumption.pause(at + entry.rest[1])
            case "l":
                self.lines.leaves(entry.replica)
            case "x":
                if entry.rest[0] != self.me:  # what ours are doing is known
                    silent, among = entry.rest
                    self._silent(silent, among, at)
            case "b":
                for lane in self.rooms.lanes():
                    self.rooms.room(lane, at).withhold(entry.replica, 0, at)

    def _goes_on(self, held: Held, entry: Entry) -> Learned:
        kind, at = entry.kind, entry.at
        for room, slot in held.slots:
            if kind == "f":
                room.refund(slot)
            elif kind == "r":
                room.release(slot, at)
            elif slot.began == math.inf:
                room.began(slot, min(entry.rest[1], at))
                room.sent(slot, min(entry.rest[2], at))
        if kind == "s":
            return self.rooms.settle(held, read_news(entry.rest[3], self.key), at)
        return Learned()

    def _silent(self, replica: str, among: int, now: float) -> None:
        """Take what a silent replica had under way as sent; withhold what more it may be spending alone.

        It was told that there are `among`.
        """
        self.lines.leaves(replica)
        has: dict[Lane, int] = {}
        for id_, held in self.held.items():
            if replica_of(id_) == replica:
                for lane, (room, slot) in zip(held.lanes, held.slots, strict=True):
                    room.sent(slot, now)
                    has[lane] = has.get(lane, 0) + (room.free_at(slot) > now)
        for lane in self.rooms.lanes():
            room = self.rooms.room(lane, now)
            more = max(1, room.capacity // among) - has.get(lane, 0)
            room.withhold(replica, more, now + self.lasts(lane))

    def counted(self, lane: Lane, left: float, now: float) -> float | None:
        """Return when a slot comes free of what left and is answered by now; None if its end decides."""
        room = self.rooms.room(lane, self.now)
        return min(now, left + self._transit) + room.hold if isinstance(room, SlidingWindow) else None

    def capacity(self, lane: Lane) -> int:
        """Return the size of a lane, as far as is known."""
        return self.rooms.room(lane, self.now).capacity

    def lasts(self, lane: Lane) -> float:
        """Return the seconds for which what may have been spent unseen is withheld."""
        room = self.rooms.room(lane, self.now)
        return self._transit + room.hold if isinstance(room, SlidingWindow) else AT_ONCE

    def _forget(self) -> None:
        now = self.now
        while self._known:
            oldest = next(iter(self._known.values()))
            if oldest.at > now - self._horizon:
                break
            del self._known[oldest.id]
            if oldest.kind in _OF_A_TAKE:
                self._early.pop(oldest.rest[0], None)
            if (held := self.held.get(oldest.id)) is not None and all(
                room.free_at(slot) <= now for room, slot in held.slots
            ):
                del self.held[oldest.id]

    def ahead(self, limit: str) -> int | None:
        """Return how many replicas go before this one for a limit; None if it is not in line."""
        return self.lines.ahead(limit, self.me)

    def due(self, lanes: Lanes, now: float, *, cautious: bool) -> tuple[float, Lane]:
        """Return when it is our turn in all lanes, as far as is known, and in which it comes last.

        Those ahead who have room and do not go hold nobody up for long.
        """
        times = []
        for lane in lanes:
            room, place = self.rooms.room(lane, now), self.ahead(lane.limit)
            before = self.lines.length(lane.limit) if place is None else place
            turn = room.ready_at(now, cautious=cautious, ahead=before)
            if room.ready_at(now, cautious=cautious) > now:
                self._open_since.pop(lane, None)
            elif turn > now:
                since = self._open_since.setdefault(lane, now)
                turn = min(turn, since + _COURTESY + before * _ONE_BY_ONE)
            times.append((turn, lane))
        return max(times, key=lambda time: time[0])

    def asks(self) -> None:
        """Note that a slot is asked for: those ahead were let go first."""
        self._open_since.clear()

    def turn(self, now: float) -> float | None:
        """Return when it is our turn in every line, as far as is known; None if we are in none."""
        times = []
        for limit in self.lines.limits(self.me):
            if (lane := self.lane(limit)) in self.rooms:
                ahead = self.ahead(limit) or 0
                times.append(self.rooms.room(lane, now).ready_at(now, ahead=ahead))
        return max(times, default=None)
