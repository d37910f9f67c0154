"""Requests that need the same lanes wait in one file: who finds a lane full finds it so for all of them.

A file is made of rows, one for each caller and urgency, oldest ticket first. A row shows its head to the
others in an offer; offers are mended when they come up, so that leaving and waiting cost nothing.
"""

import heapq
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

from proxy.policy.limits import Lane, Lanes
from proxy.policy.turns import LEVELS, Place, Rules, Turns

_FEW = 16
_NUMBERS = itertools.count(1)
"""Of offers: of all files, since those of one credential are compared."""


class Row:
    """Those of one file who are of one caller and one urgency, oldest ticket first."""

    __slots__ = ("_gone", "_heap", "_order", "offer")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Place]] = []
        self._order = 0
        self._gone = 0
        self.offer = 0
        """The number of the offer that speaks for it; others of it are void."""

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

    def pop(self) -> None:
        """Take the head out."""
        heapq.heappop(self._heap)

    def places(self) -> list[Place]:
        """Return those who have not left."""
        return [place for _, _, place in self._heap if not place.gone]

    def left(self) -> None:
        """Note that a place is `gone`; the gone never outnumber those who wait."""
        self._gone += 1
        if 2 * self._gone > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].gone]
            heapq.heapify(self._heap)
            self._gone = 0

    def copy(self) -> "Row":
        """Return one with the same places, which goes on by itself."""
        row = Row()
        row._heap, row._order, row._gone = self._heap.copy(), self._order, self._gone
        return row


class Offer(NamedTuple):
    """The head of a row; the smallest goes first. No two numbers are equal: what follows never compares."""

    turn: float
    ticket: int
    number: int
    place: Place
    row: Row


class File:
    """Those who need the same lanes; `parked_at` is the one that has no room."""

    def __init__(self, lanes: Lanes, rules: Rules) -> None:
        self.lanes = lanes
        self.parked_at: Lane | None = None
        self._parked_since = 0.0
        self._blocked = dict.fromkeys(lanes, 0.0)
        self._rules = rules
        self._size = 0
        self._rows: dict[tuple[str, int], Row] = {}
        self._offers: list[list[Offer]] = [[] for _ in LEVELS]
        self._raises: list[tuple[float, int, Row]] = []

    def __len__(self) -> int:
        """Return how many have not left."""
        return self._size

    def park(self, lane: Lane, now: float) -> None:
        """Note that a lane has no room."""
        self.parked_at, self._parked_since = lane, now

    def unpark(self, now: float) -> None:
        """Note that it may have room again."""
        assert self.parked_at is not None, "who is parked nowhere comes back from nowhere"
        self._blocked[self.parked_at] += now - self._parked_since
        self.parked_at = None

    def blocked(self, now: float) -> Mapping[Lane, float]:
        """Return for how many seconds each lane has had no room, in all."""
        blocked = self._blocked.copy()
        if self.parked_at is not None:
            blocked[self.parked_at] += now - self._parked_since
        return blocked

    def places(self) -> list[Place]:
        """Return those who have not left."""
        return [place for row in self._rows.values() for place in row.places()]

    def has(self, caller: str) -> bool:
        """Tell whether one of a caller's waits here."""
        return any((caller, urgency) in self._rows for urgency in LEVELS)

    def push(self, place: Place, now: float) -> None:
        """Add a place."""
        row = self._rows.setdefault((place.caller, place.urgency), Row())
        row.push(place)
        self._size += 1
        if row.head() is place:
            self._offer(row, now)

    def left(self, place: Place) -> None:
        """Note that a place is `gone`."""
        self._size -= 1
        row = self._rows[place.caller, place.urgency]
        row.left()
        self._forget_if_empty(place, row)

    def took(self, place: Place, now: float) -> None:
        """Take out whoever was offered a turn; an older one may have come back to its row meanwhile."""
        self._size -= 1
        row = self._rows[place.caller, place.urgency]
        if row.head() is place:
            row.pop()
            self._offer(row, now)
        else:
            place.gone = True
            row.left()
        self._forget_if_empty(place, row)

    def best(self, level: int, turns: Turns, now: float) -> Offer | None:
        """Return who goes first of those who have come to this level, or None; it stays."""
        offers = self._offers[level]
        while offers:
            offer = offers[0]
            head = offer.row.head()
            if head is None or offer.number != offer.row.offer:
                heapq.heappop(offers)
            elif head is not offer.place:  # that one left, and the next may not have waited as long
                heapq.heappop(offers)
                self._offer(offer.row, now)
            elif offer.turn < (turn := turns.of(head.caller)):
                heapq.heapreplace(offers, offer._replace(turn=turn))
            else:
                return offer
        return None

    def _offer(self, row: Row, now: float) -> None:
        """Show the head of a row, at the level that it has come to, in place of what was shown before."""
        head = row.head()
        if head is None:
            return
        row.offer = number = next(_NUMBERS)
        level = self._rules.level(head, now)
        self._tidy(level)
        heapq.heappush(self._offers[level], Offer(0.0, head.ticket, number, head, row))
        raised_at = self._rules.raised_at(head, level)
        if raised_at < math.inf:
            heapq.heappush(self._raises, (raised_at, number, row))

    def _tidy(self, level: int) -> None:
        """Drop what is void when it has become most of what is kept."""
        few = 2 * len(self._rows) + _FEW
        offers = self._offers[level]
        if len(offers) > few:
            self._offers[level] = [one for one in offers if one.row and one.number == one.row.offer]
            heapq.heapify(self._offers[level])
        if len(self._raises) > few:
            self._raises = [one for one in self._raises if one[2] and one[1] == one[2].offer]
            heapq.heapify(self._raises)

    def age(self, now: float) -> None:
        """Raise those who have waited long enough."""
        while self._raises and self._raises[0][0] <= now:
            _, number, row = heapq.heappop(self._raises)
            if number == row.offer:
                self._offer(row, now)

    def _forget_if_empty(self, place: Place, row: Row) -> None:
        if not row:
            del self._rows[place.caller, place.urgency]

    def copy(self, now: float) -> "File":
        """Return one with the same places, parked nowhere, which goes on by itself."""
        file = File(self.lanes, self._rules)
        file._size = self._size
        for key, row in self._rows.items():
            file._rows[key] = row.copy()
            file._offer(file._rows[key], now)
        return file
