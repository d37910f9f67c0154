"""The sliding window with settlement: how many requests of a limit go in a time.

The upstream counts a request when it arrives, which lies somewhere between our sending it and its response
head. So a slot is in one of three states:

    granted ──sent──▶ sent ──settle, or `transit` seconds──▶ settled ──`per` seconds──▶ free
       └──refund──▶ free

Granted: not written yet, held without bound. Sent: wholly written; the upstream has counted it at the
latest `transit` seconds later. Settled: the upstream has counted it by that moment, so that one window
later it no longer does. No sum of these can put more into any window of the upstream than the limit.

What the upstream says of its own count is held against ours: it moves the size, and what it has counted
beyond ours is others' (`foreign.py`).
"""

import heapq
import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterable

from proxy.policy.feedback import Quota
from proxy.policy.foreign import CAUTIOUS, RISK, Foreign
from proxy.policy.memory import Memory
from proxy.policy.outlook import Outlook, Typical
from proxy.policy.room import Resumption, Slot
from proxy.policy.sharing import Sharing
from proxy.policy.tally import Tally
from proxy.policy.withheld import Withheld


class SlidingWindow:
    """Count at most `size` requests in any `per` seconds of the upstream's time, ours and others'.

    The upstream may move the size from `least` to `most`; `reserve` of it are always left free for others. If
    it is `shared`, what was granted may have left without our having heard of that.
    """

    def __init__(
        self,
        size: int,
        per: float,
        transit: float,
        *,
        drift: float = 0.0,
        least: int | None = None,
        most: int | None = None,
        reserve: int = 0,
        probe: bool = False,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self.resumption = Resumption(probe=probe)
        self._granted: dict[Slot, None] = {}
        self._sent: OrderedDict[Slot, float] = OrderedDict()  # -> counted by; ascending
        self._settled: deque[Slot] = deque()  # ascending by when they were counted
        self._tally = Tally()
        self._foreign = Foreign(per)
        self._sharing = Sharing(self._foreign)
        self._withheld = Withheld()
        self._until_settled = Typical()
        self._told: int | None = None
        self._told_at = -math.inf
        self.configure(size, per, transit, drift=drift, least=least, most=most, reserve=reserve)

    def configure(
        self,
        size: int,
        per: float,
        transit: float,
        *,
        drift: float = 0.0,
        least: int | None = None,
        most: int | None = None,
        reserve: int = 0,
    ) -> None:
        """Go by other settings, keeping what was spent."""
        self._bounds = (size if least is None else least, size if most is None else most)
        self._size = size if self._told is None else self._within_bounds(self._told)
        self._per = self._foreign.per = per
        self._hold = per * (1 + drift)
        self._transit = transit
        self._sharing.reserve = reserve

    def remember(self, memory: Memory, now: float) -> None:
        """Take over what was spent before a restart; what has run out since is left."""
        for age in sorted(memory.own, reverse=True):
            slot = Slot(now - age)
            slot.counted = now - max(age, -self._transit)  # not for ever, whatever became of the clock
            slot.began = slot.left = slot.counted - self._transit
            self._settled.append(slot)
            self._tally.left(slot)
            self._tally.counted(slot, self._per)
        self._foreign.remember(memory.foreign, now)
        if memory.capacity is not None:
            self._told, self._size = memory.capacity, self._within_bounds(memory.capacity)
        if memory.paused > 0:
            self.resumption.pause(now + memory.paused)
        self._advance(now)

    def __repr__(self) -> str:
        held = f"granted={len(self._granted)} sent={len(self._sent)} settled={len(self._settled)}"
        return f"<SlidingWindow {self._size} per {self._per:g} s: {held} {self._foreign!r}>"

    @property
    def capacity(self) -> int:
        return self._size

    @property
    def foreign(self) -> int:
        return len(self._foreign)

    def _advance(self, now: float) -> None:
        while self._sent:
            slot, counted_by = next(iter(self._sent.items()))
            if counted_by > now:
                break
            del self._sent[slot]
            self._settle(slot, counted_by)
        while self._settled and self._settled[0].counted + self._hold <= now:
            self._settled.popleft()
        self._withheld.advance(now)
        self._foreign.advance(now)

    def _settle(self, slot: Slot, counted: float) -> None:
        slot.counted = counted
        at = len(self._settled)
        while at and self._settled[at - 1].counted > counted:
            at -= 1
        self._settled.insert(at, slot)
        self._tally.counted(slot, self._per)
        self._until_settled.add(counted - slot.taken)

    def _under_way(self) -> int:
        return len(self._granted) + len(self._sent)

    def _own(self) -> int:
        return self._under_way() + len(self._settled) + len(self._withheld)

    def ready_at(self, now: float, *, cautious: bool = False, ahead: int = 0) -> float:
        self._advance(now)
        risk = CAUTIOUS if cautious else RISK
        spread = self._sharing.ready_at(self._size, self._per)
        free = self._free_at(now, risk, ahead)
        return max(free, self._open_at(now), spread, self.resumption.paused_until)

    def allowed(self, now: float, *, cautious: bool = False) -> int:
        self._advance(now)
        room = self._sharing.room(self._size)
        unseen = min(self._foreign.unseen(now, CAUTIOUS if cautious else RISK), room - 1)
        return max(0, room - len(self._foreign) - unseen)

    @property
    def hold(self) -> float:
        """For how many seconds what was counted holds its slot."""
        return self._hold

    @property
    def measured(self) -> bool:
        return self.resumption.most == math.inf and not self._foreign.regular

    def free_at(self, slot: Slot) -> float:
        if slot in self._granted:
            return math.inf
        if slot in self._sent:
            return self._sent[slot] + self._hold
        return slot.counted + self._hold if slot.counted < math.inf else -math.inf

    def withhold(self, name: str, count: int, until: float) -> None:
        self._withheld.withhold(name, count, until)

    @property
    def withheld(self) -> int:
        """How many slots are held for those who cannot be asked."""
        return len(self._withheld)

    def _open_at(self, now: float) -> float:
        """Return when few enough are under way; one of which nothing is heard for `transit` is no longer."""
        leaving = self._under_way() - self.resumption.most + 1
        if leaving <= 0:
            return now
        uploads = (slot.began + self._transit for slot in self._granted)
        return sorted(itertools.chain(self._sent.values(), uploads))[int(leaving) - 1]

    def _free_at(self, now: float, risk: float, ahead: int) -> float:
        """Return when there is a slot that neither we nor others have, as far as is known or to be feared."""
        held = self._own() + len(self._foreign) + ahead
        if self._fits(held, now, risk):
            return now
        for at in heapq.merge(self._releases(), self._foreign.releases(), self._withheld.releases()):
            held -= 1
            if self._fits(held, at, risk):
                return at
        return math.inf

    def _fits(self, held: int, at: float, risk: float) -> bool:
        room = self._sharing.room(self._size)
        # However much is to be feared, one goes when there is nobody in sight.
        return held + min(self._foreign.unseen(at, risk), room - 1) < room

    def _releases(self) -> Iterable[float]:
        """Return when those slots come free of which that is known, in order."""
        settled = (slot.counted + self._hold for slot in self._settled)
        sent = (counted_by + self._hold for counted_by in self._sent.values())
        return itertools.chain(settled, sent)

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back.

        What is under way settles as soon as others did, and who comes regularly goes on to do so.
        """
        self._advance(now)
        lag = min(self._until_settled.seconds, self._transit)
        releases = [slot.counted + self._hold for slot in self._settled]
        releases += [
            min(max(slot.taken + lag, now), counted_by) + self._hold
            for slot, counted_by in self._sent.items()
        ]
        releases += [max(slot.taken + lag, now) + self._hold for slot in self._granted]
        releases += self._withheld.releases()
        releases += self._foreign.releases()[: max(0, len(self._foreign) - self._foreign.regular)]
        lasting = self._sharing.lasting(self._size)
        return Outlook(lasting, lag + self._hold, releases, self.resumption.paused_until)

    def take(self, now: float) -> Slot:
        slot = Slot(now)
        self._granted[slot] = None
        self._sharing.took(now, self._size, self._per)
        return slot

    def began(self, slot: Slot, now: float) -> None:
        slot.began = now

    def sent(self, slot: Slot, now: float) -> None:
        self._advance(now)
        if slot in self._granted:
            del self._granted[slot]
            self._sent[slot] = now + self._transit
            self._leaves(slot, now)

    def _leaves(self, slot: Slot, now: float) -> None:
        slot.left = now
        self._tally.left(slot)

    def settle(self, slot: Slot, now: float) -> None:
        self._advance(now)
        if slot in self._granted or slot in self._sent:
            if slot in self._granted:  # answered before it was sent wholly
                del self._granted[slot]
                self._leaves(slot, now)
            self._sent.pop(slot, None)
            self._settle(slot, now)
        self.resumption.answered(slot, self._size)

    def refused(self, slot: Slot, now: float) -> None:
        """Give its slot back: DRF records what it accepts (`SimpleRateThrottle.throttle_failure`)."""
        self._advance(now)
        self._granted.pop(slot, None)
        self._sent.pop(slot, None)
        if slot in self._settled:
            self._settled.remove(slot)
        self._tally.refused(slot)
        slot.left = min(slot.left, now)
        slot.counted = math.inf

    def refund(self, slot: Slot) -> None:
        self._granted.pop(slot, None)

    def release(self, slot: Slot, now: float) -> None:
        """Change nothing: a window counts starts, not durations."""

    def learn(self, slot: Slot, quota: Quota, now: float) -> None:
        """Take over what the response to this one says: the size, and what was counted when it arrived.

        What was overtaken says nothing any more.
        """
        self._advance(now)
        if quota.limit is not None and slot.left > self._told_at:
            self._told_at, self._told = slot.left, quota.limit
            self._size = self._within_bounds(quota.limit)
            if quota.remaining is not None:
                self._compare(slot, max(0, quota.limit - quota.remaining), now)
                if quota.reset_in is not None:
                    self._oldest_leaves(now + quota.reset_in)

    def _compare(self, slot: Slot, counted: int, now: float) -> None:
        """Hold what the upstream had counted when this one arrived against what can be ours."""
        ours = self._tally.when_arrived(slot, now, self._per, self._transit)
        if ours is not None:
            at_least, at_most = ours
            at_most += sum(self._shared or slot.began < math.inf for slot in self._granted)
            self._foreign.count(counted - at_most, counted - at_least, now, slot.left)

    def _within_bounds(self, size: int) -> int:
        least, most = self._bounds
        return min(max(size, least), most)

    def _oldest_leaves(self, at: float) -> None:
        """Note when the oldest that it counts leaves: one of others', unless one of ours may be as old."""
        if not self._settled or self._settled[0].earliest + self._per > at:
            self._foreign.first_leaves(at)

    def remaining(self, now: float) -> int:
        self._advance(now)
        if self.resumption.paused_until > now:
            return 0
        return max(0, self._size - self._sharing.reserve - self._own() - len(self._foreign))

    def idle(self, now: float) -> bool:
        self._advance(now)
        return not (self._own() or self._foreign) and self.resumption.paused_until <= now

    def memory(self, now: float) -> Memory:
        """Return what was spent; what is under way will have been counted within `transit` of now."""
        self._advance(now)
        own = [now - slot.counted for slot in self._settled] + [-self._transit] * self._under_way()
        paused = max(0.0, self.resumption.paused_until - now)
        return Memory(tuple(own), self._foreign.ages(now), self._told, paused)
