"""The real proxy in front of a scripted upstream, in one event loop, over real sockets."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.app import App
from proxy.config import load
from tests.wire.raw import Upstream

OPEN = [{"name": "standard", "requests": 100_000, "per": 1.0}]
"""Limits that no test meets."""


@dataclass(frozen=True)
class Stack:
    """What runs, and the port at which the proxy does."""

    upstream: Upstream
    port: int
    log: io.StringIO

    def crashes(self) -> list[str]:
        """Return what the proxy logged as its own failures."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [str(line) for line in lines if line["level"] in ("error", "critical")]


@asynccontextmanager
async def proxied(**tables: dict[str, Any]) -> AsyncIterator[Stack]:
    """Start both; `tables` are of the configuration. Failures are not tried again."""
    async with Upstream().running() as upstream:
        settings: dict[str, Any] = {
            "upstream": {"base_url": f"http://127.0.0.1:{upstream.port}"},
            "listen": {"addresses": ["127.0.0.1:0"], "admin_address": "127.0.0.1:0"},
            "log": {"format": "json"},
            "limits": OPEN,
            "retry": {"max_retries": 0, "base": 0.001, "jitter": 0.0},
        }
        for name, table in tables.items():
            settings[name] = settings.get(name, {}) | table
        log = io.StringIO()
        app = App(load(None, settings), log_stream=log)
        await app.start()
        stack = Stack(upstream, int(app.url.rpartition(":")[2]), log)
        try:
            yield stack
        finally:
            await app.stop(grace=0)
        assert stack.crashes() == []
