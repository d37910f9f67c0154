"""Before the ledger stands the breaker: what it holds waits as for a limit, and what it lets go is judged."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from proxy.adapters.guard import Guard
from proxy.adapters.local_ledger import LocalLedger
from proxy.config import Breaker, Limit, Retry
from proxy.policy.groups import Groups
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.turn import NOTHING, Busy, Grant, LaneState
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import request

ONE = Limit(name="one", requests=1, per=10.0)
BREAKER = Lane("breaker", "upstream")
LANES: Lanes = (Lane("one", "team"), BREAKER)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.table = LimitTable([ONE])
        self.groups = Groups(Breaker(failures=2, interval=5.0), Retry())
        self.changes: list[tuple[str, str]] = []
        self.freed: list[Lanes] = []
        self.ledger = LocalLedger(self.table, self.clock, transit=1.0, clock_drift=0.0, probe=False)
        self.guard = Guard(
            self.ledger, self.groups, self.clock, lambda group, state: self.changes.append((group, state))
        )
        self.guard.on_freed(self.freed.append)

    async def take(self, lanes: Lanes = (BREAKER,)) -> Grant:
        grant = await self.guard.take(lanes)
        assert not isinstance(grant, Busy)
        return grant

    async def fail(self) -> None:
        grant = await self.take()
        self.guard.judged(grant, failed=True)
        await self.guard.release(grant)

    async def open(self) -> None:
        for _ in range(2):
            await self.fail()


def in_a_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on a virtual loop."""

    def run() -> None:
        async def main() -> None:
            await test(World())

        run_virtual(main())

    run.__name__ = test.__name__
    return run


@in_a_world
async def test_what_the_breaker_holds_takes_nothing_from_the_ledger(world: World) -> None:
    await world.open()
    assert await world.guard.take(LANES) == Busy(BREAKER, 5.0)
    assert list(world.guard.lanes()) == []
    assert world.changes == [("upstream", "open")]
    assert world.guard.is_broken(LANES)


@in_a_world
async def test_where_the_ledger_has_no_room_the_breakers_leave_is_given_back(world: World) -> None:
    await world.take(LANES)
    await world.open()
    await asyncio.sleep(5.0)
    for _ in range(3):
        held = await world.guard.take(LANES)
        assert isinstance(held, Busy)
        assert held.lane == LANES[0]
    assert world.guard.probes(await world.take()), "one goes as a probe that needs no limit"


@in_a_world
async def test_a_probe_that_succeeds_closes_it_and_wakes_those_who_wait(world: World) -> None:
    await world.open()
    await asyncio.sleep(5.0)
    probe = await world.take()
    assert world.guard.probes(probe)
    assert await world.guard.take((BREAKER,)) == Busy(BREAKER, 10.0)
    world.freed.clear()
    world.guard.judged(probe, failed=False)
    await world.guard.release(probe)
    assert [state for _, state in world.changes] == ["open", "half_open", "closed"]
    assert (BREAKER,) in world.freed
    assert not world.guard.is_broken(LANES)
    assert not world.guard.probes(await world.take())


@in_a_world
async def test_a_probe_that_was_never_sent_is_followed_by_another(world: World) -> None:
    await world.open()
    await asyncio.sleep(5.0)
    await world.guard.refund(await world.take())
    assert world.guard.probes(await world.take())


@in_a_world
async def test_a_grant_goes_through_to_the_ledger(world: World) -> None:
    grant = await world.take(LANES)
    assert grant.lanes == LANES
    world.guard.began(grant)
    world.guard.sent(grant)
    assert (await world.guard.settle(grant, NOTHING)).paused == 0.0
    await world.guard.pause(LANES[0], 7.0)
    assert list(world.guard.lanes()) == [LaneState(LANES[0], 1, 0, 0, 7.0)]
    assert world.guard.capacity(LANES[0]) == 1
    assert world.guard.outlook(LANES[0]).ready() == 10.0


@in_a_world
async def test_opened_by_hand_it_is_supposed_to_be_closed_soon(world: World) -> None:
    assert world.guard.outlook(BREAKER).ready() == 0.0
    world.guard.force("upstream", opened=True)
    assert await world.guard.take(LANES) == Busy(BREAKER, math.inf)
    assert world.guard.outlook(BREAKER).ready() == 30.0
    world.guard.force("upstream", opened=True)
    world.guard.force("upstream", opened=False)
    assert world.changes == [("upstream", "open"), ("upstream", "closed")], "told of changes only"


@in_a_world
async def test_requests_of_one_group_have_one_breaker(world: World) -> None:
    assert world.groups.of(request()).lane == BREAKER


class Asking(LocalLedger):
    """A ledger that has to be asked elsewhere, and is not answered at first."""

    answered = False

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        if not self.answered:
            await asyncio.Event().wait()
        return await super().take(lanes, cautious=cautious)


@in_a_world
async def test_who_leaves_while_the_ledger_is_asked_leaves_the_probe_to_others(world: World) -> None:
    await world.open()
    await asyncio.sleep(5.0)
    ledger = Asking(world.table, world.clock, transit=1.0, clock_drift=0.0, probe=False)
    guard = Guard(ledger, world.groups, world.clock, lambda group, state: None)
    guard.on_freed(world.freed.append)
    leaving = asyncio.ensure_future(guard.take(LANES))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert world.freed[-1] == (BREAKER,)
    ledger.answered = True
    grant = await guard.take(LANES)
    assert not isinstance(grant, Busy)
    assert guard.probes(grant)
