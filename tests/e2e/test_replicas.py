"""Four shipped proxies share one budget through a real store: the API refuses none of a thousand requests."""

import asyncio
import itertools
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from proxy.demo import best_possible
from tests.e2e import programs
from tests.e2e.fleet import SECRET, fleet, standard
from tests.e2e.test_goodput import Stalls
from tests.servers import Kind, start_store
from tests.virtual_fleet import jain

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(180)]

REPLICAS, CALLERS, REQUESTS, WINDOW = 4, 200, 1000, 6.0
LIMITS = standard(100, WINDOW)
KEY = "avk_the_key_that_nobody_may_see"


@pytest.mark.parametrize("kind", ["valkey", "redis62", "redis70"])
async def test_a_thousand_requests(tmp_path: Path, kind: Kind) -> None:
    options = ["--limit", "standard=100/6", "--limit", "burst=1000/1", "--transit", "0.005", "0.05"]
    with start_store(kind) as store:
        async with (
            programs.sandbox(tmp_path, *options) as upstream,
            fleet(tmp_path, upstream, LIMITS, [store.url] * REPLICAS) as replicas,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            served: Counter[int] = Counter()
            statuses: Counter[int] = Counter()
            numbers = itertools.count()

            async def caller(number: int) -> None:
                replica = replicas[number % REPLICAS]
                while next(numbers) < REQUESTS:
                    async with session.get(
                        f"{replica.url}/api/v1/datasets/?limit=1", headers={"X-Avala-Api-Key": KEY}
                    ) as answer:
                        statuses[answer.status] += 1
                        served[number % REPLICAS] += 1

            stalls = Stalls()
            watching = asyncio.create_task(stalls.watch())
            before, began = store.in_script()[0], time.monotonic()
            await asyncio.gather(*(caller(number) for number in range(CALLERS)))
            seconds = time.monotonic() - began
            trips = store.in_script()[0] - before
            watching.cancel()
            done = await programs.ledger(session, upstream)
    bound = best_possible(REQUESTS, [(100, 6.0)])
    fair = jain([served[number] for number in range(REPLICAS)])
    print(
        f"\n{kind}: {REQUESTS} requests in {seconds:.2f} s, bound {bound:g} s"
        f" ({100 * seconds / bound - 100:+.2f} %), the machine stalled {stalls.seconds:.3f} s;"
        f" by status {done['by_status']}; by replica {sorted(served.values())}, Jain {fair:.4f};"
        f" {trips / REQUESTS:.2f} round trips a request"
    )
    assert statuses == {200: REQUESTS}
    assert done["by_status"] == {"200": REQUESTS}
    assert seconds <= 1.05 * bound + stalls.seconds
    assert fair >= 0.98
    assert trips <= 3 * REQUESTS


async def test_two_round_trips_a_request_when_idle_and_the_store_never_sees_a_key(tmp_path: Path) -> None:
    with start_store("valkey") as store:
        # All of it is kept until the end: what is not read in time, the store throws away.
        watching, heard = await asyncio.open_connection("127.0.0.1", store.port, limit=100_000_000)
        heard.write(b"MONITOR\r\n")
        assert await watching.readline() == b"+OK\r\n"
        async with (
            programs.sandbox(tmp_path) as upstream,
            fleet(tmp_path, upstream, "", [store.url] * 2) as replicas,
            aiohttp.ClientSession() as session,
        ):

            async def ask(number: int, method: str = "GET", path: str = "/api/v1/datasets/?limit=1") -> int:
                url = replicas[number % 2].url + path
                async with session.request(method, url, headers={"X-Avala-Api-Key": KEY}) as answer:
                    await answer.read()
                    return answer.status

            for number in range(4):
                assert await ask(number) == 200
            await asyncio.sleep(0.5)
            before = store.in_script()[0]
            for number in range(16):
                assert await ask(number) == 200
                await asyncio.sleep(0.1)
            trips = store.in_script()[0] - before
            await ask(0, "POST", "/api/v1/exports/")
            bearer = {"Authorization": f"Bearer {KEY}"}
            async with session.get(f"{replicas[0].url}/api/v1/projects/", headers=bearer) as answer:
                await answer.read()
        store.command("PING")
        heard.close()
        said = await watching.read()
    print(f"\n{trips / 16:.2f} round trips a request when idle; {len(said)} bytes of MONITOR")
    assert trips <= 2 * 16
    assert said.lower().count(b'"evalsha"') >= trips
    for secret in (KEY, KEY.removeprefix("avk_"), SECRET):
        assert secret.encode() not in said
