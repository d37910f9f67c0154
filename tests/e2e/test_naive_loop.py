"""The retry loop of the API's error page, run directly and through the proxy, side by side: real programs."""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from proxy.demo import best_possible
from tests.e2e import programs
from tests.e2e.test_goodput import LIMITS

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(180)]

CLIENTS, EACH = 30, 8
BOUND = best_possible(CLIENTS * EACH, [(100, 6.0), (20, 1.0)])
RETRYABLE = {429, 500, 503}


@dataclass
class Naive:
    """Clients with the page's loop, and what became of their requests."""

    url: str
    outcomes: Counter[int] = field(default_factory=Counter)
    calls: int = 0
    seconds: float = 0.0

    async def request_with_retry(
        self, session: aiohttp.ClientSession, path: str, max_retries: int = 3
    ) -> int:
        """Do what the page's `request_with_retry` does, with sleeps that let others go on."""
        status = 0
        for attempt in range(max_retries + 1):
            self.calls += 1
            async with session.get(self.url + path, headers={"X-Avala-Api-Key": "avk_team"}) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
            if status not in RETRYABLE or attempt == max_retries:
                break
            await asyncio.sleep(int(retry_after) if retry_after else 2**attempt)
        return status

    async def run(self) -> None:
        """Let all clients go at once."""
        numbers = itertools.count()

        async def client(session: aiohttp.ClientSession) -> None:
            for _ in range(EACH):
                path = f"/api/v1/datasets/?limit=1&n={next(numbers)}"
                self.outcomes[await self.request_with_retry(session, path)] += 1

        began = time.monotonic()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
        self.seconds = time.monotonic() - began


async def test_the_page_s_loop_fails_directly_and_does_nothing_wrong_through_the_proxy(
    tmp_path: Path,
) -> None:
    options = ["--limit", "standard=100/6", "--limit", "burst=20/1", "--fault", "500=0.03", "--seed", "1"]
    one, other = tmp_path / "directly", tmp_path / "through"
    one.mkdir()
    other.mkdir()
    async with (
        programs.sandbox(one, *options) as alone,
        programs.sandbox(other, *options) as upstream,
        programs.proxy(other, upstream, LIMITS) as (url, _),
        aiohttp.ClientSession() as session,
    ):
        directly, through = Naive(alone), Naive(url)
        await asyncio.gather(directly.run(), through.run())
        arrived = {
            naive: (await programs.ledger(session, api))["by_status"]
            for naive, api in (("directly", alone), ("through the proxy", upstream))
        }
    print(f"\n{CLIENTS} clients, {EACH} requests each; the limits allow {BOUND:g} s at best")
    for name, naive in (("directly", directly), ("through the proxy", through)):
        reached = arrived[name]
        failed = sum(count for status, count in naive.outcomes.items() if status != 200)
        print(
            f"{name:18} calls of clients {naive.calls}, arrived {sum(reached.values())}, of these"
            f" 429s {reached.get('429', 0)}; requests that failed {failed}; {naive.seconds:.1f} s"
        )
    assert arrived["directly"]["429"] > 50
    assert arrived["through the proxy"].get("429", 0) == 0
    assert through.outcomes == {200: CLIENTS * EACH}
    assert through.calls == CLIENTS * EACH, "the loop never had to repeat"
    assert through.seconds < directly.seconds
