"""The stream of events, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from proxy.admin.handlers import Admin
from proxy.admin.watch import MOST
from proxy.clock import LoopClock
from proxy.config import Settings
from proxy.config_places import parse_place
from proxy.listener import Listener
from proxy.sockets import Sockets
from tests.admin.test_admin import CALLERS, RECENT, Proxy
from tests.fakes import until

Client = aiohttp.ClientSession


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


class Place:
    """The admin listener where it is, and one who asks there."""

    def __init__(self, proxy: Proxy) -> None:
        settings = Settings().listen
        self.admin = Admin(
            render_metrics=proxy.render,
            state=proxy.state,
            callers=lambda: CALLERS,
            recent=lambda: RECENT,
            ready=lambda: proxy.ready,
            force=proxy.force,
            token=None,
            effective="[upstream]\n",
            version="1.2.3",
            clock=LoopClock(),
        )
        self.listener = Listener(self.admin.handle, self.admin.refuse, settings)
        self.doors = Sockets(self.listener, settings)

    @property
    def watching(self) -> int:
        return int(repr(self.admin._stream._watch).split()[-1][:-1])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Client]:
        (url,) = await self.doors.open(parse_place("127.0.0.1:0"))
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
            yield session
        await self.close()

    async def close(self) -> None:
        self.admin.close()
        await self.doors.close()


@pytest.fixture
async def place(proxy: Proxy) -> Place:
    return Place(proxy)


async def told(answer: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Return the next event; what has no name is not one."""
    while True:
        lines = (await answer.content.readuntil(b"\n\n")).decode().splitlines()
        fields = [line.split(": ", 1) for line in lines if line and not line.startswith(":")]
        if fields and fields[0][0] == "event":
            assert [name for name, _ in fields] == ["event", "data"]
            return fields[0][1], json.loads(fields[1][1])


async def test_the_configuration_comes_first_and_the_status_at_once_and_every_second(place: Place) -> None:
    async with place.open() as client, client.get("/events") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert await told(answer) == ("configuration", "[upstream]\n")
        name, status = await told(answer)
        assert (name, status["version"], status["state"]["in_flight"]) == ("status", "1.2.3", 7)
        async with client.get("/status") as whole:
            assert status.keys() == (await whole.json()).keys() - {"configuration"}
        place.admin.effective = "reloaded\n"
        assert await told(answer) == ("configuration", "reloaded\n")
        assert (await told(answer))[1]["uptime"] >= status["uptime"] + 0.5


async def test_a_browser_is_told_when_to_come_back(place: Place) -> None:
    async with place.open() as client, client.get("/events") as answer:
        assert b"\nretry: 2000\n\n" in await answer.content.readuntil(b"\n\n")


async def test_a_head_is_the_head_alone(place: Place) -> None:
    async with place.open() as client:
        async with client.head("/events") as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert "Content-Length" not in answer.headers
        assert place.watching == 0


async def test_one_of_an_older_protocol_is_told_until_the_connection_ends(place: Place) -> None:
    async with place.open() as client:
        assert client._base_url is not None
        reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
        writer.write(b"GET /events HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"event: status\ndata: {")
        place.admin.close()
        assert (await reader.read()).endswith(b"}\n\n")
        writer.close()
        await writer.wait_closed()


async def test_no_more_watch_than_may_and_who_leaves_makes_room(place: Place) -> None:
    async with place.open() as client:
        watchers = [await client.get("/events") for _ in range(MOST)]
        async with client.get("/events") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            assert "as many as may" in (await answer.json())["detail"]
        watchers[0].close()
        await until(lambda: place.watching == MOST - 1)
        async with client.get("/events") as answer:
            assert answer.status == 200
        for watcher in watchers:
            watcher.close()


async def test_it_can_only_be_read_and_not_by_a_page_whose_name_was_rebound(place: Place) -> None:
    async with place.open() as client:
        async with client.post("/events") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        async with client.get("/events", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403


async def test_at_the_close_streams_end_tidily_and_at_once(place: Place) -> None:
    async with place.open() as client, client.get("/events") as answer:
        await told(answer)
        before = asyncio.get_running_loop().time()
        await place.close()
        assert asyncio.get_running_loop().time() - before < 0.9
        assert (await answer.content.read()).endswith(b"\n\n")


async def test_one_who_takes_nothing_is_cut_off_at_the_close_and_does_not_delay_it(
    place: Place, proxy: Proxy
) -> None:
    proxy.ready = (True, "x" * 30_000_000)  # more than the system takes for a client that does not
    async with place.open() as client:
        answer = await client.get("/events")
        await until(lambda: bool(place.admin._stream._watch._writing))
        before = asyncio.get_running_loop().time()
        await place.close()
        assert asyncio.get_running_loop().time() - before < 0.9
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
