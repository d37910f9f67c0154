"""Counting requests as Django REST Framework's throttles do, and refusing what is too much. It has no clock.

DRF, read in its source (`SimpleRateThrottle`, `APIView.check_throttles`): per scope and key a log of the
times of *accepted* requests; entries no younger than the window are dropped; a full log refuses and records
nothing. *All* throttles of a view are asked even when one refuses, and those that pass record: a burst
refusal still costs one of the standard hundred. The wait told is the longest among those that refused.

A limit may change while it is counted by: what was counted stays. A log that is longer than its limit now is
full until it has shrunk below it; meanwhile `wait()` knows no time, as in DRF, and a 429 may tell none.

A place of a concurrent limit is the exception to recording: it is given back when another throttle refused,
since nothing runs that could give it back later.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.sandbox.errors import Throttled
from proxy.sandbox.limits import Concurrent, Limit, Rate

UNKNOWN_WAIT = 1.0
"""Seconds a refused concurrent request is told to wait when no running one has a known end."""


@dataclass(frozen=True, slots=True)
class Window:
    """What the `X-RateLimit-*` headers tell of one scope for one key."""

    limit: int
    remaining: int
    resets_in: float
    """Seconds until the oldest counted request leaves (a whole window when nothing is counted)."""


class Place:
    """What an accepted request holds of one scope. This one is a rate's: time alone gives it back."""

    def release(self) -> None:
        """Give back what ends with the request."""

    def hold_until(self, when: float) -> None:
        """Keep the place beyond the request, until a moment on the clock (an export job's end)."""


class Throttle(Protocol):
    """One scope's counter, over all keys."""

    def enter(self, key: str, now: float) -> Place | None:
        """Count a request, or refuse it with None."""

    def wait(self, key: str, now: float) -> float | None:
        """Tell a refused request how long until it may come again, seconds; None when nobody knows."""

    def window(self, key: str, now: float) -> Window:
        """Tell how things stand, counting nothing."""

    def used(self, key: str) -> int:
        """How many the key has in its window now."""


class SlidingLog:
    """DRF's SimpleRateThrottle."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        """Another one applies from the next request on. What a log has dropped does not come back."""
        self._logs: dict[str, deque[float]] = {}
        self._place = Place()

    def _log(self, key: str, now: float) -> deque[float]:
        log = self._logs.setdefault(key, deque())
        while log and log[0] <= now - self.rate.per:
            log.popleft()
        return log

    def enter(self, key: str, now: float) -> Place | None:
        """Record the request unless the log is full."""
        log = self._log(key, now)
        if len(log) >= self.rate.requests:
            return None
        log.append(now)
        return self._place

    def wait(self, key: str, now: float) -> float | None:
        """Tell DRF's `wait()`."""
        log = self._log(key, now)
        remaining = self.rate.per - (now - log[0]) if log else self.rate.per
        available = self.rate.requests - len(log) + 1
        return remaining / available if available > 0 else None

    def window(self, key: str, now: float) -> Window:
        """Tell how full the log is."""
        log = self._log(key, now)
        resets_in = self.rate.per - (now - log[0]) if log else self.rate.per
        return Window(self.rate.requests, max(0, self.rate.requests - len(log)), resets_in)

    def used(self, key: str) -> int:
        """Count the log."""
        return len(self._logs.get(key, ()))


class _Slot(Place):
    """A place of a concurrent limit: held by the request, then perhaps by the job that it started."""

    def __init__(self, slots: dict[_Slot, float]) -> None:
        self._slots = slots
        self._job_end: float | None = None

    def release(self) -> None:
        if self._job_end is None:
            self._slots.pop(self, None)
        else:
            self._slots[self] = self._job_end

    def hold_until(self, when: float) -> None:
        self._job_end = when
        self._slots[self] = when


class Slots:
    """A limit on how many run at once."""

    def __init__(self, limit: Concurrent) -> None:
        self.limit = limit
        """Another one applies from the next request on; nobody is thrown out."""
        self._slots: dict[str, dict[_Slot, float]] = {}

    def _running(self, key: str, now: float) -> dict[_Slot, float]:
        slots = self._slots.setdefault(key, {})
        for slot in [slot for slot, end in slots.items() if end <= now]:
            del slots[slot]
        return slots

    def enter(self, key: str, now: float) -> Place | None:
        """Take a place unless all are taken."""
        running = self._running(key, now)
        if len(running) >= self.limit.at_once:
            return None
        slot = _Slot(running)
        running[slot] = math.inf
        return slot

    def wait(self, key: str, now: float) -> float:
        """Tell when the first place with a known end comes free."""
        soonest = min(self._running(key, now).values(), default=math.inf)
        return soonest - now if math.isfinite(soonest) else UNKNOWN_WAIT

    def window(self, key: str, now: float) -> Window:
        """Tell how many places are taken."""
        free = max(0, self.limit.at_once - len(self._running(key, now)))
        return Window(self.limit.at_once, free, self.wait(key, now))

    def used(self, key: str) -> int:
        """Count the places taken."""
        return len(self._slots.get(key, ()))


@dataclass(slots=True)
class Permit:
    """All the places one accepted request holds; released once, when the request ends."""

    places: dict[str, Place] = field(default_factory=dict)

    def hold_until(self, scope: str, when: float) -> None:
        """Keep the place under `scope` for a job that outlives the request."""
        self.places[scope].hold_until(when)

    def release(self) -> None:
        """Give back what ends with the request."""
        for place in self.places.values():
            place.release()
        self.places.clear()


class Throttles:
    """Every scope's counter."""

    def __init__(self, limits: Mapping[str, Limit], saw: Callable[[str, int], None]) -> None:
        """Count by these limits; `saw(scope, count)` hears how full a window is after each acceptance."""
        self._throttles: dict[str, Throttle] = {
            scope: SlidingLog(limit) if isinstance(limit, Rate) else Slots(limit)
            for scope, limit in limits.items()
        }
        self._saw = saw

    def resize(self, limits: Mapping[str, Limit]) -> None:
        """Count by other limits from now on; scopes that are not named keep theirs."""
        for scope, limit in limits.items():
            match self._throttles[scope], limit:
                case SlidingLog() as log, Rate():
                    log.rate = limit
                case Slots() as slots, Concurrent():
                    slots.limit = limit
                case _:
                    raise TypeError(f"The scope {scope!r} cannot be counted by {limit!r}.")

    def enter(self, demands: Mapping[str, str], now: float) -> Permit:
        """Ask every scope, record where it passes; raises Throttled by the one with the longest wait."""
        permit = Permit()
        refusals: list[tuple[float | None, str]] = []
        for scope, key in demands.items():
            throttle = self._throttles[scope]
            place = throttle.enter(key, now)
            if place is None:
                refusals.append((throttle.wait(key, now), scope))
            else:
                permit.places[scope] = place
                self._saw(scope, throttle.used(key))
        if refusals:
            permit.release()
            wait, scope = max(refusals, key=_known_wait)
            raise Throttled(scope, wait)
        return permit

    def window(self, scope: str, key: str, now: float) -> Window:
        """Tell how a scope stands for a key, counting nothing."""
        return self._throttles[scope].window(key, now)


def _known_wait(refusal: tuple[float | None, str]) -> tuple[float, str]:
    """Order refusals by their waits; one that knows none comes first, since every known wait is above 0."""
    wait, scope = refusal
    return (0.0 if wait is None else wait, scope)
