"""Who is next: the order in which waiting requests are offered a turn.

Requests that need the same lanes wait in one file, oldest ticket first. A file whose head finds a lane
full is parked at that lane, and is asked again only when the lane may have room; files that do not need
the lane pass it by. So nobody waits behind somebody who waits for something else, a request never takes
from one lane while it waits for another, and the cost of a turn does not grow with the length of the line.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TypeVar

from proxy.policy.limits import Lane, Lanes

Key = TypeVar("Key", bound=Hashable)


class Place:
    """A waiting request's place in line."""

    __slots__ = ("gone", "lanes", "ticket")

    def __init__(self, ticket: int, lanes: Lanes) -> None:
        self.ticket = ticket
        self.lanes = lanes
        self.gone = False


class File:
    """Those who need the same lanes, oldest ticket first; `blocked_by` is the lane that last had no room."""

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.parked_at: Lane | None = None
        self.blocked_by: Lane | None = None
        self._heap: list[tuple[int, int, Place]] = []
        self._order = 0
        self._gone = 0

    def __len__(self) -> int:
        """Return how many have not left."""
        return len(self._heap) - self._gone

    def push(self, place: Place) -> None:
        """Add a place; its ticket says where."""
        self._order += 1  # two places never compare, even when one request waits twice
        heapq.heappush(self._heap, (place.ticket, self._order, place))

    def head(self) -> Place | None:
        """Return the oldest that has not left."""
        while self._heap and self._heap[0][2].gone:
            heapq.heappop(self._heap)
            self._gone -= 1
        return self._heap[0][2] if self._heap else None

    def places(self) -> list[Place]:
        """Return those who have not left."""
        return [place for _, _, place in self._heap if not place.gone]

    def left(self) -> None:
        """Note that a place is gone; the gone never outnumber those who wait."""
        self._gone += 1
        if 2 * self._gone > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].gone]
            heapq.heapify(self._heap)
            self._gone = 0


class Line:
    """Keep all files, and which of them can be offered a turn."""

    def __init__(self) -> None:
        self._files: dict[Lanes, File] = {}
        self._ready: list[tuple[int, int, File]] = []
        self._parked: dict[Lane, list[File]] = {}
        self._waiting: Counter[Lane] = Counter()
        # Of those who need a lane, how many are parked, at which lane, and anywhere.
        self._held: Counter[tuple[Lane, Lane]] = Counter()
        self._held_anywhere: Counter[Lane] = Counter()
        self._size = 0
        self._order = 0

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        parked = {f"{lane.limit}/{lane.key}": len(files) for lane, files in self._parked.items()}
        return f"<Line {self._size} waiting in {len(self._files)} files, parked at {parked}>"

    def ahead(self, lane: Lane, lanes: Lanes) -> int:
        """Return how many will go through a lane before a newcomer that needs `lanes`.

        Those who need it too, but wait for a lane that the newcomer does not need, let it pass.
        """
        with_us = sum(self._held[lane, at] for at in lanes)
        return self._waiting[lane] - self._held_anywhere[lane] + with_us

    def depths(self) -> Iterator[tuple[Lane, int]]:
        """Yield every lane that somebody waits for, with how many do."""
        return iter(self._waiting.items())

    def everybody(self) -> list[Place]:
        """Return all who wait."""
        return [place for file in self._files.values() for place in file.places()]

    def join(self, place: Place) -> None:
        """Wait, by ticket: who was here before keeps the place it had."""
        file = self._files.get(place.lanes)
        if file is None:
            file = self._files[place.lanes] = File(place.lanes)
        file.push(place)
        self._size += 1
        for lane in place.lanes:
            self._waiting[lane] += 1
        self._hold(file, 1)
        if file.parked_at is None:
            self._offer(file)

    def leave(self, place: Place) -> None:
        """Give up the place, at once."""
        if place.gone:
            return
        place.gone = True
        self._size -= 1
        for lane in place.lanes:
            _add(self._waiting, lane, -1)
        file = self._files[place.lanes]
        self._hold(file, -1)
        file.left()
        if file.head() is None:
            self._forget(file)

    def next(self) -> tuple[File, Place] | None:
        """Return the oldest head that can be offered a turn, with its file; it stays in line."""
        while self._ready:
            ticket, _, file = self._ready[0]
            head = file.head()
            if head is None or file.parked_at is not None or ticket > head.ticket:
                heapq.heappop(self._ready)
            elif ticket < head.ticket:
                heapq.heappop(self._ready)
                self._offer(file)
            else:
                return file, head
        return None

    def park(self, file: File, lane: Lane) -> None:
        """Ask this file no more until the lane may have room."""
        file.parked_at = file.blocked_by = lane
        self._hold(file, len(file))
        self._parked.setdefault(lane, []).append(file)

    def unpark(self, lane: Lane) -> bool:
        """Offer turns again to those who wait for this lane; tell whether there were any."""
        files = self._parked.pop(lane, [])
        for file in files:
            self._hold(file, -len(file))
            file.parked_at = None
            self._offer(file)
        return bool(files)

    def _hold(self, file: File, change: int) -> None:
        """Count so many more, or less, of a file that is parked; of another, nothing."""
        if file.parked_at is not None:
            for lane in file.lanes:
                _add(self._held, (lane, file.parked_at), change)
                _add(self._held_anywhere, lane, change)

    def _offer(self, file: File) -> None:
        head = file.head()
        assert head is not None, "a file that empties is forgotten"
        self._order += 1
        heapq.heappush(self._ready, (head.ticket, self._order, file))

    def _forget(self, file: File) -> None:
        del self._files[file.lanes]
        if file.parked_at is not None:
            parked = self._parked[file.parked_at]
            parked.remove(file)
            if not parked:
                del self._parked[file.parked_at]


def _add(counter: Counter[Key], key: Key, change: int) -> None:
    """Change a count, and forget one that is nothing."""
    counter[key] += change
    if not counter[key]:
        del counter[key]
