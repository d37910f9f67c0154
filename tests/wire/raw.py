"""HTTP/1.1 as bytes: a client and an upstream that send what they are told, and keep what they get.

The only place of these tests that reads from a socket. No parser of the proxy has a part in it; what is read
here is only as much as it takes to know where a message ends.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import chain, repeat

Fields = tuple[tuple[bytes, bytes], ...]

PATIENCE = 5.0
"""Seconds after which whoever is waited for is taken to hang."""


class End(Enum):
    """How a script goes on where it has no bytes to send."""

    CLOSE = auto()
    RESET = auto()
    HANG = auto()


Step = bytes | float | End
Script = Sequence[Step]
"""What to send, how many seconds to wait, and how to end; a script without an end keeps the connection."""


@dataclass(frozen=True)
class Message:
    """A request or a response, its body without the framing; `framing` is none, length, chunked or close."""

    line: bytes
    fields: Fields
    body: bytes = b""
    framing: str = "none"
    trailers: Fields = ()
    interim: tuple[bytes, ...] = ()

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of a field (name in lower case), in order."""
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.line.split(b" ", 2)[1])


def parsed(head: bytes) -> Message:
    """Take a head apart; what comes after it is left out."""
    line, *lines = head.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].split(b"\r\n")
    parted = (field.partition(b":") for field in lines)
    return Message(line, tuple((name, value.strip(b" \t")) for name, _, value in parted))


class Wire:
    """A connection, and every byte that came over it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, patience: float | None = PATIENCE
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._patience = patience
        self._at = 0
        self.received = bytearray()

    async def send(self, content: bytes) -> None:
        """Send; that nobody listens any more is for the reader to find out."""
        with suppress(ConnectionError):
            self._writer.write(content)
            await self._writer.drain()

    def finish(self) -> None:
        """End our half of the connection."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Break the connection, so that the other side knows."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def forget(self) -> None:
        """Keep nothing of what came."""
        self.received.clear()
        self._at = 0

    async def _more(self) -> None:
        async with asyncio.timeout(self._patience):
            content = await self._reader.read(1 << 16)
        if not content:
            raise EOFError
        self.received += content

    async def until(self, mark: bytes) -> bytes:
        """Read up to a mark, and return what was before it; raises EOFError."""
        while (place := self.received.find(mark, self._at)) < 0:
            await self._more()
        found = bytes(self.received[self._at : place])
        self._at = place + len(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes; raises EOFError."""
        while len(self.received) < self._at + size:
            await self._more()
        found = bytes(self.received[self._at : self._at + size])
        self._at += size
        return found

    async def rest(self) -> bytes:
        """Read to the end, which is a tidy one: a reset raises ConnectionError."""
        with suppress(EOFError):
            while True:
                await self._more()
        found = bytes(self.received[self._at :])
        self._at = len(self.received)
        return found

    async def head(self) -> Message:
        """Read a first line and fields, whose values are without the spaces around them; raises EOFError."""
        begin = await self.until(b"\r\n")
        while not begin:  # empty lines before a request line count for nothing (RFC 9112 section 2.2)
            begin = await self.until(b"\r\n")
        self._at -= len(begin) + 2
        return parsed(await self.until(b"\r\n\r\n"))

    async def content(self, head: Message) -> Message:
        """Read the body of a request; to `Expect: 100-continue` the answer is yes (not in HTTP/1.0)."""
        if b"100-continue" in head.all(b"expect") and head.line.endswith(b"1.1"):
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._body(head, open_ended=False)

    async def response(self, method: bytes = b"GET") -> Message:
        """Read the answer to a request of this method."""
        interim: list[bytes] = []
        while True:
            head = await self.head()
            status = head.line.split(b" ")[1]
            if not status.startswith(b"1"):
                break
            interim.append(head.line)
        head = replace(head, interim=tuple(interim))
        if method == b"HEAD" or status in (b"204", b"304"):
            return head
        return await self._body(head, open_ended=True)

    async def _body(self, head: Message, *, open_ended: bool) -> Message:
        lengths = head.all(b"content-length")
        if b"chunked" in head.all(b"transfer-encoding"):
            body, trailers = await self._chunks(), await self._trailers()
            return replace(head, body=body, framing="chunked", trailers=trailers)
        if lengths:
            return replace(head, body=await self.exactly(int(lengths[0])), framing="length")
        return replace(head, body=await self.rest(), framing="close") if open_ended else head

    async def _chunks(self) -> bytes:
        content = bytearray()
        while size := int((await self.until(b"\r\n")).partition(b";")[0], 16):
            content += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
        return bytes(content)

    async def _trailers(self) -> Fields:
        found = []
        while line := await self.until(b"\r\n"):
            name, _, value = line.partition(b":")
            found.append((name, value.strip(b" \t")))
        return tuple(found)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    """Connect to a port of this machine."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield wire
    finally:
        await wire.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Upstream:
    """Answer each request with the next script, and keep every byte that came, by connection."""

    def __init__(self) -> None:
        self._scripts: Iterator[Script] = repeat([OK])
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeting: Script | None = None
        self._early = False
        self.requests: list[Message] = []
        self.port = 0

    def play(self, *scripts: Script, greeting: Script | None = None, early: bool = False) -> None:
        """Forget what came; answer so, and then with `OK`.

        A greeting does not wait for a request. An early answer does not wait for the body of its request.
        """
        self._early = early
        self._scripts = chain(scripts, repeat([OK]))
        self._greeting = greeting
        self.requests = []
        for wire in self._wires:
            wire.forget()

    @property
    def received(self) -> list[bytes]:
        """What came since `play`, by connection."""
        return [bytes(wire.received) for wire in self._wires if wire.received]

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._wires)

    async def hang_up(self) -> None:
        """End every connection, so that the next request needs a new one."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # until the other side knows

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Upstream"]:
        """Listen on a port of this machine."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self.hang_up()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(Wire(reader, writer, patience=None)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, wire: Wire) -> None:
        self._wires.append(wire)
        greeting, self._greeting = self._greeting, None
        try:
            script = greeting
            while script is None or await _perform(wire, script):
                request = await wire.head()
                if not self._early:
                    request = await wire.content(request)
                self._early = False
                self.requests.append(request)
                script = next(self._scripts)
        except (EOFError, ConnectionError, ValueError):
            return  # whatever made it end is in what was received
        finally:
            await wire.close()


async def _perform(wire: Wire, script: Script) -> bool:
    """Play a script; return whether the connection goes on."""
    for step in script:
        match step:
            case bytes():
                await wire.send(step)
            case float():
                await asyncio.sleep(step)
            case End.CLOSE:
                return False
            case End.RESET:
                wire.reset()
                return False
            case End.HANG:
                await wire.rest()
                return False
    return True
