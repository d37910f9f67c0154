"""Four replicas before one API, in virtual time: whatever becomes of the store, nothing is refused."""

import asyncio

import pytest

from bench.fleet import LIMITS, at_the_limit, play
from proxy.policy.limits import Lane
from proxy.turn import Busy, Grant, News
from proxy.virtual import run_virtual
from tests.fakes import jitter
from tests.servers import StoreServer
from tests.stores import VirtualStore
from tests.virtual_fleet import LIMIT, PER, SIZE, Fleet, Sidecar, jain, rounds_of_trouble

NAMES = ("ra", "rb", "rc", "rd")


def test_four_replicas_spend_one_budget_and_no_more(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)))
        for name in NAMES:
            fleet.start(name, 50)
        await asyncio.sleep(61.0)
        return fleet

    fleet = run_virtual(main())
    assert fleet.refused() == 0
    assert not fleet.failures
    assert len(fleet.arrivals) >= 1000
    fair, calls = jain([fleet.counts()[name] for name in NAMES]), fleet.store.counted.calls.total()
    print(f"\n{len(fleet.arrivals)} requests, Jain {fair:.4f}, {calls / len(fleet.arrivals):.2f} calls each")
    assert fair >= 0.98
    assert calls <= 3 * len(fleet.arrivals)


@pytest.mark.parametrize("trouble", ["outage", "forgets", "jumps", "one_is_cut_off", "one_dies"])
def test_whatever_becomes_of_the_store(valkey: StoreServer, trouble: str) -> None:
    async def main() -> Fleet:
        store = VirtualStore(valkey.url, jitter(0.0005, 0.003, 1))
        fleet = Fleet(store)
        for name in NAMES:
            fleet.start(name, 50)
        await asyncio.sleep(20.0)
        match trouble:
            case "outage":
                store.cut = lambda me: True
                await asyncio.sleep(12.0)
                store.cut = lambda me: False
            case "forgets":
                store.forget()
            case "jumps":
                store.jumped = 3600.0
                await asyncio.sleep(8.0)
                store.jumped = -100.0
            case "one_is_cut_off":
                store.cut = lambda me: me == "ra"
                await asyncio.sleep(5.0)
                store.cut = lambda me: False
            case "one_dies":
                fleet.kill("ra")
        await asyncio.sleep(42.0 - fleet.clock.now())
        return fleet

    fleet = run_virtual(main())
    by_window = [fleet.counts(at, at + PER).total() for at in (6.0, 12.0, 18.0, 24.0, 30.0, 36.0)]
    print(f"\nby window {by_window}; {[sidecar.changes for sidecar in fleet.sidecars.values()]}")
    assert fleet.refused() == 0
    assert not fleet.failures
    assert by_window[-1] >= 0.97 * SIZE


@pytest.mark.parametrize("seed", range(12))
def test_rounds_of_trouble(valkey: StoreServer, seed: int) -> None:
    fleet, since = run_virtual(rounds_of_trouble(valkey.url, seed))
    slowest = fleet.slowest(since)
    print(
        f"\n{len(fleet.arrivals) / (SIZE * (since + 2 * PER) / PER):.1%} used; then {slowest:.2f} s a window"
    )
    assert fleet.refused() == 0
    assert not fleet.failures
    assert slowest <= 1.1 * PER


def test_an_idle_replica_notices_that_the_store_went_away_and_tries_it_at_leisure(
    valkey: StoreServer,
) -> None:
    async def main() -> None:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)))
        sidecar = fleet.start("ra")
        await sidecar.ledger.greet()
        await asyncio.sleep(1.0)
        fleet.store.go_away()
        await asyncio.sleep(0.3)
        assert sidecar.ledger.trouble
        tries = fleet.store.tries
        await asyncio.sleep(60.0)
        assert 10 <= fleet.store.tries - tries <= 40
        fleet.store.forget()
        await asyncio.sleep(5.1)
        assert not sidecar.ledger.trouble
        sidecar.end()

    run_virtual(main())


