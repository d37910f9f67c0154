"""What one replica spends of a key while the others cannot be asked: a share of what it knows to be free."""

import math
import zlib

from proxy.adapters.book import Book
from proxy.adapters.wire import Entry, replica_of
from proxy.policy.foreign import most_likely
from proxy.policy.limits import Lane, Lanes
from proxy.policy.window import SlidingWindow


class Alone:
    """Divide what a book knows to be free; `begun` while nobody can be asked."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._since = -math.inf
        self._presumed: dict[Lane, list[float]] = {}
        self._taken: set[str] = set()
        self.begun = False

    def due(self, lanes: Lanes, now: float, *, cautious: bool) -> tuple[float, Lane]:
        """Return when our share has room in all lanes, for as long as others cannot be asked."""
        times = []
        for lane in lanes:
            room = self._book.rooms.room(lane, now)
            share = self._share(lane, now)
            if isinstance(room, SlidingWindow):
                share = max(share, room.ready_at(now, cautious=cautious))
            times.append((max(share, room.resumption.paused_until), lane))
        return max(times, key=lambda time: time[0])

    def _share(self, lane: Lane, now: float) -> float:
        """Return when one more of ours fits: of what was or comes free, one in so many is ours.

        With what we held before, it is never more than others withhold. Where there are more replicas than
        slots, one window in so many is ours.
        """
        room = self._book.rooms.room(lane, now)
        size, among = room.allowed(now), max(1, self._book.replicas)
        theirs, ours, alone = list(self._presumed.get(lane, ())), [], []
        for id_, held in self._book.held.items():
            if lane in held.lanes:
                free = room.free_at(held.slot(lane))
                if id_ in self._taken:
                    alone.append(free)
                elif replica_of(id_) == self._book.me:
                    ours.append(free)
                else:
                    theirs.append(min(free, self._since + self._book.lasts(lane)))
        rounds = -(-among // max(1, size))
        if rounds > 1:
            among, hold = max(1, size), self._book.lasts(lane)
            alone = [free + (rounds - 1) * hold for free in alone]
            theirs.append(self._since + zlib.crc32(self._book.me.encode()) % rounds * hold)
        for at in sorted({now, *(free for free in (*theirs, *ours, *alone) if free > now)}):
            others, before, mine = (sum(free > at for free in frees) for frees in (theirs, ours, alone))
            if (size - others - before) // among > mine and before + mine < max(1, size // among):
                return at
        return math.inf

    def begins(self, since: float, *, stale: bool) -> None:
        """Divide what is free from `since` on; presume what others may have taken before that is not known.

        Where that is `stale`, one goes as a probe, as at a start.
        """
        self.begun, self._since, self._presumed = True, since, {}
        if not self._book.synced:
            return
        for lane in self._book.rooms.lanes():
            room = self._book.rooms.room(lane, since)
            if not isinstance(room, SlidingWindow):
                continue
            if stale:
                room.resumption.pause(since)
            unheard = self._unheard(lane, room, since)
            self._presumed[lane] = [since + self._book.lasts(lane)] * (
                (0 if stale else unheard) + room.withheld
            )

    def _unheard(self, lane: Lane, room: SlidingWindow, since: float) -> int:
        """Return how many slots others may have taken by then that is not known; what they had is sent."""
        book, theirs, still, full = self._book, 0, 0, 0
        contended = bool(room.withheld) or lane.limit in book.wanting
        for id_, held in book.held.items():
            if lane in held.lanes:
                slot = held.slot(lane)
                full += room.free_at(slot) > book.now
                if replica_of(id_) != book.me:
                    room.sent(slot, since)
                    theirs += slot.taken > book.now - room.hold
                    still += room.free_at(slot) > since
        left = room.remaining(since)
        if contended or full > room.capacity - book.lines.length(lane.limit):
            return left  # where somebody waits, or was cut off before, what came free has been taken
        level = most_likely(theirs) if theirs < room.capacity else room.capacity
        return min(max(0, level - still), left)  # they go on as before

    def take(self, entry: Entry) -> None:
        """Take a slot of our share."""
        self._taken.add(entry.id)
        self._book.apply(entry)

    def ends(self) -> None:
        """Divide nothing any more: the others can be asked."""
        self.begun, self._presumed = False, {}
        self._taken.clear()
