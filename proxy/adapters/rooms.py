"""The rooms of all lanes in use, and what becomes of a slot in each: a count at a time that is handed in.

The ledger of one process keeps one of these by its own clock (`local_ledger.py`); replicas that share a
budget each keep one by the store's (`book.py`).
"""

from collections.abc import Iterable, Mapping

from proxy.config import Limit
from proxy.policy.at_once import AtOnce
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.memory import Memory
from proxy.policy.room import Slot
from proxy.policy.window import SlidingWindow
from proxy.turn import Grant, LaneState, Learned, News

Room = SlidingWindow | AtOnce

_NOTHING_KNOWN = Memory()


class Held:
    """A slot in every lane of one request."""

    __slots__ = ("lanes", "slots")

    def __init__(self, lanes: Lanes, slots: tuple[tuple[Room, Slot], ...]) -> None:
        self.lanes = lanes
        self.slots = slots

    def slot(self, lane: Lane) -> Slot:
        """Return the slot in one of its lanes."""
        return self.slots[self.lanes.index(lane)][1]

    @property
    def at_once(self) -> list[Lane]:
        """The lanes in which it is held until its end."""
        rooms = (room for room, _ in self.slots)
        return [lane for lane, room in zip(self.lanes, rooms, strict=True) if isinstance(room, AtOnce)]


class Rooms:
    """Keep a window or a count for every lane in use.

    `transit` is in seconds (`upstream.transit`); `clock_drift` in seconds per second lengthens each window,
    as the upstream's clock may run slower than ours. With `probe` the first request of a lane goes alone, as
    what was spent before is not known. `shared`, with others who spend from them.
    """

    def __init__(
        self, limits: LimitTable, *, transit: float, clock_drift: float, probe: bool, shared: bool = False
    ) -> None:
        self._probe = probe
        self._shared = shared
        self._limits: dict[str, Limit] = {}
        self._rooms: dict[Lane, Room] = {}
        self._sweep_at = 1024
        self.configure(limits, transit=transit, clock_drift=clock_drift)

    def configure(self, limits: LimitTable, *, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        self._limits |= limits.by_name  # who waits for one that is gone still does
        self.transit = transit
        self._drift = clock_drift
        for lane, room in list(self._rooms.items()):
            limit = self._limits[lane.limit]
            if isinstance(room, AtOnce) == (limit.per is None):
                self._configure(room, limit)
            else:
                del self._rooms[lane]

    def __contains__(self, lane: Lane) -> bool:
        return lane.limit in self._limits

    def room(self, lane: Lane, now: float) -> Room:
        """Return a lane's room, made when it is first asked for."""
        room = self._rooms.get(lane)
        if room is None:
            if len(self._rooms) >= self._sweep_at:
                self._sweep(now)
            room = self._rooms[lane] = self._make(self._limits[lane.limit])
        return room

    def _make(self, limit: Limit) -> Room:
        if limit.per is None:
            return AtOnce(limit.size)
        window = SlidingWindow(limit.size, limit.per, self.transit, probe=self._probe, shared=self._shared)
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
            self.transit,
            drift=self._drift,
            least=least,
            most=most,
            reserve=limit.reserve,
        )

    def _sweep(self, now: float) -> None:
        """Forget lanes that remember nothing, so that memory follows the credentials in use."""
        self._rooms = {lane: room for lane, room in self._rooms.items() if not room.idle(now)}
        self._sweep_at = max(1024, 2 * len(self._rooms))

    def take(self, lanes: Lanes, now: float) -> Held:
        """Take a slot in every lane, whether there is room or not."""
        return Held(lanes, tuple((room, room.take(now)) for room in (self.room(lane, now) for lane in lanes)))

    def settle(self, held: Held, news: News, now: float) -> Learned:
        """Note that the upstream has counted a request, but where it refused, and what it says."""
        paused, anew = 0.0, False
        quotas = dict(news.quotas)
        resumed: list[Lane] = []
        moved: list[tuple[Lane, int]] = []
        foreign: list[tuple[Lane, int]] = []
        for lane, (room, slot) in zip(held.lanes, held.slots, strict=True):
            before = room.capacity, room.foreign, room.resumption.refusals
            if lane == news.refused:
                room.refused(slot, now)
                paused = room.resumption.refused(slot, now, news.pause, news.longest)
                anew = room.resumption.refusals > before[2]
            else:
                room.settle(slot, now)
                if room.resumption.refusals < before[2]:
                    resumed.append(lane)
            if (quota := quotas.get(lane)) is not None:
                room.learn(slot, quota, now)
            if room.capacity != before[0]:
                moved.append((lane, room.capacity))
            if room.foreign > before[1]:
                foreign.append((lane, room.foreign - before[1]))
        return Learned(paused, tuple(moved), tuple(foreign), anew, tuple(resumed))

    def lanes(self) -> tuple[Lane, ...]:
        """Return every lane in use."""
        return tuple(self._rooms)

    def states(self, now: float) -> Iterable[LaneState]:
        """Yield how it stands with every lane in use."""
        for lane, room in self._rooms.items():
            paused = max(0.0, room.resumption.paused_until - now)
            yield LaneState(lane, room.capacity, room.remaining(now), room.foreign, paused)

    def memories(self, now: float) -> Mapping[Lane, Memory]:
        """Return what is worth knowing after a restart, of each lane."""
        memories = ((lane, room.memory(now)) for lane, room in self._rooms.items())
        return {lane: memory for lane, memory in memories if memory != _NOTHING_KNOWN}

    def remember(self, memories: Mapping[Lane, Memory], now: float) -> None:
        """Take over what was known before a restart; of lanes whose limit is gone, nothing."""
        for lane, memory in memories.items():
            if lane in self:
                self.room(lane, now).remember(memory, now)


class Unguarded:
    """What a ledger that only counts says of failures: what the upstream refuses or counts is none."""

    def judged(self, grant: Grant, *, failed: bool, retry_after: float | None = None) -> None:
        """Change nothing."""

    def probes(self, grant: Grant) -> bool:
        return False

    def is_broken(self, lanes: Lanes) -> bool:
        return False
