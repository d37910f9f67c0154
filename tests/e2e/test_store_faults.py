"""What shipped proxies do when the store they share goes wrong in one way or another, and comes back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e import programs
from tests.e2e.chaos import Chaos, chaos
from tests.e2e.fleet import Replica, fleet, standard
from tests.servers import StoreServer, free_port, start_sentinel, start_store

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(60)]

LIMITS = standard(200, 6.0)
OPTIONS = ("--limit", "standard=200/6", "--limit", "burst=1000/1")
PASSWORD = "the-password-of-the-store"
EVERY = 0.1
"""Seconds between the requests to each proxy."""
BY_THEN = 2.0
"""Seconds after which a proxy that is cut off spends its share: others know by then that it may."""
AGAIN, AGAIN_SLOW = 0.3, 1.0
"""Seconds at most between two tries of a store, and where it does not answer in time (docs/scaling.md)."""
CALL = 0.2
"""Seconds that a try takes at most: `redis.timeout`."""
SLACK = 0.3
"""Seconds that a machine with much to do may take."""


@dataclass(frozen=True)
class Fault:
    """What is done to the store, or the way to it, what ends it, and why calls fail meanwhile."""

    hurt: Callable[[StoreServer, Chaos], Any]
    heal: Callable[[StoreServer, Chaos], Any]
    reason: str


def late(way: Chaos, seconds: float) -> None:
    way.delay = (seconds, seconds)


def other_password(store: StoreServer, password: str) -> None:
    store.command("CONFIG", "SET", "requirepass", password)
    store.password = password
    store.command("CLIENT", "KILL", "TYPE", "normal")
    store.command("CLIENT", "KILL", "TYPE", "pubsub")


FAULTS = {
    "gone": Fault(lambda store, way: store.kill(), lambda store, way: store.start(), "lost"),
    "silent": Fault(lambda store, way: store.freeze(), lambda store, way: store.thaw(), "timeout"),
    "slow": Fault(lambda store, way: late(way, 0.5), lambda store, way: late(way, 0.0), "timeout"),
    "read-only": Fault(
        lambda store, way: store.command("REPLICAOF", "127.0.0.1", free_port()),
        lambda store, way: store.command("REPLICAOF", "NO", "ONE"),
        "read_only",
    ),
    "full": Fault(
        lambda store, way: store.command("CONFIG", "SET", "maxmemory", "1"),
        lambda store, way: store.command("CONFIG", "SET", "maxmemory", "0"),
        "full",
    ),
    "other password": Fault(
        lambda store, way: other_password(store, "another"),
        lambda store, way: other_password(store, PASSWORD),
        "denied",
    ),
}


class Watch:
    """Ask each proxy for something again and again; look at how it says that it is."""

    def __init__(self, session: aiohttp.ClientSession, replicas: list[Replica], upstream: str) -> None:
        self._session = session
        self._upstream = upstream
        self.replicas = replicas
        self.answers: list[tuple[float, float, int]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, replica: Replica) -> None:
        while True:
            self.tasks.append(asyncio.create_task(self.one(replica)))
            await asyncio.sleep(EVERY)

    async def one(self, replica: Replica) -> None:
        """Ask for something once."""
        began = time.monotonic()
        url, headers = f"{replica.url}/api/v1/datasets/?limit=1", {"X-Avala-Api-Key": "avk_one"}
        async with self._session.get(url, headers=headers) as answer:
            await answer.read()
            self.answers.append((began, time.monotonic() - began, answer.status))

    async def until(self, wanted: str) -> float:
        """Return after how many seconds all say that they are ready, for a reason that begins so."""
        began = time.monotonic()
        async with asyncio.timeout(10):
            for replica in self.replicas:
                while True:
                    async with self._session.get(f"{replica.admin}/readyz") as answer:
                        said = await answer.json()
                    assert said["ready"], said
                    assert answer.status == 200
                    if said["reason"].startswith(wanted):
                        break
                    await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def metrics(self, replica: Replica) -> str:
        async with self._session.get(f"{replica.admin}/metrics") as answer:
            return await answer.text()

    def told(self, replica: Replica) -> list[str]:
        """Return what a log says of the shared budget, one word a line."""
        lines = [json.loads(line) for line in replica.log.read_text().splitlines()]
        return [line["event"] for line in lines if line["event"].startswith("ledger")]

    async def refused(self) -> int:
        done = await programs.ledger(self._session, self._upstream)
        return int(done["by_status"].get("429", 0))


@asynccontextmanager
async def watching(tmp_path: Path, urls: list[str], more: str = "") -> AsyncIterator[Watch]:
    """Run a proxy for each URL of a store, under a gentle load."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(programs.sandbox(tmp_path, *OPTIONS))
        replicas = await stack.enter_async_context(fleet(tmp_path, upstream, LIMITS, urls, more))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        watch = Watch(session, replicas, upstream)
        # A store that was just started grants nothing at once.
        await asyncio.gather(*map(watch.one, replicas))
        watch.answers.clear()
        loads = [asyncio.create_task(watch.ask(replica)) for replica in replicas]
        try:
            await asyncio.sleep(1.0)
            await watch.until("serving")
            yield watch
        finally:
            for load in loads:
                load.cancel()
            await asyncio.gather(*loads, return_exceptions=True)
            await asyncio.gather(*watch.tasks)
        assert {status for _, _, status in watch.answers} == {200}
        assert await watch.refused() == 0


