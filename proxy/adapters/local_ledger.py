"""What has been spent, kept in this process: the ledger of a proxy that shares its budget with nobody.

All lanes of a request are decided together: a slot is taken in each of them, or in none.
"""

from collections.abc import Callable, Iterable, Mapping

from proxy.adapters.rooms import Held, Room, Rooms, Unguarded
from proxy.clock import Clock
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.memory import Memory
from proxy.policy.outlook import Outlook
from proxy.policy.room import Slot
from proxy.turn import Busy, Freed, Grant, LaneState, Learned, News

Taken = Callable[[Lanes, float], None]


class LocalLedger(Unguarded):
    """Keep the rooms (`rooms.py`) by this process' clock."""

    def __init__(
        self, limits: LimitTable, clock: Clock, *, transit: float, clock_drift: float, probe: bool
    ) -> None:
        self._clock = clock
        self._rooms = Rooms(limits, transit=transit, clock_drift=clock_drift, probe=probe)
        self._freed: Freed = lambda lanes: None
        self._changed: Callable[[], None] = lambda: None
        self._taken: Taken = lambda lanes, counted_in: None

    def configure(self, limits: LimitTable, *, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        self._rooms.configure(limits, transit=transit, clock_drift=clock_drift)
        self._freed(self._rooms.lanes())

    def on_changed(self, changed: Callable[[], None], taken: Taken) -> None:
        """Call `changed` whenever something was learned; call `taken` before what was taken can be sent.

        The latter is told the seconds in which the upstream has counted it at the latest.
        """
        self._changed, self._taken = changed, taken

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` with the lanes in which room may have come earlier than said before."""
        self._freed = freed

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        now = self._clock.now()
        for lane in lanes:
            if (at := self._rooms.room(lane, now).ready_at(now, cautious=cautious)) > now:
                return Busy(lane, at)
        grant = self._rooms.take(lanes, now)
        self._taken(lanes, self._rooms.transit)
        return grant

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
        assert isinstance(grant, Held)
        learned = self._rooms.settle(grant, news, self._clock.now())
        self._changed()
        self._freed(grant.lanes)
        return learned

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
        now = self._clock.now()
        self._rooms.room(lane, now).resumption.pause(now + seconds)

    def capacity(self, lane: Lane) -> int:
        return self._rooms.room(lane, self._clock.now()).capacity

    def outlook(self, lane: Lane) -> Outlook:
        now = self._clock.now()
        return self._rooms.room(lane, now).outlook(now)

    def lanes(self) -> Iterable[LaneState]:
        return self._rooms.states(self._clock.now())

    def memories(self) -> Mapping[Lane, Memory]:
        """Return what is worth knowing after a restart, of each lane."""
        return self._rooms.memories(self._clock.now())

    def remember(self, memories: Mapping[Lane, Memory]) -> None:
        """Take over what was known before a restart; of lanes whose limit is gone, nothing."""
        self._rooms.remember(memories, self._clock.now())

    @staticmethod
    def _slots(grant: Grant) -> tuple[tuple[Room, Slot], ...]:
        assert isinstance(grant, Held)
        return grant.slots
