"""Four replicas before one API, in virtual time: whatever becomes of the store, nothing is refused."""

import asyncio

import pytest

from proxy.virtual import run_virtual
from tests.fakes import jitter
from tests.servers import StoreServer
from tests.stores import VirtualStore
from tests.virtual_fleet import PER, SIZE, Fleet, jain, rounds_of_trouble

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
    assert slowest <= 1.2 * PER
