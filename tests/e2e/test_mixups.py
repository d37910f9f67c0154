"""Two hundred clients come and go, pipeline and break off, the upstream fails: each gets only its own."""

import asyncio
import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import h11
import pytest

from proxy.adapters.body import Spools
from proxy.config import Body
from tests.e2e.stack import running
from tests.fakes import until

CLIENTS, AT_LEAST = 200, 3000
AT_ONCE = 40
SETTINGS: dict[str, Any] = {
    "limits": [{"name": "standard", "concurrent": AT_ONCE, "key": "global"}],
    "retry": {"base": 0.01, "cap": 0.02, "budget": 100.0},
    "body": {"memory": 50_000},  # so that some uploads go to files
    "queue": {"size": 10_000},
}


def content(token: str, size: int) -> bytes:
    """Make a body that nobody else has."""
    seed = hashlib.sha256(token.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def key(token: str) -> str:
    """Make a key that nobody else has; a request's id that is a part of its key would count as absent."""
    return f"avk_{token[::-1]}"


@dataclass(frozen=True)
class Call:
    """A request, and all that is needed to know its answer."""

    token: str
    method: str
    up: int
    """Bytes of its body."""
    down: int
    """Bytes of its answer's body."""
    delay: float
    """Seconds that the upstream takes."""
    fault: str
    """What happens to its first attempt."""

    @property
    def head(self) -> bytes:
        query = f"up={self.up}&down={self.down}&delay={self.delay:.4f}&fault={self.fault}"
        length = f"Content-Length: {self.up}\r\n" if self.up else ""
        return (
            f"{self.method} /{self.token}?{query} HTTP/1.1\r\nHost: h\r\n"
            f"X-Avala-Api-Key: {key(self.token)}\r\nX-Request-Id: {self.token}\r\n{length}\r\n"
        ).encode()

    @property
    def body(self) -> bytes:
        return content("up" + self.token, self.up)

    def check(self, answer: "Answer") -> None:
        """Demand the answer to this and to nothing else."""
        assert answer.fields[b"x-request-id"] == self.token.encode()
        if self.method == "POST" and self.fault in ("reset", "short"):
            assert answer.status == 502
            return
        assert answer.status == (500 if self.method == "POST" and self.fault == "500" else 200)
        assert answer.fields[b"x-token"] == self.token.encode()
        assert answer.body == content(self.token, self.down)


def draw(chance: random.Random, number: int) -> Call:
    """Make a call; most are small and go well."""
    size = chance.choice([0, 10, 1000, 1000, 20_000, chance.randrange(200_000)])
    return Call(
        token=f"t{number}x{chance.getrandbits(32):08x}",
        method=chance.choice(["GET", "GET", "PUT", "PUT", "POST"]),
        up=chance.choice([0, 0, 1, 1000, 60_000, chance.randrange(200_000)]),
        down=size,
        delay=chance.uniform(0, 0.02),
        fault=chance.choice(["", "", "", "", "", "", "500", "reset", "short"]),
    )


@dataclass
class Echo:
    """An upstream that answers with what only the asker can expect, and fails when it is asked to."""

    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    open: int = 0
    busy: int = 0
    gate: asyncio.Barrier | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether the connection lives on."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.busy += 1
        try:
            return await self._reply(head.decode(), reader, writer)
        finally:
            self.busy -= 1

    async def _reply(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path, _, query = head.split(" ")[1].partition("?")
        asked, token = dict(parse_qsl(query)), path.removeprefix("/")
        body = await reader.readexactly(int(asked["up"]))
        if body != content("up" + token, len(body)) or f"X-Avala-Api-Key: {key(token)}\r\n" not in head:
            self.wrong.append(token)
        await asyncio.sleep(float(asked["delay"]))
        if self.gate is not None:
            await self.gate.wait()
        self.seen[token] += 1
        fault = asked.get("fault", "") if self.seen[token] == 1 else ""
        if fault == "reset":
            writer.transport.abort()
            return False
        status = 500 if fault == "500" else 200
        answer = content(token, int(asked["down"]))
        common = f"HTTP/1.1 {status} \r\nX-Token: {token}\r\nX-Request-Id: {token}\r\n"
        if fault == "short":
            writer.write(f"{common}Content-Length: {len(answer) + 1}\r\n\r\n".encode() + answer)
            return False
        if len(token) % 2 or head.startswith("POST"):
            writer.write(f"{common}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
        else:
            writer.write(f"{common}Transfer-Encoding: chunked\r\n\r\n".encode())
            for piece in (answer[: len(answer) // 2], answer[len(answer) // 2 :]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"")
                await asyncio.sleep(0.001)
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@dataclass(frozen=True)
class Answer:
    """A response as h11 understood it."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes


class Connection:
    """One connection of a client, on which requests may be written before answers are read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._rest = b""

    async def answer(self, call: Call) -> Answer:
        """Read the next answer, which has to be well-formed and whole."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=call.method, target="/", headers=[("Host", "h")]))
        parser.send(h11.EndOfMessage())
        if self._rest:  # nothing would mean the end of the connection
            parser.receive_data(self._rest)
        head: h11.Response | None = None
        body = bytearray()
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert event is h11.NEED_DATA
                piece = await self._reader.read(65536)
                assert piece, "the proxy hung up"
                parser.receive_data(piece)
        self._rest = parser.trailing_data[0]
        assert head is not None
        return Answer(head.status_code, dict(head.headers), bytes(body))

    async def first_bytes(self) -> None:
        """Read something, but not all."""
        await self._reader.read(300)

    def leave(self, *, rudely: bool) -> None:
        """Hang up, with a reset or properly."""
        if rudely:
            self.writer.transport.abort()
        else:
            self.writer.close()


@dataclass
class Storm:
    """What all clients have done so far."""

    port: int
    numbers: int = 0
    answered: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def call(self, chance: random.Random) -> Call:
        self.numbers += 1
        return draw(chance, self.numbers)

    async def client(self, seed: int) -> None:
        """Come, and come again, until enough has been answered."""
        chance = random.Random(seed)
        ways = [self.keep_alive] * 4 + [self.pipeline] * 3 + [self.leave] * 3
        while self.answered < AT_LEAST:
            streams = await asyncio.open_connection("127.0.0.1", self.port)
            connection = Connection(*streams)
            try:
                await chance.choice(ways)(connection, chance)
            finally:
                connection.leave(rudely=chance.random() < 0.5)

    async def keep_alive(self, connection: Connection, chance: random.Random) -> None:
        """Ask, and ask again when it is answered."""
        for _ in range(chance.randrange(1, 6)):
            call = self.call(chance)
            connection.writer.write(call.head + call.body)
            await self.check(connection, call)

    async def pipeline(self, connection: Connection, chance: random.Random) -> None:
        """Ask several times before reading an answer, and perhaps leave before the last one."""
        calls = [self.call(chance) for _ in range(chance.randrange(2, 7))]
        connection.writer.write(b"".join(call.head + call.body for call in calls))
        for call in calls[: chance.choice([1, *[len(calls)] * 4])]:
            await self.check(connection, call)

    async def leave(self, connection: Connection, chance: random.Random) -> None:
        """Ask, and leave at some stage of it."""
        call = self.call(chance)
        stage = chance.choice(["head", "uploading", "queued", "waiting", "downloading"])
        self.left[stage] += 1
        whole = call.head + call.body
        cut = {"head": len(call.head) // 2, "uploading": len(call.head) + call.up // 2}.get(stage, len(whole))
        connection.writer.write(whole[:cut])
        if stage in ("uploading", "waiting"):
            await asyncio.sleep(chance.uniform(0, 0.05))
        elif stage == "downloading":
            await connection.first_bytes()

    async def check(self, connection: Connection, call: Call) -> None:
        call.check(await connection.answer(call))
        self.answered += 1

    async def all_at_once(self, method: str, chance: random.Random) -> None:
        """Make as many calls as may be under way, none of which is answered before all have arrived."""

        async def one() -> None:
            call = Call(f"g{chance.getrandbits(60):015x}", method, 0, 10, 0.0, "")
            connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
            connection.writer.write(call.head)
            call.check(await connection.answer(call))
            connection.leave(rudely=False)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))


FOR_EVER = Counter({"Admission._run": 1, "Readiness._watch": 1})
"""Tasks that live as long as the proxy."""


def tasks() -> Counter[str]:
    """Count what runs in the proxy, by name; the upstream's and the test's own are known."""
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return Counter(name for name in names if not name.startswith(("Echo.", "test_")))


@pytest.mark.timeout(180)
async def test_among_clients_that_come_and_go_each_gets_only_its_own_answers() -> None:
    echo = Echo()
    async with (
        echo.running() as upstream,
        running(upstream={"base_url": upstream, "max_connections": AT_ONCE}, **SETTINGS) as stack,
    ):
        storm = Storm(port=int(stack.url.rpartition(":")[2]))
        began = time.monotonic()
        await asyncio.gather(*(storm.client(seed) for seed in range(CLIENTS)))
        seconds = time.monotonic() - began
        await until(lambda: (stack.app.state().in_flight, stack.app.state().queued) == (0, 0))
        await until(lambda: echo.busy == 0)
        assert echo.wrong == []
        assert echo.open <= AT_ONCE
        # No place in the limit and no connection is lost: as many as ever can still be under way at once.
        for method in ("GET", "POST"):
            echo.gate = asyncio.Barrier(AT_ONCE)
            await storm.all_at_once(method, random.Random(method))
        await until(lambda: tasks() <= FOR_EVER)
        assert stack.app.state().in_flight == 0
        crashes = stack.lines("crashed")
    print(
        f"\n{storm.answered} answers of {storm.numbers} requests to {CLIENTS} clients in {seconds:.1f} s;"
        f" {sum(storm.left.values())} left: {dict(storm.left)}; {echo.seen.total()} attempts arrived"
    )
    assert crashes == []
    assert storm.answered >= AT_LEAST
    await until(lambda: echo.open == 0)


async def test_the_body_of_a_client_that_left_is_written_to_no_file_of_another(tmp_path: Path) -> None:
    """What a thread still writes goes by the number of an open file, and numbers are given out again."""
    spools = Spools(Body(memory=0, directory=str(tmp_path)))
    for turn in range(500):
        spool = spools.new()
        await spool.write(b"the file is open")
        writing = asyncio.create_task(spool.write(b"secret" * 50_000))
        for _ in range(1 + turn % 3):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        spool.close()
        with (tmp_path / "another").open("wb", buffering=0) as another:
            await asyncio.sleep(0.001)
            assert os.fstat(another.fileno()).st_size == 0
