"""Real servers on loopback addresses that do what a test scripts, and an upstream that sends to them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohappyeyeballs import AddrInfoType

from proxy import config
from proxy.adapters.names import system_resolver
from proxy.adapters.upstream import Upstream
from proxy.errors import UpstreamError
from proxy.messages import Body, Headers, NoBody, Request, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """A server that does what a test scripts, connection by connection, and records what it got."""

    script: "Script"
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    url: str = ""
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self.script(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head


Script = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    script: Script, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(script)
    listener = await asyncio.start_server(server.serve, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"{'http' if tls is None else 'https'}://{host}:{server.port}"
    try:
        yield server
    finally:
        listener.close()


@asynccontextmanager
async def sending(
    base_url: str, *, with_: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Upstream]:
    """Make an upstream; `with_` is what its constructor takes beside the settings."""
    chosen = config.Upstream.model_validate({"base_url": base_url, **settings})
    upstream = Upstream(chosen, config.Headers(), **(with_ or {}))
    try:
        yield upstream
    finally:
        await upstream.close()


@asynccontextmanager
async def running(
    script: Script, *, with_: dict[str, Any] | None = None, **settings: float | bool
) -> AsyncIterator[tuple[Server, Upstream]]:
    async with serving(script) as server, sending(server.url, with_=with_, **settings) as upstream:
        yield server, upstream


@dataclass
class Dns:
    """A resolver that answers with what a test says, hangs or fails, and counts the questions."""

    addresses: list[str] = field(default_factory=list)
    error: OSError | None = None
    gate: asyncio.Event | None = None
    questions: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        self.questions.append((host, port))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [info for address in self.addresses for info in await system_resolver(address, port)]


@dataclass
class Clock:
    """A clock that a test sets."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Marks:
    """Note how far the writing got."""

    marks: list[str] = field(default_factory=list)

    def started(self) -> None:
        self.marks.append("started")

    def sent(self) -> None:
        self.marks.append("sent")


def ask(method: str = "GET", target: str = "/api/v1/x/?a=%2F", body: Body | None = None) -> Request:
    fields = ((b"Host", b"proxy.local"), (b"X-Odd-CASE", b"1"), (b"x-odd-case", b"2"))
    return Request(method, target, Headers(fields), "192.0.2.1", 0.0, 1e9, "id-1", body=body or NoBody())


async def read(response: Response) -> bytes:
    try:
        return b"".join([chunk async for chunk in response.body.chunks()])
    finally:
        await response.body.close()


def answering(*answers: bytes) -> Script:
    """Answer request after request, over one connection each as long as it lasts."""
    left = list(answers)

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.head(reader)
            writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


async def failure(upstream: Upstream, request: Request | None = None) -> UpstreamError:
    try:
        await read(await upstream.send(request or ask(), Marks()))
    except UpstreamError as error:
        return error
    raise AssertionError("it did not fail")


@contextmanager
def full() -> Iterator[int]:
    """Yield a port at which connections are neither taken nor refused: as many wait there as may."""
    with ExitStack() as opened:
        port = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1)).getsockname()[1]
        for _ in range(4):
            other = opened.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(("127.0.0.1", port))
        yield port


@contextmanager
def refusing(host: str) -> Iterator[int]:
    """Yield a port at which connections are refused there: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind((host, 0))
        yield taken.getsockname()[1]
