"""A ledger that lets nothing through to an upstream that fails.

It stands before the ledger that counts. The last lane of a request may be that of a breaker
(`policy/groups.py`): held by it, a request waits in line as for a limit, and a probe is granted as a slot is.
"""

import math
from collections.abc import Callable, Iterable

from proxy.clock import Clock
from proxy.policy.breaker import Permit, State
from proxy.policy.groups import BREAKER, Groups, Health
from proxy.policy.limits import Lane, Lanes
from proxy.policy.outlook import Outlook
from proxy.turn import Busy, Freed, Grant, LaneState, Learned, Ledger, News

_MANY = 1_000_000
"""Slots of a breaker that lets go: more than ever wait."""

_UNTIL_CLOSED = 30.0
"""Seconds after which a breaker that was opened by hand is supposed to be closed again."""


class _Guarded:
    """What the ledger granted, and the breaker's leave."""

    __slots__ = ("granted", "health", "lanes", "permit")

    def __init__(self, lanes: Lanes, granted: Grant, health: Health, permit: Permit) -> None:
        self.lanes = lanes
        self.granted = granted
        self.health = health
        self.permit = permit


class Guard:
    """Ask the breaker of a request before the ledger; `told` hears of each change of a breaker's state."""

    def __init__(
        self, ledger: Ledger, groups: Groups, clock: Clock, told: Callable[[str, State], None]
    ) -> None:
        self._ledger = ledger
        self._groups = groups
        self._clock = clock
        self._told = told
        self._last: dict[str, State] = {}
        self._freed: Freed = lambda lanes: None

    def on_freed(self, freed: Freed) -> None:
        self._freed = freed
        self._ledger.on_freed(freed)

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        health, now = self._groups.named(lanes[-1].key), self._clock.now()
        if (at := health.breaker.ready_at(now)) > now:
            return Busy(health.lane, at)
        # Before the ledger is asked, which may take time: else two could go as the one probe.
        permit = health.breaker.take(now)
        try:
            granted = await self._ledger.take(lanes[:-1], cautious=cautious)
        except BaseException:  # who asked may have left while the ledger was asked
            health.breaker.abandon(permit, self._clock.now())
            self._freed((health.lane,))
            raise
        if isinstance(granted, Busy):
            health.breaker.abandon(permit, self._clock.now())
            return granted
        self._changed(health)
        return _Guarded(lanes, granted, health, permit)

    def began(self, grant: Grant) -> None:
        self._ledger.began(_own(grant).granted)

    def sent(self, grant: Grant) -> None:
        self._ledger.sent(_own(grant).granted)

    async def settle(self, grant: Grant, news: News) -> Learned:
        return await self._ledger.settle(_own(grant).granted, news)

    async def refund(self, grant: Grant) -> None:
        own = _own(grant)
        own.health.breaker.abandon(own.permit, self._clock.now())
        await self._ledger.refund(own.granted)
        self._freed((own.health.lane,))

    async def release(self, grant: Grant) -> None:
        own = _own(grant)
        own.health.breaker.abandon(own.permit, self._clock.now())  # if it was not judged
        await self._ledger.release(own.granted)
        if own.permit.probe:
            self._freed((own.health.lane,))

    async def pause(self, lane: Lane, seconds: float) -> None:
        await self._ledger.pause(lane, seconds)

    def judged(self, grant: Grant, *, failed: bool, retry_after: float | None = None) -> None:
        own, now = _own(grant), self._clock.now()
        if failed:
            own.health.breaker.failed(own.permit, now, retry_after=retry_after)
        else:
            own.health.breaker.succeeded(own.permit, now)
        self._changed(own.health)

    def force(self, name: str, *, opened: bool) -> None:
        """Open or close a breaker by hand. Raises KeyError if there is none of that name."""
        health, now = self._groups.named(name), self._clock.now()
        if opened:
            health.breaker.force_open(now)
        else:
            health.breaker.force_close(now)
        self._changed(health)

    def _changed(self, health: Health) -> None:
        state = health.breaker.state
        if state != self._last.get(health.name, "closed"):
            self._last[health.name] = state
            self._told(health.name, state)
            self._freed((health.lane,))

    def probes(self, grant: Grant) -> bool:
        return _own(grant).permit.probe

    def is_broken(self, lanes: Lanes) -> bool:
        return self._groups.named(lanes[-1].key).breaker.state != "closed"

    def capacity(self, lane: Lane) -> int:
        return self._ledger.capacity(lane)

    def outlook(self, lane: Lane) -> Outlook:
        if lane.limit != BREAKER:
            return self._ledger.outlook(lane)
        now = self._clock.now()
        ready = self._groups.named(lane.key).breaker.ready_at(now)
        return Outlook(_MANY, 0.0, (), now + _UNTIL_CLOSED if ready == math.inf else ready)

    def lanes(self) -> Iterable[LaneState]:
        return self._ledger.lanes()


def _own(grant: Grant) -> _Guarded:
    assert isinstance(grant, _Guarded)
    return grant