@pytest.mark.parametrize("up", [0.3, 1.2, 1.9, 60.0])
@pytest.mark.parametrize("silent", [False, True])
def test_a_store_that_goes_while_it_is_young_is_done_without_as_soon_as_any(
    valkey: StoreServer, up: float, silent: bool
) -> None:
    async def main() -> list[float]:
        store = VirtualStore(valkey.url, jitter(0.0005, 0.003, 1))
        fleet = Fleet(store, assumed=2)
        store.started = fleet.clock.now() - up

        async def load(sidecar: Sidecar) -> None:
            while True:
                sidecar.does(sidecar.admitted())
                await asyncio.sleep(0.5)

        for sidecar in (fleet.start("ra"), fleet.start("rb")):
            sidecar.does(load(sidecar))
        await asyncio.sleep(0.2)
        if silent:
            store.cut = lambda me: True
        else:
            store.go_away()
        await asyncio.sleep(8.0)
        return fleet.waits

    took = run_virtual(main())
    assert len(took) >= 30
    assert max(took) <= 2.3


@pytest.mark.parametrize("back", [False, True])
def test_no_request_waits_for_a_store_that_is_silent(valkey: StoreServer, back: bool) -> None:
    async def main() -> list[float]:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)), assumed=1)
        sidecar = fleet.start("ra")
        await sidecar.ask()
        fleet.store.cut = lambda me: True
        await sidecar.ask()
        assert sidecar.ledger.trouble
        fleet.waits.clear()
        for number in range(80):
            if back and number == 40:
                fleet.store.cut = lambda me: False
            sidecar.does(sidecar.admitted())
            await asyncio.sleep(0.07)
        assert bool(sidecar.ledger.trouble) is not back
        sidecar.end()
        return fleet.waits

    took = run_virtual(main())
    assert len(took) == 80
    assert max(took) <= 0.02


def test_many_that_wait_for_two_limits_do_not_wait_for_each_other(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)), LIMITS, assumed=40, patience=600.0)
        for number in range(40):
            fleet.start(f"r{number:02}", 1)
        await asyncio.sleep(181.0)
        return fleet

    fleet = run_virtual(main())
    by_minute = [fleet.counts(at, at + 60.0).total() for at in (0.0, 60.0, 120.0)]
    assert fleet.refused(100, 60.0) == 0
    assert min(by_minute) >= 90, by_minute


def test_who_was_idle_for_long_makes_nobody_else_look_lost(valkey: StoreServer) -> None:
    async def main() -> VirtualStore:
        store = VirtualStore(valkey.url, jitter(0.0005, 0.003, 1))
        fleet = Fleet(store)
        idle, busy = fleet.start("ra"), fleet.start("rb")
        await idle.ask()
        for _ in range(60):
            await busy.ask()
            await asyncio.sleep(0.5)
        await idle.ask()
        await busy.ask()
        return store

    said = run_virtual(main()).counted.calls
    assert said["lost"] == said["forgot"] == 0, said


def test_what_is_noted_while_the_store_is_told_is_told_right_after(valkey: StoreServer) -> None:
    async def main() -> tuple[list[float], list[float]]:
        fleet = Fleet(VirtualStore(valkey.url, lambda: 0.001), [LIMIT.model_copy(update={"requests": 2})])
        first, second = fleet.start("ra"), fleet.start("rb")
        turns = [await first.admitted() for _ in range(2)]
        answered = []
        for turn in turns:
            turn.started()
            turn.sent()
        for turn in turns:  # the second while the store is told of the first
            answered.append(fleet.clock.now())
            first.does(turn.answered())
            await asyncio.sleep(0.001)
        granted = []
        for _ in range(2):
            await second.admitted()
            granted.append(fleet.clock.now())
        return answered, granted

    answered, granted = run_virtual(main())
    assert granted == pytest.approx([at + PER for at in answered], abs=0.05)


def test_what_could_not_be_told_is_told_whoever_finds_the_store_back(valkey: StoreServer) -> None:
    ours, others = (Lane("standard", "team"),), (Lane("standard", "another"),)

    async def main() -> Grant | Busy:
        fleet = Fleet(VirtualStore(valkey.url), [LIMIT.model_copy(update={"requests": 1})])
        first, second = fleet.start("ra").ledger, fleet.start("rb").ledger
        grant = await first.take(ours)
        assert not isinstance(grant, Busy)
        first.sent(grant)
        fleet.store.way = lambda: 0.02
        found = asyncio.create_task(first.take(others))
        await asyncio.sleep(0.03)  # that was carried out, and the answer is under way
        fleet.store.refuses, fleet.store.way = True, lambda: 0.001
        await first.settle(grant, News())
        await asyncio.sleep(0.005)
        assert first.trouble
        fleet.store.refuses = False
        await found
        assert not first.trouble
        await asyncio.sleep(PER + 0.1)
        return await second.take(ours)

    assert not isinstance(run_virtual(main()), Busy)


