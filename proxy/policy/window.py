"""What a limit has left: the sliding window with settlement, and the "at once" limit.

The upstream counts a request when it arrives, which lies somewhere between our sending it and its response
head. So a slot is in one of three states:

    granted ──sent──▶ sent ──settle, or `transit` seconds──▶ settled ──`per` seconds──▶ free
       └──refund──▶ free

Granted: not written yet, held without bound. Sent: wholly written; the upstream has counted it at the
latest `transit` seconds later. Settled: the upstream has counted it by that moment, so that one window
later it no longer does. No sum of these can put more into any window of the upstream than the limit.
All times are `Clock.now` seconds, handed in, and never go backwards.
"""

import math
from collections import OrderedDict, deque
from typing import Protocol

from proxy.policy.outlook import Outlook, Typical


class Slot:
    """One place in a limit, taken at a time; told apart by identity."""

    __slots__ = ("taken",)

    def __init__(self, taken: float) -> None:
        self.taken = taken


class Room(Protocol):
    """What a limit of either kind can be asked, for one key."""

    def ready_at(self, now: float) -> float:
        """Return when one slot can be taken: `now`, a later time, or inf if that depends on others."""

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back."""

    def take(self, now: float) -> Slot:
        """Take a slot; call only when `ready_at` said now."""

    def sent(self, slot: Slot, now: float) -> None:
        """Note that the last byte was written."""

    def settle(self, slot: Slot, now: float) -> None:
        """Note that the upstream has counted it."""

    def refund(self, slot: Slot) -> None:
        """Give back a slot of which nothing was written."""

    def release(self, slot: Slot, now: float) -> None:
        """Note that the exchange is over."""

    def pause(self, until: float) -> None:
        """Grant nothing before `until`; a pause in force is never shortened."""

    def paused_until(self) -> float:
        """Return the end of the latest pause; -inf if there was none."""

    def remaining(self, now: float) -> int:
        """Return how many could be taken now."""

    def idle(self, now: float) -> bool:
        """Tell whether nothing is remembered, so that it can be forgotten."""


class _Pausable:
    _pause_end = -math.inf

    def pause(self, until: float) -> None:
        self._pause_end = max(self._pause_end, until)

    def paused_until(self) -> float:
        return self._pause_end


class SlidingWindow(_Pausable):
    """Count at most `size` requests in any `per` seconds of the upstream's time."""

    def __init__(self, size: int, per: float, transit: float) -> None:
        self._size = size
        self._per = per
        self._transit = transit
        self._granted: set[Slot] = set()
        self._sent: OrderedDict[Slot, float] = OrderedDict()  # -> counted by; ascending
        self._free_at: deque[float] = deque()  # of settled slots; ascending
        self._until_settled = Typical()

    def __repr__(self) -> str:
        held = f"granted={len(self._granted)} sent={len(self._sent)} settled={len(self._free_at)}"
        return f"<SlidingWindow {self._size} per {self._per:g} s: {held}>"

    def _advance(self, now: float) -> None:
        while self._sent:
            slot, counted_by = next(iter(self._sent.items()))
            if counted_by > now:
                break
            del self._sent[slot]
            self._free_at.append(counted_by + self._per)
            self._until_settled.add(counted_by - slot.taken)
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()

    def _held(self) -> int:
        return len(self._granted) + len(self._sent) + len(self._free_at)

    def _release_at(self, nth: int) -> float:
        """Return when the nth of the held slots (from 1, in the order of release) comes free."""
        if nth <= len(self._free_at):
            return self._free_at[nth - 1]
        nth -= len(self._free_at)
        if nth <= len(self._sent):
            return list(self._sent.values())[nth - 1] + self._per
        return math.inf

    def ready_at(self, now: float) -> float:
        self._advance(now)
        missing = self._held() + 1 - self._size
        return max(now if missing <= 0 else self._release_at(missing), self._pause_end)

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back: what is under way settles as soon as others did."""
        self._advance(now)
        lag = min(self._until_settled.seconds, self._transit)
        releases = list(self._free_at)
        releases += [
            min(max(slot.taken + lag, now), counted_by) + self._per for slot, counted_by in self._sent.items()
        ]
        releases += [max(slot.taken + lag, now) + self._per for slot in self._granted]
        return Outlook(self._size, lag + self._per, releases, self._pause_end)

    def take(self, now: float) -> Slot:
        slot = Slot(now)
        self._granted.add(slot)
        return slot

    def sent(self, slot: Slot, now: float) -> None:
        self._advance(now)
        if slot in self._granted:
            self._granted.remove(slot)
            self._sent[slot] = now + self._transit

    def settle(self, slot: Slot, now: float) -> None:
        self._advance(now)
        if slot in self._granted or slot in self._sent:
            self._granted.discard(slot)
            self._sent.pop(slot, None)
            self._free_at.append(now + self._per)
            self._until_settled.add(now - slot.taken)

    def refund(self, slot: Slot) -> None:
        self._granted.discard(slot)

    def release(self, slot: Slot, now: float) -> None:
        """Change nothing: a window counts starts, not durations."""

    def remaining(self, now: float) -> int:
        self._advance(now)
        return 0 if self._pause_end > now else max(0, self._size - self._held())

    def idle(self, now: float) -> bool:
        self._advance(now)
        return not self._held() and self._pause_end <= now


class AtOnce(_Pausable):
    """Let at most `size` requests be under way at the same time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: set[Slot] = set()
        self._until_released = Typical()

    def __repr__(self) -> str:
        return f"<AtOnce {len(self._held)} of {self._size}>"

    def ready_at(self, now: float) -> float:
        return max(now, self._pause_end) if len(self._held) < self._size else math.inf

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back: when what holds them takes as long as others did."""
        typical = self._until_released.seconds
        releases = [max(slot.taken + typical, now) for slot in self._held]
        return Outlook(self._size, typical, releases, self._pause_end)

    def take(self, now: float) -> Slot:
        slot = Slot(now)
        self._held.add(slot)
        return slot

    def sent(self, slot: Slot, now: float) -> None:
        """Change nothing: only the end of the exchange counts."""

    def settle(self, slot: Slot, now: float) -> None:
        """Change nothing: only the end of the exchange counts."""

    def refund(self, slot: Slot) -> None:
        self._held.discard(slot)

    def release(self, slot: Slot, now: float) -> None:
        if slot in self._held:
            self._held.remove(slot)
            self._until_released.add(now - slot.taken)

    def remaining(self, now: float) -> int:
        return 0 if self._pause_end > now else self._size - len(self._held)

    def idle(self, now: float) -> bool:
        return not self._held and self._pause_end <= now
