"""Who listens at an admin address is asked, and disturbed by nothing that would cost anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from proxy.config_places import parse_place
from proxy.doctor.running import Running, ask

STATUS = {"version": "0.1.0", "configuration": '[listen]\naddresses = ["127.0.0.1:8080", "unix:/run/p"]\n'}
READY = {"ready": True, "reason": "serving"}


@asynccontextmanager
async def listening(
    pages: dict[str, Any], headers: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve these pages as JSON, or as they are if they are text; yield where, and what was asked for."""
    asked: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        page = pages.get(request.path)
        text = page if isinstance(page, str) else json.dumps(page)
        return web.Response(text=text, status=404 if page is None else 200, headers=headers)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_a_proxy_that_runs_says_what_it_is_and_where_it_listens() -> None:
    async with listening({"/status": STATUS, "/readyz": READY}) as (address, asked):
        running = await ask(parse_place(address))
    assert running is not None
    assert str(running) == "a running avala-proxy 0.1.0, ready"
    assert running.listens(parse_place("127.0.0.1:8080"))
    assert running.listens(parse_place("0.0.0.0:8080"))
    assert running.listens(parse_place("unix:/run/p"))
    assert not running.listens(parse_place("127.0.0.1:8081"))
    assert asked == ["OPTIONS *", "GET /status", "GET /readyz"]


async def test_one_that_listens_everywhere_is_asked_on_loopback() -> None:
    async with listening({"/status": STATUS, "/readyz": READY}) as (address, _):
        running = await ask(parse_place(f"0.0.0.0:{address.partition(':')[2]}"))
    assert running is not None


def test_one_that_is_not_ready_says_why() -> None:
    running = Running("0.1.0", False, "draining", ())
    assert str(running) == "a running avala-proxy 0.1.0, not ready (draining)"


async def test_a_listener_for_clients_is_not_asked_for_a_page_which_the_api_would_be_asked_for() -> None:
    headers = {"Proxy-Status": "avala-proxy; error=http_request_error"}
    async with listening({"/status": STATUS, "/readyz": READY}, headers) as (address, asked):
        assert await ask(parse_place(address)) is None
    assert asked == ["OPTIONS *"]


@pytest.mark.parametrize(
    "status",
    [
        None,
        "<html>",
        [],
        {},
        {**STATUS, "configuration": "no TOML"},
        {**STATUS, "configuration": 1},
        "1" * 2**21,
    ],
)
async def test_whatever_else_answers_is_no_proxy(status: Any) -> None:
    async with listening({"/status": status, "/readyz": READY}) as (address, _):
        assert await ask(parse_place(address)) is None


async def test_what_is_gone_or_hangs_up_is_no_proxy() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await ask(parse_place(f"127.0.0.1:{port}")) is None
    assert await ask(parse_place(f"127.0.0.1:{port}")) is None
