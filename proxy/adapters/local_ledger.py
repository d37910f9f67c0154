"""What has been spent, kept in this process: the ledger of a proxy that shares its budget with nobody.

All lanes of a request are decided together: a slot is taken in each of them, or in none.
"""

from collections.abc import Iterable

from proxy.clock import Clock
from proxy.config import Limit
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.outlook import Outlook
from proxy.policy.window import AtOnce, Room, SlidingWindow, Slot
from proxy.turn import Busy, Freed, Grant


class LocalGrant:
    """A slot in every lane of one request."""

    __slots__ = ("lanes", "slots")

    def __init__(self, lanes: Lanes, slots: tuple[tuple[Room, Slot], ...]) -> None:
        self.lanes = lanes
        self.slots = slots


class LocalLedger:
    """Keep a window or a count for every lane in use.

    `transit` is in seconds (`upstream.transit`); `clock_drift` in seconds per second lengthens each window,
    as the upstream's clock may run slower than ours.
    """

    def __init__(self, limits: LimitTable, clock: Clock, *, transit: float, clock_drift: float) -> None:
        self._limits = limits
        self._clock = clock
        self._transit = transit
        self._stretch = 1 + clock_drift
        self._rooms: dict[Lane, Room] = {}
        self._sweep_at = 1024
        self._freed: Freed = lambda lanes: None

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` with the lanes in which room may have come earlier than said before."""
        self._freed = freed

    def _room(self, lane: Lane) -> Room:
        room = self._rooms.get(lane)
        if room is None:
            if len(self._rooms) >= self._sweep_at:
                self._sweep()
            room = self._rooms[lane] = self._make(self._limits.by_name[lane.limit])
        return room

    def _make(self, limit: Limit) -> Room:
        if limit.per is None:
            return AtOnce(limit.size)
        return SlidingWindow(limit.size, limit.per * self._stretch, self._transit)

    def _sweep(self) -> None:
        """Forget lanes that remember nothing, so that memory follows the credentials in use."""
        now = self._clock.now()
        self._rooms = {lane: room for lane, room in self._rooms.items() if not room.idle(now)}
        self._sweep_at = max(1024, 2 * len(self._rooms))

    async def take(self, lanes: Lanes) -> Grant | Busy:
        now = self._clock.now()
        rooms = [self._room(lane) for lane in lanes]
        for lane, room in zip(lanes, rooms, strict=True):
            if (at := room.ready_at(now)) > now:
                return Busy(lane, at)
        return LocalGrant(lanes, tuple((room, room.take(now)) for room in rooms))

    def sent(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.sent(slot, now)

    async def settle(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.settle(slot, now)
        self._freed(grant.lanes)

    async def refund(self, grant: Grant) -> None:
        for room, slot in self._slots(grant):
            room.refund(slot)
        self._freed(grant.lanes)

    async def release(self, grant: Grant) -> None:
        now = self._clock.now()
        for room, slot in self._slots(grant):
            room.release(slot, now)
        self._freed(grant.lanes)

    async def pause(self, lane: Lane, until: float) -> None:
        self._room(lane).pause(until)

    def outlook(self, lane: Lane) -> Outlook:
        return self._room(lane).outlook(self._clock.now())

    def lanes(self) -> Iterable[tuple[Lane, int, float]]:
        now = self._clock.now()
        for lane, room in self._rooms.items():
            yield lane, room.remaining(now), max(0.0, room.paused_until() - now)

    @staticmethod
    def _slots(grant: Grant) -> tuple[tuple[Room, Slot], ...]:
        assert isinstance(grant, LocalGrant)
        return grant.slots
