"""Prometheus and its tool, as they are installed; tests that need one are skipped where it is missing."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.deploy.shipped import PROMETHEUS

_LISTENING = re.compile(r'"Listening on" address=(\S+)')
_READY = "Server is ready to receive web requests."


def program(name: str) -> str:
    """Return the path of a program; skips the test if this machine has none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def promtool(*arguments: str | Path, given: str = "") -> str:
    """Run promtool with a standard input; demand that it finds nothing wrong, and return what it says."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=given, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """A Prometheus that runs, and what it can be asked."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression comes to now; demands that it can be worked out."""
        answer = await self._ask("query", query=expression)
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped, and how that goes."""
        found: list[dict[str, Any]] = (await self._ask("targets"))["data"]["activeTargets"]
        return found

    async def rules(self) -> list[dict[str, Any]]:
        """Return every rule, and how its last evaluation went."""
        groups = (await self._ask("rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name."""
        alerts = (await self._ask("alerts"))["data"]["alerts"]
        return {one["labels"]["alertname"]: one for one in alerts if one["state"] == "firing"}

    async def _ask(self, what: str, **parameters: str) -> dict[str, Any]:
        async with self._session.get(f"{self._url}/api/v1/{what}", params=parameters) as answer:
            content: dict[str, Any] = await answer.json()
            return content


@asynccontextmanager
async def prometheus(
    folder: Path, target: str, hurried: Callable[[str], str] = str
) -> AsyncIterator[Prometheus]:
    """Run Prometheus with what is shipped, in front of a proxy's admin listener (HOST:PORT).

    It scrapes and evaluates each second; `hurried` changes the text of the rules.
    """
    for name in ("rules.yml", "alerts.yml"):
        (folder / name).write_text(hurried((PROMETHEUS / name).read_text()))
    config = (PROMETHEUS / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:9464", target).replace(": 15s", ": 1s")
    (folder / "prometheus.yml").write_text(config)
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            *("--config.file", str(folder / "prometheus.yml"), "--storage.tsdb.path", str(folder / "data")),
            *("--web.listen-address", "127.0.0.1:0", "--enable-feature", "exemplar-storage"),
            stdout=output,
            stderr=output,
        )
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(session, f"http://{await _address(process, log)}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    """Wait until it serves, and return where."""
    async with asyncio.timeout(30):
        while _READY not in (said := log.read_text()):
            assert process.returncode is None, said
            await asyncio.sleep(0.05)
    (address,) = _LISTENING.findall(said)
    assert isinstance(address, str)
    return address
