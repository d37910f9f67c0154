"""Streams flow at once, for as long as they live, in bounded memory, and hold their place to their end."""

import asyncio
import gzip
import json
import re
import statistics
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import programs
from tests.e2e.stack import Stack, running
from tests.fakes import until

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SOON = 5.0
"""Seconds after which what should come at once has not come."""


@dataclass
class Peer:
    """One end of a connection, on which bytes are written and read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def left(self) -> None:
        """Wait until the other end has hung up."""
        async with asyncio.timeout(SOON):
            await self.gone.wait()

    async def head(self) -> bytes:
        """Read a head."""
        async with asyncio.timeout(SOON):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def chunk(self) -> bytes:
        """Read a chunk of a chunked body; an empty one is its end."""
        async with asyncio.timeout(SOON):
            size = int(await self.reader.readline(), 16)
            content = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        return content

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(SOON):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        async with asyncio.timeout(SOON):
            return await self.reader.read()

    def write(self, content: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(content)

    def send(self, content: bytes) -> None:
        """Send a chunk; an empty one ends the body."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(content), content))

    def leave(self) -> None:
        """Hang up."""
        self.writer.transport.abort()


@dataclass
class Live:
    """An upstream whose answers a test writes by hand."""

    url: str = ""
    asked: asyncio.Queue[tuple[bytes, Peer]] = field(default_factory=asyncio.Queue)
    peers: list[Peer] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Live"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            try:
                yield self
            finally:
                for peer in self.peers:
                    peer.leave()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            while True:
                self.asked.put_nowait((await reader.readuntil(b"\r\n\r\n"), peer))
        except (ConnectionError, asyncio.IncompleteReadError):
            peer.gone.set()
            writer.close()

    async def request(self) -> tuple[bytes, Peer]:
        """Wait for a request; return its head, and where to answer."""
        async with asyncio.timeout(SOON):
            return await self.asked.get()

    async def connect(self, url: str) -> Peer:
        """Be a client."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        peer = Peer(*await asyncio.open_connection(host, int(port)))
        self.peers.append(peer)
        return peer

    async def ask(self, url: str, target: str = "/events/", *fields: str) -> Peer:
        """Be a client that asks for a stream."""
        peer = await self.connect(url)
        lines = [f"GET {target} HTTP/1.1", "Host: h", "Accept: text/event-stream", *fields]
        peer.write("\r\n".join([*lines, "", ""]).encode())
        return peer


@asynccontextmanager
async def proxied(**overrides: Any) -> AsyncIterator[tuple[Live, Stack]]:
    """Run a proxy in front of an upstream that is written by hand."""
    upstream = overrides.pop("upstream", {})
    async with (
        Live().running() as live,
        running(upstream={"base_url": live.url, **upstream}, **overrides) as stack,
    ):
        yield live, stack


async def test_the_head_arrives_before_anything_is_streamed() -> None:
    async with proxied() as (live, stack):
        client = await live.ask(stack.url)
        _, upstream = await live.request()
        upstream.write(SSE)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")


async def test_events_arrive_one_by_one_each_before_the_next_is_sent() -> None:
    async with proxied() as (live, stack):
        client = await live.ask(stack.url)
        _, upstream = await live.request()
        upstream.write(SSE)
        await client.head()
        for number in range(20):
            event = b"id: %d\ndata: tick\n\n" % number
            upstream.send(event)
            assert await client.chunk() == event
        upstream.send(b"")
        assert await client.chunk() == b""


async def test_a_compressed_stream_arrives_as_it_was_compressed() -> None:
    async with proxied() as (live, stack):
        client = await live.ask(stack.url, "/events/", "Accept-Encoding: gzip")
        head, upstream = await live.request()
        assert b"Accept-Encoding: gzip\r\n" in head
        upstream.write(SSE[:-2] + b"Content-Encoding: gzip\r\n\r\n")
        assert b"Content-Encoding: gzip\r\n" in await client.head()
        packer, got = zlib.compressobj(wbits=31), b""
        for number in range(3):
            piece = packer.compress(b"data: %d\n\n" % number) + packer.flush(zlib.Z_SYNC_FLUSH)
            upstream.send(piece)
            arrived = await client.chunk()
            assert arrived == piece
            got += arrived
        upstream.send(packer.flush())
        got += await client.chunk()
        assert gzip.decompress(got) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_stream_may_be_silent_for_longer_than_other_bodies() -> None:
    async with proxied(upstream={"read_timeout": 0.2, "stream_timeout": 30.0}) as (live, stack):
        client = await live.ask(stack.url)
        _, upstream = await live.request()
        upstream.write(SSE)
        upstream.send(b"data: 1\n\n")
        await client.head()
        assert await client.chunk() == b"data: 1\n\n"
        await asyncio.sleep(0.7)
        upstream.send(b"data: 2\n\n")
        assert await client.chunk() == b"data: 2\n\n"


@pytest.mark.parametrize(
    ("kind", "timeouts"),
    [
        (b"text/event-stream", {"read_timeout": 30.0, "stream_timeout": 0.3}),
        (b"text/csv", {"read_timeout": 0.3, "stream_timeout": 30.0}),
    ],
    ids=["a stream", "another body"],
)
async def test_what_is_silent_for_too_long_is_broken_off_and_not_ended(
    kind: bytes, timeouts: dict[str, float]
) -> None:
    async with proxied(upstream=timeouts) as (live, stack):
        client = await live.ask(stack.url)
        _, upstream = await live.request()
        upstream.write(SSE.replace(b"text/event-stream", kind))
        upstream.send(b"one")
        await client.head()
        assert await client.chunk() == b"one"
        assert await client.rest() == b""  # a tidy end would be the chunk of size 0
        await upstream.left()
        await until(lambda: stack.lines("request") != [])
        assert stack.lines("request")[0]["error_class"] == "read_timeout"


async def open_stream(live: Live, stack: Stack) -> tuple[Peer, Peer]:
    """Return both ends of a stream that has begun."""
    client = await live.ask(stack.url)
    _, upstream = await live.request()
    upstream.write(SSE)
    await client.head()
    return client, upstream


STREAMS = [{"name": "streams", "concurrent": 2, "key": "global", "match": {"streaming": True}}]


async def test_a_place_is_held_to_the_end_of_the_stream() -> None:
    async with proxied(limits=STREAMS) as (live, stack):
        await open_stream(live, stack)
        client, upstream = await open_stream(live, stack)
        third = await live.ask(stack.url)
        await until(lambda: stack.app.state().queued == 1)
        upstream.send(b"data: still here\n\n")
        await client.chunk()
        assert live.asked.empty()
        upstream.send(b"")  # it ends
        _, upstream = await live.request()
        upstream.write(SSE)
        await third.head()


async def test_a_place_is_free_when_the_client_leaves() -> None:
    async with proxied(limits=STREAMS) as (live, stack):
        await open_stream(live, stack)
        client, upstream = await open_stream(live, stack)
        await live.ask(stack.url)
        await until(lambda: stack.app.state().queued == 1)
        client.leave()
        await upstream.left()  # at once, too
        await live.request()
        assert stack.app.state().queued == 0


async def test_a_long_download_flows_while_it_is_still_sent() -> None:
    async with proxied() as (live, stack):
        client = await live.ask(stack.url, "/exports/big.csv")
        _, upstream = await live.request()
        upstream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        assert b"Content-Length: 1000000\r\n" in await client.head()
        for _ in range(10):
            upstream.write(b"x" * 100_000)
            assert await client.exactly(100_000) == b"x" * 100_000


async def test_a_client_that_stops_reading_stalls_the_upstream() -> None:
    piece, pieces = bytes(range(256)) * 256, 1024
    async with proxied() as (live, stack):
        client = await live.ask(stack.url, "/exports/big.bin")
        _, upstream = await live.request()
        upstream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
        await client.head()
        written = 0

        async def send() -> None:
            nonlocal written
            for _ in range(pieces):
                upstream.write(piece)
                await upstream.writer.drain()
                written += len(piece)

        sending = asyncio.create_task(send())
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.2)
        assert not sending.done()
        print(f"\na client that does not read lets {written / 1e6:.1f} MB of {len(piece) * pieces / 1e6:.0f}")
        assert written < 24e6  # the kernel's buffers of two connections, and a little of ours
        for _ in range(pieces):
            assert await client.exactly(len(piece)) == piece
        await sending


async def test_a_websocket_is_refused_in_clear_words_and_goes_no_further() -> None:
    async with proxied() as (live, stack):
        client = await live.connect(stack.url)
        client.write(
            b"GET /ws/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head, _, content = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 501 ")
        assert json.loads(content)["code"] == "proxy_upgrade_refused"
        assert live.asked.empty()


async def test_an_offer_of_http_2_is_ignored_and_the_request_served() -> None:
    async with proxied() as (live, stack):
        client = await live.connect(stack.url)
        client.write(
            b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
        )
        head, upstream = await live.request()
        assert not re.search(rb"upgrade|http2-settings|connection", head, re.IGNORECASE)
        upstream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.wallclock
async def test_an_event_reaches_the_client_within_50_ms(tmp_path: Path) -> None:
    async with Live().running() as live, programs.proxy(tmp_path, live.url) as (url, _):
        firsts: list[float] = []
        others: list[float] = []
        for _ in range(15):
            client = await live.ask(url)
            _, upstream = await live.request()
            upstream.write(SSE)
            for delays in (firsts, others, others):
                began = time.perf_counter()
                upstream.send(b"data: now\n\n")
                if delays is firsts:
                    await client.head()
                assert await client.chunk() == b"data: now\n\n"
                delays.append(1000 * (time.perf_counter() - began))
            client.leave()
            await asyncio.sleep(0.05)
    print(
        f"\nfirst event: median {statistics.median(firsts):.2f} ms, longest {max(firsts):.2f} ms;"
        f" further ones: median {statistics.median(others):.2f} ms, longest {max(others):.2f} ms"
    )
    assert statistics.median(firsts) < 50
    assert statistics.median(others) < 50
