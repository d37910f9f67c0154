"""SIGHUP reads the configuration again: nothing fails or is spent twice; a bad file changes nothing."""

import asyncio
import itertools
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e import programs
from tests.e2e.test_goodput import LIMITS

KEY = {"X-Avala-Api-Key": "avk_team"}


class Running:
    """A proxy in a process of its own, whose configuration can be written anew."""

    process: asyncio.subprocess.Process
    url: str
    admin: str

    def __init__(self, tmp_path: Path, session: aiohttp.ClientSession) -> None:
        self.config, self.log = tmp_path / "proxy.toml", tmp_path / "proxy.log"
        self.session = session
        self.statuses: Counter[int] = Counter()
        self._numbers = itertools.count()

    async def reload(self, text: str, said: str = "reloaded") -> None:
        before = len(self.lines(said))
        self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while len(self.lines(said)) == before:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    async def ask(self, path: str = "/api/v1/datasets/", **fields: str) -> None:
        number = next(self._numbers)
        async with self.session.get(f"{self.url}{path}?limit=1&n={number}", headers=KEY | fields) as response:
            self.statuses[response.status] += 1

    async def status(self) -> dict[str, Any]:
        async with self.session.get(f"{self.admin}/status") as response:
            content: dict[str, Any] = await response.json()
            return content


@asynccontextmanager
async def running(tmp_path: Path, upstream: str, text: str) -> AsyncIterator[Running]:
    where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    text = f'[upstream]\nbase_url = "{upstream}"\n{text}'
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        run = Running(tmp_path, session)
        run.config.write_text(text)
        async with programs.started(
            "serve", "--config", str(run.config), *where, log=run.log, traced=True
        ) as run.process:
            # The upstream's own address is in no line before the proxy's.
            run.url, run.admin = (await programs.urls(run.process, run.log, 2))[:2]
            yield run


async def test_under_load_a_reload_fails_no_request_and_spends_nothing_twice(tmp_path: Path) -> None:
    async with (
        programs.sandbox(tmp_path, "--limit", "standard=100/6", "--limit", "burst=20/1") as upstream,
        running(tmp_path, upstream, LIMITS) as run,
    ):
        text = run.config.read_text()

        async def caller() -> None:
            for _ in range(8):
                await run.ask()

        callers = asyncio.gather(*(caller() for _ in range(20)))
        for number in range(12):
            await asyncio.sleep(0.4)
            await run.reload(text.replace("[upstream]", f"[upstream]\nread_timeout = {30 + number}"))
        await callers
        done = await programs.ledger(run.session, upstream)
        assert run.statuses == {200: 160}
        assert done["by_status"] == {"200": 160}
        assert len(run.lines("reloaded")) == 12


async def test_a_bad_file_changes_nothing_and_the_log_says_what_is_wrong(tmp_path: Path) -> None:
    async with programs.sandbox(tmp_path) as upstream, running(tmp_path, upstream, "") as run:
        await run.reload("[retry]\nmax_retries = -1\n", said="reload_failed")
        (line,) = run.lines("reload_failed")
        assert line["level"] == "warning"
        assert "Nothing was changed. retry.max_retries in" in line["detail"]
        await run.ask()
        assert run.statuses == {200: 1}


async def test_a_changed_limit_is_in_force_at_once_with_what_was_spent(tmp_path: Path) -> None:
    limit = '[[limits]]\nname = "standard"\nrequests = {}\nper = 60.0\n'
    async with programs.sandbox(tmp_path) as upstream, running(tmp_path, upstream, limit.format(50)) as run:
        text = run.config.read_text()
        await asyncio.gather(*(run.ask() for _ in range(10)))
        (standard,) = (await run.status())["state"]["limits"]
        # The API says 100, and that is what counts within the bounds.
        assert (standard["capacity"], standard["remaining"]) == (100, 90)
        await run.reload(text.replace("requests = 50", "requests = 20\nceiling = 20"))
        (standard,) = (await run.status())["state"]["limits"]
        assert (standard["capacity"], standard["remaining"]) == (20, 10)
        assert "requests = 20" in (await run.status())["configuration"]


async def test_another_upstream_gets_what_comes_and_the_first_one_ends_what_it_has(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    async with (
        programs.sandbox(one) as first,
        programs.sandbox(other) as second,
        running(tmp_path, first, "") as run,
    ):
        await run.ask()
        slow = asyncio.create_task(run.ask(**{"X-Sandbox-Fault": "slow;seconds=1"}))
        await asyncio.sleep(0.3)
        await run.reload(run.config.read_text().replace(first, second))
        await run.ask()
        await slow
        assert run.statuses == {200: 3}
        counts = [(await programs.ledger(run.session, api))["requests"] for api in (first, second)]
        assert counts == [2, 1]


async def test_what_needs_a_new_start_is_named(tmp_path: Path) -> None:
    async with programs.sandbox(tmp_path) as upstream, running(tmp_path, upstream, "") as run:
        await run.reload(run.config.read_text() + "[listen]\ngrace = 1.0\n[retry]\nbase = 2.0\n")
        (line,) = run.lines("reloaded")
        assert line["detail"].endswith("A new start is needed for changes of: listen.")
        assert "base = 2.0" in (await run.status())["configuration"]


async def test_a_client_that_is_no_longer_known_is_refused(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    known = f'[[clients]]\nname = "ci"\ntoken = "{token}"\n'
    async with programs.sandbox(tmp_path) as upstream, running(tmp_path, upstream, known) as run:
        text = run.config.read_text()
        await run.ask(**{"Avala-Proxy-Token": token})
        await run.reload(text.replace(token, "another-token-of-it"))
        await run.ask(**{"Avala-Proxy-Token": token})
        assert run.statuses == {200: 1, 401: 1}
