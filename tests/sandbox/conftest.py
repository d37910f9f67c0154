"""Fixtures: a factory of running sandboxes on fake time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Sandbox
from tests.sandbox.running import FakeTime, Running, settings

Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that starts a sandbox with the settings it is called with."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Running:
            time = FakeTime()
            sandbox = Sandbox(settings(**changes), clock=time.clock, wall=time.wall, sleep=time.sleep)
            url = await stack.enter_async_context(sandbox.running())
            connector = aiohttp.TCPConnector(force_close=True)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            return Running(sandbox, url, session, time)

        yield start


@pytest.fixture
async def running(serve: Serve) -> Running:
    """Give a running sandbox with the documented limits and no faults."""
    return await serve()
