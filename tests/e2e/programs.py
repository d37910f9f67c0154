"""The shipped programs as users start them: `avala-proxy` in processes of its own."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

_URL = re.compile(r"http://[0-9.:\[\]]+")


def environment(*, traced: bool) -> dict[str, str]:
    """Return ours without what would configure the proxy; a measurement is not traced for coverage."""
    ours = ("AVALA_",) if traced else ("AVALA_", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@asynccontextmanager
async def started(
    *arguments: str, log: Path, traced: bool = False, code: int = 0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `avala-proxy` with its output in a file; end it by SIGTERM, and demand that it ends well."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            *arguments,
            stdout=output,
            stderr=output,
            env=environment(traced=traced),
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            ended = await process.wait()
    assert ended == code, log.read_text()


async def urls(process: asyncio.subprocess.Process, log: Path, count: int) -> list[str]:
    """Wait until a program has said where it is."""
    while len(found := _URL.findall(log.read_text())) < count:
        assert process.returncode is None, log.read_text()
        await asyncio.sleep(0.02)
    return found


async def said(log: Path, text: str) -> None:
    """Wait until a program has said this."""
    async with asyncio.timeout(30):
        while text not in log.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


@asynccontextmanager
async def sandbox(tmp_path: Path, *options: str) -> AsyncIterator[str]:
    """Run the pretend API; yield its URL."""
    log = tmp_path / "sandbox.log"
    async with started("sandbox", "--listen", "127.0.0.1:0", *options, log=log) as process:
        yield (await urls(process, log, 1))[0]


@asynccontextmanager
async def proxy(tmp_path: Path, upstream: str, config: str = "") -> AsyncIterator[tuple[str, str]]:
    """Run the proxy with this configuration; yield its URL and that of its admin listener."""
    path, log = tmp_path / "proxy.toml", tmp_path / "proxy.log"
    path.write_text(config)
    where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
    async with started("serve", "--config", str(path), *where, log=log) as process:
        address, admin = await urls(process, log, 2)
        yield address, admin


def toml_limits(limits: Sequence[dict[str, Any]]) -> str:
    """Write limits as TOML; JSON's values are TOML's here."""
    tables = []
    for limit in limits:
        match = ", ".join(f"{name} = {json.dumps(value)}" for name, value in limit["match"].items())
        lines = [
            f"{name} = {json.dumps(value)}" for name, value in limit.items() if name not in ("match", "pace")
        ]
        if pace := limit.get("pace"):
            lines.append(f"pace = {{ burst = {pace['burst']}, rate = {pace['rate']} }}")
        tables.append("\n".join(["[[limits]]", *lines, f"match = {{ {match} }}"]))
    return "\n\n".join(tables) + "\n"


async def ledger(session: aiohttp.ClientSession, upstream: str) -> dict[str, Any]:
    """Return what the sandbox really did."""
    async with session.get(f"{upstream}/_sandbox/ledger") as response:
        content: dict[str, Any] = await response.json()
        return content
