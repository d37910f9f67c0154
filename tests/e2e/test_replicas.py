"""Four shipped proxies share one budget through a real store: the API refuses none of a thousand requests."""

import asyncio
import itertools
import re
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from proxy.demo import best_possible
from tests.e2e import programs
from tests.e2e.fleet import fleet, jain
from tests.e2e.test_goodput import Stalls
from tests.servers import Kind, StoreServer, start_store

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(180)]

REPLICAS, CALLERS, REQUESTS = 4, 200, 1000
LIMITS = """
[[limits]]
name = "standard"
requests = 100
per = 6.0
match = { anonymous = false }

"""
KEY = "avk_the_key_that_nobody_may_see"


def calls(server: StoreServer) -> int:
    """Return how many calls the server counted itself: each is one round trip."""
    said = server.command("INFO", "commandstats").decode()
    counted = re.findall(r"cmdstat_(?:evalsha|eval):calls=(\d+)", said)
    return sum(map(int, counted))


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
            before, began = calls(store), time.monotonic()
            await asyncio.gather(*(caller(number) for number in range(CALLERS)))
            seconds = time.monotonic() - began
            trips = calls(store) - before
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
