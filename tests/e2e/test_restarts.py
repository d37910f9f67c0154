"""A proxy that is killed in the middle of a window and started again spends nothing twice: real programs."""

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from proxy.adapters.state_file import StateFile
from proxy.demo import scaled_limits
from tests.e2e import programs

pytestmark = [pytest.mark.wallclock, pytest.mark.timeout(180)]

LIMITS = programs.toml_limits(
    [
        limit.model_dump(exclude_none=True, exclude_defaults=True)
        | {"match": limit.match.model_dump(exclude_defaults=True)}
        for limit in scaled_limits()
    ]
)
KEY = {"X-Avala-Api-Key": "avk_team"}
RESTARTS = 10


class Lives:
    """One proxy after the other, at the same address, before a sandbox whose minutes last six seconds."""

    def __init__(self, tmp_path: Path, upstream: str, config: str) -> None:
        self.config = tmp_path / "proxy.toml"
        self.config.write_text(config)
        self.upstream = upstream
        self.logs: list[Path] = []
        self.statuses: Counter[int] = Counter()
        self.url = ""
        self._tmp_path = tmp_path
        self._numbers = itertools.count()

    @asynccontextmanager
    async def life(self, code: int = -signal.SIGKILL) -> AsyncIterator[asyncio.subprocess.Process]:
        log = self._tmp_path / f"proxy-{len(self.logs)}.log"
        self.logs.append(log)
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", self.upstream]
        async with programs.started(
            "serve", "--config", str(self.config), *where, log=log, code=code
        ) as process:
            self.url = (await programs.urls(process, log, 2))[0]
            yield process

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Send one request; who is cut off by a kill has no answer."""
        with suppress(aiohttp.ClientError):
            path = f"/api/v1/datasets/?limit=1&n={next(self._numbers)}"
            async with session.get(self.url + path, headers=KEY) as response:
                self.statuses[response.status] += 1


@asynccontextmanager
async def lives(
    tmp_path: Path, config: str = "", *, limit: str = "standard=100/6"
) -> AsyncIterator[tuple[Lives, aiohttp.ClientSession]]:
    async with (
        programs.sandbox(tmp_path, "--limit", limit, "--limit", "burst=20/1") as upstream,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session,
    ):
        yield Lives(tmp_path, upstream, LIMITS + config), session


async def refusals(some: Lives, session: aiohttp.ClientSession) -> int:
    done = await programs.ledger(session, some.upstream)
    count: int = done["by_status"].get("429", 0)
    print(f"\n{sum(done['by_status'].values())} arrived, {count} refused; clients got {dict(some.statuses)}")
    return count


async def knows_what_arrived(file: Path, some: Lives, session: aiohttp.ClientSession) -> None:
    """See that a state file has all that was sent, up to the moment of the kill."""
    state = StateFile(str(file), wall=time.time, told=lambda *said: None)
    saved = state.open()
    state.close()
    assert saved is not None
    [memory] = [memory for lane, memory in saved.lanes.items() if lane.limit == "standard"]
    entries = (await programs.ledger(session, some.upstream))["entries"]
    arrived = sum(entry["arrived"] > time.monotonic() - 5.0 for entry in entries)
    assert sum(age < 5.0 for age in memory.own) >= arrived > 0


async def test_ten_kills_under_a_load_that_spends_all_cost_no_refusal_with_a_state_file(
    tmp_path: Path,
) -> None:
    """The windows are full when it is killed: without a file nobody could know."""
    async with lives(tmp_path, f'[state]\nfile = "{tmp_path / "state.json"}"\n') as (some, session):

        async def caller() -> None:
            while True:
                await some.ask(session)
                await asyncio.sleep(0.01)

        callers: list[asyncio.Task[None]] = []
        for number in range(RESTARTS + 1):
            async with some.life(code=-signal.SIGKILL if number < RESTARTS else 0) as process:
                callers = callers or [asyncio.create_task(caller()) for _ in range(40)]
                await asyncio.sleep(1.5 + 0.37 * (number % 4))
                if number < RESTARTS:
                    answered = some.statuses.total()
                    while some.statuses.total() == answered:  # noqa: ASYNC110 - in the middle of what goes at once
                        await asyncio.sleep(0.001)
                    process.kill()
                    await process.wait()
                    await knows_what_arrived(tmp_path / "state.json", some, session)
                else:
                    for task in callers:
                        task.cancel()
                    await asyncio.gather(*callers, return_exceptions=True)
        assert await refusals(some, session) == 0
        assert some.statuses[200] >= 200
        credentials = {
            json.loads(line)["credential"]
            for log in some.logs
            for line in log.read_text().splitlines()
            if '"event": "request"' in line
        }
        assert len(credentials) == 1, "the key is known by the same name after each start"


async def test_ten_kills_in_the_middle_of_a_window_cost_no_refusal_without_one(tmp_path: Path) -> None:
    """Each life spends 40 of the 100; the first request of the next one finds out what is left."""
    async with lives(tmp_path) as (some, session):
        for _ in range(RESTARTS):
            before = (await programs.ledger(session, some.upstream))["requests"]
            async with some.life() as process:
                asked = asyncio.gather(*(some.ask(session) for _ in range(60)))
                while (await programs.ledger(session, some.upstream))["requests"] < before + 40:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                process.kill()
                await process.wait()
                await asked
            await asyncio.sleep(1.0)  # so that three lives never fall into one window
        assert await refusals(some, session) == 0
        assert some.statuses[200] >= 300


async def test_where_all_was_spent_and_no_file_tells_a_start_costs_two_refusals_at_most(
    tmp_path: Path,
) -> None:
    async with lives(tmp_path) as (some, session):
        for _ in range(2):
            async with some.life() as process:
                asked = asyncio.gather(*(some.ask(session) for _ in range(130)))
                await asyncio.sleep(5.2)
                process.kill()
                await process.wait()
                await asked
        async with some.life(code=0):
            await asyncio.gather(*(some.ask(session) for _ in range(20)))
        assert await refusals(some, session) <= 4
        assert set(some.statuses) == {200}, "no client hears of it"
