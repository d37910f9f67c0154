"""Twenty rounds of trouble with replicas, their store and the way to it: the API never has to refuse."""

import asyncio
import itertools
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.e2e import programs
from tests.e2e.chaos import Chaos, chaos
from tests.e2e.fleet import Replica, fleet
from tests.e2e.test_replicas import KEY, LIMITS
from tests.servers import StoreServer, start_store
from tests.virtual_fleet import slowest

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(420)]

REPLICAS, CALLERS, WINDOW = 4, 200, 6.0
ROUNDS = ["kill", "kill", "kill", "kill", "kill", "restart", "restart", "restart", "restart", "freeze"]
ROUNDS += ["freeze", "freeze", "late", "late", "late", "late", "resets", "resets", "resets", "resets"]


class Load:
    """Callers that ask on and on; what went wrong, but for what a killed replica took with it."""

    def __init__(self, session: aiohttp.ClientSession, replicas: list[Replica]) -> None:
        self._session = session
        self._replicas = replicas
        self._numbers = itertools.count()
        self.down: set[Replica] = set()
        self.kills: Counter[Replica] = Counter()
        self.answered = 0
        self.lost: list[str] = []
        self.over = False

    async def call(self, number: int) -> None:
        while not self.over:
            replica = self._replicas[number % REPLICAS]
            url = f"{replica.url}/api/v1/datasets/?limit=1&n={next(self._numbers)}"
            kills, down = self.kills[replica], replica in self.down
            try:
                timeout = aiohttp.ClientTimeout(total=60)
                async with self._session.get(
                    url, headers={"X-Avala-Api-Key": KEY}, timeout=timeout
                ) as answer:
                    if answer.status == 200:
                        self.answered += 1
                    else:
                        self.lost.append(f"{answer.status} {await answer.text()}")
            except aiohttp.ClientError as error:
                if not down and self.kills[replica] == kills:
                    self.lost.append(repr(error))
                await asyncio.sleep(0.2)
            except TimeoutError:
                self.lost.append("no answer within a minute")


async def trouble(
    kind: str,
    load: Load,
    replicas: list[Replica],
    store: StoreServer,
    ways: list[Chaos],
    chance: random.Random,
) -> None:
    match kind:
        case "kill":
            replica = chance.choice(replicas)
            load.kills[replica] += 1
            load.down.add(replica)
            await replica.kill()
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            await replica.start()
            load.down.discard(replica)
        case "restart":
            await asyncio.to_thread(store.kill)
            await asyncio.sleep(chance.uniform(0.0, 4.0))
            await asyncio.to_thread(store.start)
        case "freeze":
            store.freeze()
            await asyncio.sleep(5.0)
            store.thaw()
        case "late":
            for way in ways:
                way.delay = (0.0, chance.choice([0.1, 0.4]))
            await asyncio.sleep(4.0)
        case "resets":
            for way in ways:
                way.resets = 0.3
            await asyncio.sleep(4.0)
    for way in ways:
        way.delay, way.resets = (0.0, 0.0), 0.0


@pytest.mark.parametrize("seed", [6])
async def test_twenty_rounds(tmp_path: Path, seed: int) -> None:
    options = ["--limit", "standard=100/6", "--limit", "burst=1000/1", "--transit", "0.005", "0.05"]
    chance = random.Random(seed)
    rounds = chance.sample(ROUNDS, len(ROUNDS))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(start_store("valkey"))
        ways = [
            await stack.enter_async_context(chaos(store.port, REPLICAS * seed + number))
            for number in range(REPLICAS)
        ]
        upstream = await stack.enter_async_context(programs.sandbox(tmp_path, *options))
        urls = [way.url for way in ways]
        replicas = await stack.enter_async_context(fleet(tmp_path, upstream, LIMITS, urls))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        )
        load = Load(session, replicas)
        callers = [asyncio.create_task(load.call(number)) for number in range(CALLERS)]
        await asyncio.sleep(1.0)
        marks: list[tuple[str, float]] = []
        for kind in rounds:
            marks.append((kind, time.monotonic()))
            await trouble(kind, load, replicas, store, ways, chance)
            await asyncio.sleep(1.0)
        marks.append(("over", time.monotonic()))
        await asyncio.sleep(3 * WINDOW)
        marks.append(("end", time.monotonic()))
        done = await programs.ledger(session, upstream)
        load.over = True
        await asyncio.gather(*callers)
    arrived = sorted(entry["arrived"] for entry in done["entries"])
    refused = [entry["arrived"] for entry in done["entries"] if entry["status"] == 429]
    last = max(arrived)
    longest = slowest([at for at in arrived if at >= last - 2 * WINDOW], 100)
    span = last - arrived[0]
    begun = marks[0][1] - 1.0
    print(
        f"\n{len(rounds)} rounds in {span:.0f} s: {load.answered} answered,"
        f" {len(load.lost)} lost {load.lost[:3]};"
        f" {100 * len(arrived) / (100 * span / WINDOW):.1f} % of the budget used;"
        f" a window after, {longest:.2f} s for a window's worth;"
        f" refused at {[round(at - arrived[0], 2) for at in refused]};"
        f" rounds {[(kind, round(at - begun, 1)) for kind, at in marks]}"
    )
    assert not refused
    assert not load.lost
    assert longest <= 1.1 * WINDOW
