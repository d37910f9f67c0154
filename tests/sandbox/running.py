"""The sandbox's tests' fakes: a time that stands still until told, and a client of a running sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from proxy.sandbox import Entry, Sandbox, SandboxSettings

START = 1_000.0
WALL = 1_800_000_000.0


@dataclass
class FakeTime:
    """A clock that moves only when somebody sleeps or a test moves it."""

    now: float = START
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now - START

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A sandbox that listens, and a client of it."""

    sandbox: Sandbox
    url: str
    session: aiohttp.ClientSession
    time: FakeTime

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = "avk_test",
        fault: str | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        data: Any = None,
    ) -> Answer:
        """Send one request below `/api/v1` (or from the root, for a path that starts with `//`)."""
        sent = dict(headers or {})
        if key is not None:
            sent["X-Avala-Api-Key"] = key
        if fault is not None:
            sent["X-Sandbox-Fault"] = fault
        url = self.url + (path[1:] if path.startswith("//") else f"/api/v1{path}")
        async with self.session.request(
            method, url, headers=sent, json=json, data=data, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.ask("POST", path, **options)

    @property
    def last(self) -> Entry:
        """The ledger's last entry."""
        return self.sandbox.ledger.entries[-1]

    async def settled(self) -> None:
        """Wait until no request is in flight."""
        while self.sandbox.ledger.summary(entries=False)["in_flight"]:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)

    async def body_begun(self) -> None:
        """Wait until the last request's body has begun to arrive."""
        while not self.sandbox.ledger.entries or not self.last.body_size:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)

    async def faulted(self) -> None:
        """Wait until the last request has got its fault."""
        while not self.sandbox.ledger.entries or not self.last.fault:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def raw(
        self, line: str, *headers: str, body: bytes = b""
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Send a request on a bare connection: unlike aiohttp's client, it never repeats one by itself."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        method, path = line.split()
        head = [f"{method} /api/v1{path} HTTP/1.1", "Host: x", "X-Avala-Api-Key: avk_test", *headers, "", ""]
        writer.write("\r\n".join(head).encode(errors="surrogateescape") + body)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def settings(**changes: Any) -> SandboxSettings:
    return SandboxSettings(**{"seed": 1, **changes})
