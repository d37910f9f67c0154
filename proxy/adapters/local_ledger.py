"""What has been spent, kept in this process: the ledger of a proxy that shares its budget with nobody.

All lanes of a request are decided together: a slot is taken in each of them, or in none.
"""

from collections.abc import Callable, Iterable, Mapping

from proxy.clock import Clock
from proxy.config import Limit
from proxy.policy.at_once import AtOnce
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.memory import Memory
from proxy.policy.outlook import Outlook
from proxy.policy.room import Slot
from proxy.policy.window import SlidingWindow
from proxy.turn import Busy, Freed, Grant, LaneState, Learned, News

Room = SlidingWindow | AtOnce

_NOTHING_KNOWN = Memory()


class LocalGrant:
    """A slot in every lane of one request."""

    __slots__ = ("lanes", "slots")

    def __init__(self, lanes: Lanes, slots: tuple[tuple[Room, Slot], ...]) -> None:
        self.lanes = lanes
        self.slots = slots


class LocalLedger:
    """Keep a window or a count for every lane in use.

    `transit` is in seconds (`upstream.transit`); `clock_drift` in seconds per second lengthens each window,
    as the upstream's clock may run slower than ours. With `probe` the first request of a lane goes alone, as
    what was spent before is not known.
    """

    def __init__(
        self, limits: LimitTable, clock: Clock, *, transit: float, clock_drift: float, probe: bool
    ) -> None:
        self._clock = clock
        self._probe = probe
        self._limits: dict[str, Limit] = {}
        self._rooms: dict[Lane, Room] = {}
        self._sweep_at = 1024
        self._freed: Freed = lambda lanes: None
        self._changed: Callable[[], None] = lambda: None
        self.configure(limits, transit=transit, clock_drift=clock_drift)

    def configure(self, limits: LimitTable, *, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        self._limits |= limits.by_name  # who waits for one that is gone still does
        self._transit = transit
        self._drift = clock_drift
        for lane, room in list(self._rooms.items()):
            limit = self._limits[lane.limit]
            if isinstance(room, AtOnce) == (limit.per is None):
                self._configure(room, limit)
            else:
                del self._rooms[lane]
        self._freed(tuple(self._rooms))

    def on_changed(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever something was spent or learned."""
        self._changed = changed

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` with the lanes in which room may have come earlier than said before."""
        self._freed = freed

    def _room(self, lane: Lane) -> Room:
        room = self._rooms.get(lane)
        if room is None:
            if len(self._rooms) >= self._sweep_at:
                self._sweep()
            room = self._rooms[lane] = self._make(self._limits[lane.limit])
        return room

    def _make(self, limit: Limit) -> Room:
        if limit.per is None:
            return AtOnce(limit.size)
        window = SlidingWindow(limit.size, limit.per, self._transit, probe=self._probe)
        self._configure(window, limit)
        return window

    def _configure(self, room: Room, limit: Limit) -> None:
        if isinstance(room, AtOnce):
            room.configure(limit.size)
            return
        assert limit.per is not None
        least, most = limit.bounds
        room.configure(
            limit.size,
            limit.per,
            self._transit,
            drift=self._drift,
            least=least,
            most=most,
            reserve=limit.reserve,
        )

    def _sweep(self) -> None:
        """Forget lanes that remember nothing, so that memory follows the credentials in use."""
        now = self._clock.now()
        self._rooms = {lane: room for lane, room in self._rooms.items() if not room.idle(now)}
        self._sweep_at = max(1024, 2 * len(self._rooms))

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        now = self._clock.now()
        rooms = [self._room(lane) for lane in lanes]
        for lane, room in zip(lanes, rooms, strict=True):
            if (at := room.ready_at(now, cautious=cautious)) > now:
                return Busy(lane, at)
        self._changed()
        return LocalGrant(lanes, tuple((room, room.take(now)) for room in rooms))

    def began(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.began(slot, now)

    def sent(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.sent(slot, now)
        self._freed(grant.lanes)  # that a slot comes back, and when, was not known before

    async def settle(self, grant: Grant, news: News) -> Learned:
        now, paused = self._clock.now(), 0.0
        quotas = dict(news.quotas)
        moved: list[tuple[Lane, int]] = []
        foreign: list[tuple[Lane, int]] = []
        for lane, (room, slot) in zip(grant.lanes, self._slots(grant), strict=True):
            before = room.capacity, room.foreign
            if lane == news.refused:
                room.refused(slot, now)
                paused = room.resumption.refused(slot, now, news.pause, news.longest)
            else:
                room.settle(slot, now)
            if (quota := quotas.get(lane)) is not None:
                room.learn(slot, quota, now)
            if room.capacity != before[0]:
                moved.append((lane, room.capacity))
            if room.foreign > before[1]:
                foreign.append((lane, room.foreign - before[1]))
        self._changed()
        self._freed(grant.lanes)
        return Learned(paused, tuple(moved), tuple(foreign))

    async def refund(self, grant: Grant) -> None:
        for room, slot in self._slots(grant):
            room.refund(slot)
        self._freed(grant.lanes)

    async def release(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.release(slot, now)
        self._freed(grant.lanes)

    async def pause(self, lane: Lane, seconds: float) -> None:
        self._room(lane).resumption.pause(self._clock.now() + seconds)

    def judged(self, grant: Grant, *, failed: bool, retry_after: float | None = None) -> None:
        """Change nothing: what the upstream refuses or counts is no failure."""

    def probes(self, grant: Grant) -> bool:
        return False

    def is_broken(self, lanes: Lanes) -> bool:
        return False

    def capacity(self, lane: Lane) -> int:
        return self._room(lane).capacity

    def outlook(self, lane: Lane) -> Outlook:
        return self._room(lane).outlook(self._clock.now())

    def lanes(self) -> Iterable[LaneState]:
        now = self._clock.now()
        for lane, room in self._rooms.items():
            paused = max(0.0, room.resumption.paused_until - now)
            yield LaneState(lane, room.capacity, room.remaining(now), room.foreign, paused)

    def memories(self) -> Mapping[Lane, Memory]:
        """Return what is worth knowing after a restart, of each lane."""
        now = self._clock.now()
        memories = ((lane, room.memory(now)) for lane, room in self._rooms.items())
        return {lane: memory for lane, memory in memories if memory != _NOTHING_KNOWN}

    def remember(self, memories: Mapping[Lane, Memory]) -> None:
        """Take over what was known before a restart; of lanes whose limit is gone, nothing."""
        now = self._clock.now()
        for lane, memory in memories.items():
            if lane.limit in self._limits:
                self._room(lane).remember(memory, now)

    @staticmethod
    def _slots(grant: Grant) -> tuple[tuple[Room, Slot], ...]:
        assert isinstance(grant, LocalGrant)
        return grant.slots