@pytest.mark.parametrize("name", FAULTS)
async def test_a_proxy_goes_on_without_its_store(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    async with AsyncExitStack() as stack:
        store = stack.enter_context(start_store("valkey", password=PASSWORD))
        way = await stack.enter_async_context(chaos(store.port, 1))
        config = f'password = "{PASSWORD}"\n'
        watch = await stack.enter_async_context(watching(tmp_path, [way.url] * 2, config))
        began = time.monotonic()
        await asyncio.to_thread(fault.hurt, store, way)
        detected = await watch.until("degraded")
        await asyncio.sleep(4.0)
        for replica in watch.replicas:
            said = await watch.metrics(replica)
            assert "avala_proxy_ledger_up 0.0" in said
            assert f'avala_proxy_ledger_failures_total{{reason="{fault.reason}"}}' in said
            assert watch.told(replica) == ["ledger_down"]
        await asyncio.to_thread(fault.heal, store, way)
        healed = time.monotonic()
        back = await watch.until("serving")
        await asyncio.sleep(2.0)
        for replica in watch.replicas:
            assert "avala_proxy_ledger_up 1.0" in await watch.metrics(replica)
            assert watch.told(replica) == ["ledger_down", "ledger_up"]
    first = max(took for at, took, _ in watch.answers if began <= at < began + BY_THEN)
    then = max(took for at, took, _ in watch.answers if began + BY_THEN <= at < healed)
    print(
        f"\n{name}: detected after {detected:.3f} s; requests took {first:.3f} s at most when it began, then"
        f" {then:.3f} s; back after {back:.3f} s"
    )
    assert detected <= 0.5
    assert first <= BY_THEN + SLACK
    assert then <= SLACK
    again = AGAIN_SLOW if fault.reason == "timeout" else AGAIN
    # A try that began before the store was back may fail, and the next one may take its time.
    assert back <= CALL + again + CALL + SLACK


async def test_a_store_that_was_emptied_is_not_missed(tmp_path: Path) -> None:
    with start_store("valkey") as store:
        async with watching(tmp_path, [store.url] * 2) as watch:
            await asyncio.to_thread(store.command, "FLUSHALL")
            began = time.monotonic()
            await asyncio.sleep(3.0)
            assert [watch.told(replica) for replica in watch.replicas] == [[], []]
    assert max(took for at, took, _ in watch.answers if at >= began) <= 1.0


async def test_another_server_takes_over(tmp_path: Path) -> None:
    with start_sentinel() as (primary, replica, sentinel):
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/budget"
        async with watching(tmp_path, [url] * 2) as watch:
            await asyncio.to_thread(primary.kill)
            detected = await watch.until("degraded")
            back = await watch.until("serving")
            await asyncio.sleep(2.0)
            assert [watch.told(one) for one in watch.replicas] == [["ledger_down", "ledger_up"]] * 2
            assert replica.command("DBSIZE") > 0
    print(f"\nfailed over: detected after {detected:.3f} s, back after {back:.3f} s")
    assert detected <= 0.5
