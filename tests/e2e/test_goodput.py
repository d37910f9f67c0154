"""How much of the API's budget becomes answers: the shipped programs, over real sockets, in real time."""

import asyncio
import itertools
import time
from pathlib import Path

import aiohttp
import pytest

from proxy.demo import best_possible, scaled_limits
from tests.e2e import programs

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(120)]

REQUESTS, CALLERS = 300, 50
WINDOWS = [(100, 6.0), (20, 1.0)]
LIMITS = programs.toml_limits(
    [
        limit.model_dump(exclude_none=True, exclude_defaults=True)
        | {"match": limit.match.model_dump(exclude_defaults=True)}
        for limit in scaled_limits()
    ]
)


class Stalls:
    """Measure for how long this machine stood still: what a sleep of a moment took beyond that moment."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            late = time.monotonic() - began - 0.01
            self.seconds += late if late > 0.05 else 0.0


@pytest.mark.parametrize("transit", [(0.0, 0.0), (0.005, 0.05)], ids=["no transit", "5-50 ms each way"])
async def test_a_burst_takes_what_the_limits_allow_and_is_never_refused(
    tmp_path: Path, transit: tuple[float, float]
) -> None:
    options = ["--limit", "standard=100/6", "--limit", "burst=20/1", "--transit", *map(str, transit)]
    async with (
        programs.sandbox(tmp_path, *options) as upstream,
        programs.proxy(tmp_path, upstream, LIMITS) as (url, admin),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def caller() -> None:
            for _ in range(REQUESTS // CALLERS):
                path = f"/api/v1/datasets/?limit=1&n={next(numbers)}"
                async with session.get(url + path, headers={"X-Avala-Api-Key": "avk_team"}) as response:
                    statuses.append(response.status)

        async with session.get(f"{admin}/healthz") as response:  # the client's first request costs it 0.1 s
            assert response.status == 200
        statuses: list[int] = []
        numbers = itertools.count()  # each asks for something else: what is the same goes as one
        stalls = Stalls()
        watching = asyncio.create_task(stalls.watch())
        began = time.monotonic()
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        seconds = time.monotonic() - began
        watching.cancel()
        done = await programs.ledger(session, upstream)

    bound = best_possible(REQUESTS, WINDOWS)
    arrived = [entry["arrived"] for entry in done["entries"]]
    print(
        f"\n{REQUESTS} requests, {CALLERS} callers, transit {transit}: {seconds:.3f} s, bound {bound:g} s,"
        f" {100 * seconds / bound - 100:+.2f} %; upstream 429s {done['by_status'].get('429', 0)};"
        f" the machine stalled {stalls.seconds:.3f} s;"
        f" each 20th arrived at {[round(at - arrived[0], 2) for at in arrived[::20]]}"
    )
    assert statuses == [200] * REQUESTS
    assert done["by_status"] == {"200": REQUESTS}
    assert done["throttled"] in ({}, dict.fromkeys(done["throttled"], 0))
    # What is demanded leaves room for a busy machine, and for a round trip in each of the six windows that
    # follow each other; it still tells a limiter that waits for the wrong thing (a padded window loses 6 %).
    assert seconds - stalls.seconds <= 1.05 * bound + 6 * 2 * transit[1]
