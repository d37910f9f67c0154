"""The whole proxy between a test and the pretend API, in one event loop, over real sockets."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from proxy.app import App
from proxy.config import load
from proxy.sandbox import Sandbox, SandboxSettings

KEY = {"X-Avala-Api-Key": "avk_team"}


@dataclass
class Stack:
    """What runs, and a client that asks."""

    sandbox: Sandbox
    app: App
    url: str
    upstream: str
    session: aiohttp.ClientSession
    stream: io.StringIO

    async def ask(
        self, method: str, path: str, *, fields: dict[str, str] | None = None, **options: Any
    ) -> tuple[int, bytes]:
        """Send one request with a key through the proxy."""
        async with self.session.request(
            method, self.url + path, headers=KEY | (fields or {}), **options
        ) as answer:
            return answer.status, await answer.read()

    async def metrics(self) -> dict[str, float]:
        """Return the series of the proxy as a scraper sees them, by name and labels."""
        async with self.session.get(self.app.admin_url + "/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {
            series: float(value)
            for series, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    @property
    def log(self) -> str:
        """The log so far, whole."""
        self.app.observability.flush()
        return self.stream.getvalue()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        parsed = [json.loads(line) for line in self.log.splitlines()]
        return [line for line in parsed if line["event"] == event]


@asynccontextmanager
async def running(sandbox: SandboxSettings | None = None, **overrides: Any) -> AsyncIterator[Stack]:
    """Start sandbox and proxy; `overrides` are tables of the configuration."""
    api = Sandbox(sandbox)
    async with api.running() as upstream:
        tables: dict[str, Any] = {
            "upstream": {"base_url": upstream},
            "listen": {"addresses": ["127.0.0.1:0"], "admin_address": "127.0.0.1:0", "grace": 1.0},
            "log": {"format": "json"},
        }
        for name, table in overrides.items():
            tables[name] = tables.get(name, {}) | table if isinstance(table, dict) else table
        log = io.StringIO()
        app = App(load(None, tables), log_stream=log)
        await app.start()
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                yield Stack(api, app, app.url, upstream, session, log)
        finally:
            await app.stop(grace=0)
