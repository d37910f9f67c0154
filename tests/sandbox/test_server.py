"""The server: its own pages, its address, and its end."""

import asyncio
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest

from proxy.sandbox import Sandbox, SandboxSettings
from tests.sandbox.running import Running


async def test_the_index_tells_what_can_be_tried(running: Running) -> None:
    answer = await running.get("//", key=None)
    assert answer.status == 200
    assert "GET, POST, HEAD, OPTIONS /api/v1/datasets/" in answer.json["endpoints"]
    assert answer.json["limits"]["standard"] == "100/60"


async def test_the_ledger_is_read_and_emptied_over_http_without_being_counted(running: Running) -> None:
    await running.get("/users/me/")
    answer = await running.get("//_sandbox/ledger", key=None)
    assert answer.json == running.sandbox.ledger.summary()
    assert answer.json["entries"][0]["status"] == 200
    brief = await running.get("//_sandbox/ledger?entries=false")
    assert brief.json == running.sandbox.ledger.summary(entries=False)
    assert brief.json["requests"] == 1
    assert (await running.ask("DELETE", "//_sandbox/ledger")).status == 204
    assert running.sandbox.ledger.summary()["requests"] == 0


@pytest.mark.parametrize(("method", "path"), [("GET", "//x"), ("POST", "//"), ("PUT", "//_sandbox/ledger")])
async def test_other_pages_there_are_none(running: Running, method: str, path: str) -> None:
    assert (await running.ask(method, path)).status == 404


async def test_a_taken_port_is_an_os_error(running: Running) -> None:
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address"):
        async with Sandbox().running(port=port):
            pass


async def test_a_sandbox_can_listen_on_ipv6_and_again_after_it_stopped() -> None:
    sandbox = Sandbox()
    for _ in range(2):
        async with sandbox.running(host="::1") as url, aiohttp.ClientSession() as session:
            assert url.startswith("http://[::1]:")
            async with session.get(f"{url}/api/v1/status/") as response:
                assert response.status == 200
    assert sandbox.ledger.summary()["requests"] == 2
    assert repr(sandbox) == "<Sandbox <Ledger 2 requests, 0 in flight, {'200': 2}>>"


@pytest.mark.wallclock
async def test_it_stops_at_once_with_streams_open_and_says_so_in_the_ledger() -> None:
    sandbox = Sandbox(SandboxSettings(transit=(0.0, 0.001)))
    async with AsyncExitStack() as clients:
        async with sandbox.running() as url:
            session = await clients.enter_async_context(aiohttp.ClientSession())
            stream = await session.get(
                f"{url}/api/v1/events/stream/?interval=60", headers={"X-Avala-Api-Key": "avk_test"}
            )
            assert await stream.content.readline() == b"id: 1\n"
            started = time.perf_counter()
        assert time.perf_counter() - started < 0.5
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(stream.read(), 1)
    assert [entry.note for entry in sandbox.ledger.entries] == ["stopped"]
