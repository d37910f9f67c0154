"""Who will be too late: the only place where a forecast is held against a deadline.

A forecast of 500 requests takes 5 ms. So none is made where a rough bound decides, one serves all newcomers
that are alike for a moment, and a storm of them does not get more than a share of the processor.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from proxy.policy.fair_queue import FairQueue
from proxy.policy.forecast import Start, forecast
from proxy.policy.limits import Lane
from proxy.policy.line import Line
from proxy.policy.outlook import Outlook
from proxy.policy.turns import Place

_FRESH = 0.25
"""Seconds for which a forecast for one newcomer holds for the next one like it."""
_MANY = 1024
_RATE, _MOST = 10_000.0, 50_000.0
"""Places a second that forecasts for newcomers may go through (a tenth of a processor), and at once."""
_SHOWN = 1000.0
"""Places a second that forecasts of the whole line, for those who look at it, may go through."""
_SURE = 0.02
"""How far a forecast is trusted: a request that waits already is refused when it is late by more than this
share of its wait, and a line whose length changed by less is still the same."""


class _Known(NamedTuple):
    """A forecast; it holds until a time, and while not many more or fewer wait than did."""

    start: float
    until: float
    waiting: int


class Prospects:
    """Foresee, for a line and the outlook of its lanes."""

    def __init__(self, line: Line, outlook: Callable[[Lane], Outlook]) -> None:
        self._line = line
        self._outlook = outlook
        self._allowed, self._counted = _MOST, 0.0
        self._recent: dict[tuple[Hashable, ...], _Known] = {}
        self._starts: Mapping[Place, float] = {}
        self._starts_until = -math.inf

    def start(self, newcomer: Place, now: float) -> float:
        """Return when a newcomer would go."""
        starts = forecast(self._line.joined_by(newcomer, now), self._outlook, now)
        return next(start.at for start in starts if start.place is newcomer)

    def late_start(self, newcomer: Place, now: float) -> float | None:
        """Return when a newcomer would go if that is after its deadline; None if it is in time."""
        if now + self._longest_wait(newcomer.lanes, now) <= newcomer.deadline:
            return None
        start = self._known(newcomer, now)
        if start is None or (start <= newcomer.deadline and self._is_short()):
            if not self._affordable(now):
                return None  # for now: all who wait are looked at together soon
            start = self._foresee(newcomer, now)
        return start if start > newcomer.deadline else None

    def expected(self, newcomer: Place, now: float) -> float:
        """Return when a newcomer would go; if the line is long, by a forecast that may be a moment old.

        When more are asked for than can be afforded, return when it goes at the latest.
        """
        start = None if self._is_short() else self._known(newcomer, now)
        if start is None and not self._affordable(now):
            start = now + self._longest_wait(newcomer.lanes, now)
        return self._foresee(newcomer, now) if start is None else start

    def too_late(self, now: float) -> Iterator[Start]:
        """Yield those who wait in vain."""
        for part in self._line.parts():
            if self._all_in_time(part, now):
                continue
            for start in forecast([queue.copy(now) for queue in part], self._outlook, now):
                if start.at - start.place.deadline > _SURE * (start.at - now):
                    yield start

    def starts(self, now: float) -> Mapping[Place, float]:
        """Return when those who wait will go, as foreseen of late: the longer the line, the longer ago."""
        if now >= self._starts_until:
            parts = ([queue.copy(now) for queue in part] for part in self._line.parts())
            foreseen = (start for part in parts for start in forecast(part, self._outlook, now))
            self._starts = {start.place: start.at for start in foreseen}
            self._starts_until = now + len(self._starts) / _SHOWN
        return self._starts

    def _is_short(self) -> bool:
        """Tell whether one more changes the line, and a forecast costs little."""
        return len(self._line) * _SURE < 1

    def _known(self, newcomer: Place, now: float) -> float | None:
        """Return when another like this one would go, as foreseen a moment ago; None if it was not."""
        known = self._recent.get(self._like(newcomer))
        if known is None or known.until <= now:
            return None
        if abs(len(self._line) - known.waiting) > known.waiting * _SURE:
            return None
        # Who may go along with another is like nobody.
        return None if self._line.has_like(newcomer) else max(known.start, now)

    def _affordable(self, now: float) -> bool:
        """Tell whether another forecast may be made."""
        self._allowed = min(_MOST, self._allowed + (now - self._counted) * _RATE)
        self._counted = now
        return self._allowed > 0

    def _foresee(self, newcomer: Place, now: float) -> float:
        self._allowed -= len(self._line)
        start = self.start(newcomer, now)
        if not self._line.has_like(newcomer):
            if len(self._recent) >= _MANY:
                self._recent.clear()
            self._recent[self._like(newcomer)] = _Known(start, now + _FRESH, len(self._line))
        return start

    def _like(self, newcomer: Place) -> tuple[Hashable, ...]:
        # Who has nobody in line yet is like all others who have nobody.
        waits = self._line.waits(newcomer.credential, newcomer.caller)
        return newcomer.lanes, newcomer.credential, newcomer.caller if waits else None, newcomer.urgency

    def _all_in_time(self, queues: Sequence[FairQueue], now: float) -> bool:
        lanes = {lane for queue in queues for file in queue for lane in file.lanes}
        deadlines = (place.deadline for queue in queues for file in queue for place in file.places())
        return now + self._longest_wait(lanes, now) <= min(deadlines)

    def _longest_wait(self, lanes: Iterable[Lane], now: float) -> float:
        """Return the seconds within which a request surely goes that comes after all who need these lanes."""
        return sum(self._outlook(lane).longest_wait(self._line.depth(lane), now) for lane in lanes)