SMALL = LIMIT.model_copy(update={"requests": 10})


async def several(sidecar: Sidecar, count: int) -> None:
    """Have so many requests answered at the same time."""
    await asyncio.gather(*(sidecar.ask() for _ in range(count)))


def test_who_was_at_rest_when_nobody_could_reach_the_store_is_left_its_share(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, lambda: 0.001), [SMALL], assumed=2)
        first, second = fleet.start("ra"), fleet.start("rb")
        await several(first, 1)
        await several(second, 1)
        await asyncio.sleep(8.0)
        fleet.store.thawed.clear()
        for sidecar in (first, second):
            sidecar.does(several(sidecar, 20))
        await asyncio.sleep(3.0)
        fleet.store.thawed.set()
        await asyncio.sleep(20.0)
        return fleet

    fleet = run_virtual(main())
    assert len(fleet.arrivals) >= 32
    assert fleet.refused(10) == 0


def test_who_is_cut_off_is_left_its_share_while_nobody_else_is_there_either(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, lambda: 0.001), [SMALL], assumed=2)
        fleet.start("ra", 20)
        fleet.start("rb", 20)
        await asyncio.sleep(1.0)
        fleet.store.cut = lambda me: me == "ra"
        await asyncio.sleep(6.0)
        fleet.store.thawed.clear()
        await asyncio.sleep(6.0)
        fleet.store.thawed.set()
        await asyncio.sleep(0.5)
        fleet.store.cut = lambda me: False
        await asyncio.sleep(20.0)
        return fleet

    fleet = run_virtual(main())
    assert len(fleet.arrivals) >= 40
    assert fleet.refused(10) == 0


def test_a_store_that_forgot_grants_nothing_before_all_who_may_know_were_heard(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, lambda: 0.001), [SMALL])
        one, *others = (fleet.start(name) for name in NAMES)
        for sidecar in (one, *others):
            await sidecar.ask()
        await several(one, 6)  # of which the others have not heard
        await asyncio.sleep(0.5)
        fleet.store.forget()
        await asyncio.gather(*(several(sidecar, 3) for sidecar in others))
        return fleet

    fleet = run_virtual(main())
    assert fleet.refused(10) == 0
    assert fleet.arrivals[10][0] == pytest.approx(PER, abs=0.3)


def test_everything_in_the_store_expires_even_if_nobody_calls_again(valkey: StoreServer) -> None:
    async def main() -> VirtualStore:
        store = VirtualStore(valkey.url)
        sidecar = Fleet(store).start("ra")
        await sidecar.ask()
        await asyncio.sleep(1.0)
        store.forget()
        breaks = iter([False])
        store.breaks = lambda: next(breaks, True)  # what it answers is never heard
        await sidecar.ledger.pause(Lane("standard", "team"), 1.0)
        await asyncio.sleep(0.5)
        sidecar.end()
        return store

    store = run_virtual(main())
    assert store.counted.calls["forgot"] == 1
    assert store.expiries()
    assert all(0 < seconds <= 120 for seconds in store.expiries().values()), store.expiries()


def test_a_new_replica_waits_for_what_a_store_that_was_just_started_may_have_forgotten(
    valkey: StoreServer,
) -> None:
    async def main() -> float:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)))
        fleet.store.go_away()
        fleet.store.forget()
        sidecar = fleet.start("ra")
        await sidecar.ask()
        return fleet.arrivals[0][0]

    assert 2.0 <= run_virtual(main()) <= 2.5


def test_the_simulated_fleet_costs_what_it_should(valkey: StoreServer) -> None:
    figures = play(valkey.url, 4, 1, at_the_limit(60.0), around=50e-6)
    assert figures.refused == figures.late == 0
    assert figures.calls <= 3 * figures.requests
    assert 0 < figures.load < 0.01
