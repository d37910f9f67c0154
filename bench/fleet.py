"""A fleet of sidecars at one shard of a shared store, in virtual time.

The replicas are the shipped ledger, the script is the shipped one, carried out by a real server. The shard
takes one call after the other, each as long as it really took there, and `around` seconds more: so it can be
too much for it, and then calls time out as they would.
"""

import asyncio
import random
import statistics
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from proxy.config import Settings
from proxy.virtual import run_virtual
from tests.fakes import jitter
from tests.stores import Counted, VirtualStore
from tests.virtual_fleet import Fleet, Sidecar

LIMITS = Settings().limits
SIZE, PER = 100, 60.0
_AWAY = 0.0005
"""Seconds from a sidecar to the store, as within one data centre."""
_EXCHANGE = (0.025, 0.15)
"""Seconds to the API, and back."""

Scene = Callable[[Fleet, list[Sidecar]], Coroutine[None, None, float]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a scene cost the shard, and what came of it; seconds, but where it says otherwise."""

    seconds: float
    calls: int
    requests: int
    script: float
    busy: float
    bytes_in: int
    bytes_out: int
    woken: int
    late: int
    slowest: float
    refused: int

    @property
    def load(self) -> float:
        """Which part of its time the shard was busy."""
        return self.busy / self.seconds


def play(url: str, replicas: int, credentials: int, scene: Scene, *, around: float, seed: int = 1) -> Figures:
    """Have a fleet play a scene; the scene returns from when on it counts."""

    async def main() -> Figures:
        store = VirtualStore(url, lambda: _AWAY, around=around)
        each = max(1, replicas // credentials)
        fleet = Fleet(store, LIMITS, assumed=each, patience=36000.0)
        fleet.way = jitter(*_EXCHANGE, seed)
        sidecars = [
            fleet.start(f"{number:08x}", credential=f"key{number % credentials}")
            for number in range(replicas)
        ]
        began = await scene(fleet, sidecars)
        counted, seconds = store.counted, fleet.clock.now() - began
        arrived = sum(at >= began for at, *_ in fleet.arrivals)
        for sidecar in sidecars:
            sidecar.end()
        calls = counted.calls.total()
        return Figures(
            seconds,
            calls,
            arrived,
            counted.script / max(1, calls),
            counted.script + around * calls,
            counted.received,
            counted.sent,
            counted.woken,
            counted.late,
            statistics.quantiles(counted.took, n=100)[-1] if len(counted.took) > 1 else 0.0,
            fleet.refused(SIZE, PER),
        )

    return run_virtual(main())


def counting(fleet: Fleet) -> float:
    """Begin to count anew; return when that is."""
    fleet.store.counted = Counted()
    return fleet.clock.now()


def at_the_limit(seconds: float) -> Scene:
    """Let each sidecar always have a request waiting."""

    async def scene(fleet: Fleet, sidecars: list[Sidecar]) -> float:
        for sidecar in sidecars:
            sidecar.does(sidecar.ask_always())
        await asyncio.sleep(65.0)
        began = counting(fleet)
        await asyncio.sleep(seconds)
        return began

    return scene


def now_and_then(each: float, seconds: float, *, before: float = 65.0) -> Scene:
    """Let each sidecar have a request every `each` seconds on average, at random; count after `before`."""

    async def scene(fleet: Fleet, sidecars: list[Sidecar]) -> float:
        chance = random.Random(len(sidecars))

        async def clients(sidecar: Sidecar) -> None:
            while True:
                await asyncio.sleep(chance.expovariate(1 / each))
                sidecar.does(sidecar.ask())

        for sidecar in sidecars:
            sidecar.does(clients(sidecar))
        await asyncio.sleep(before)
        began = counting(fleet)
        await asyncio.sleep(seconds)
        return began

    return scene


def restart(away: float, seconds: float) -> Scene:
    """Have the store go away from under an idle fleet, and come back empty; count from then on."""

    async def scene(fleet: Fleet, sidecars: list[Sidecar]) -> float:
        await asyncio.sleep(30.0)
        fleet.store.go_away()
        await asyncio.sleep(away)
        fleet.store.forget()
        began = counting(fleet)
        await asyncio.sleep(seconds)
        assert not any(sidecar.ledger.trouble for sidecar in sidecars), "some are still cut off"
        return began

    return scene


def all_at_once(seconds: float) -> Scene:
    """Have every sidecar ask at the same moment, once."""

    async def scene(fleet: Fleet, sidecars: list[Sidecar]) -> float:
        await asyncio.sleep(30.0)
        began = counting(fleet)
        for sidecar in sidecars:
            sidecar.does(sidecar.ask())
        await asyncio.sleep(seconds)
        return began

    return scene
