"""A gigabyte crosses the shipped program in bounded memory, both ways, however slow a client reads."""

import asyncio
import shutil
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import programs

MIB = 1024 * 1024
GIB = 1024 * MIB
PIECE = bytes(range(256)) * 1024
"""A quarter of a megabyte, of which all bodies here are made."""
MOST = 150 * MIB
"""What the proxy may ever have needed, the program itself included."""


def peak(pid: int) -> int:
    """Return the most memory that a process has ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def send(writer: asyncio.StreamWriter, size: int) -> None:
    """Write so many bytes, not faster than they are taken."""
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


async def receive(reader: asyncio.StreamReader, size: int) -> int:
    """Read so many bytes; return their checksum."""
    checksum = 0
    while size:
        piece = await reader.read(min(size, MIB))
        assert piece, f"{size} bytes are missing"
        size -= len(piece)
        checksum = zlib.crc32(piece, checksum)
    return checksum


def checksum(size: int) -> int:
    """Return the checksum of a body of this size."""
    done = 0
    for _ in range(size // len(PIECE)):
        done = zlib.crc32(PIECE, done)
    return done


@asynccontextmanager
async def bulk() -> AsyncIterator[str]:
    """Run an upstream that takes any body and answers its checksum, and gives a gigabyte to a GET."""

    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # the proxy closed it
            await answer_all(reader, writer)
        writer.close()

    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % GIB)
                await send(writer, GIB)
                break
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = b"%d" % await receive(reader, length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            if head.startswith(b"POST"):
                break

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=MIB)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*connections)


@dataclass
class Program:
    """A running proxy."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def peak(self) -> int:
        """The most memory that it has ever had, in bytes."""
        return peak(self.process.pid)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Be a client of it."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return await asyncio.open_connection(host, int(port), limit=MIB)


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    config, log = tmp_path / "proxy.toml", tmp_path / "proxy.log"
    config.write_text(f"[body]\nmax_size = {2 * GIB}\ndirectory = {str(tmp_path)!r}\n")
    async with bulk() as upstream:
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        async with programs.started("serve", "--config", str(config), *where, log=log) as process:
            url, _ = await programs.urls(process, log, 2)
            yield Program(process, url)


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@needs_proc
async def test_a_gigabyte_goes_up_in_bounded_memory(program: Program, tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 3 * GIB:
        pytest.skip("a gigabyte is spooled: needs 3 GB of free disk")
    before, began = program.peak, time.monotonic()
    reader, writer = await program.connect()
    writer.write(b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % GIB)
    await send(writer, GIB)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert int(await reader.readexactly(length)) == checksum(GIB)
    writer.close()
    report("up", program, before, began)


@needs_proc
async def test_a_gigabyte_comes_down_in_bounded_memory(program: Program) -> None:
    before, began = program.peak, time.monotonic()
    reader, writer = await program.connect()
    writer.write(b"GET /down HTTP/1.1\r\nHost: h\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % GIB in head
    await asyncio.sleep(0.5)  # a client that does not read: what it does not take must not pile up
    assert await receive(reader, GIB) == checksum(GIB)
    writer.close()
    report("down", program, before, began)


def report(way: str, program: Program, before: int, began: float) -> None:
    """Say what it took, and demand that it was little."""
    most, seconds = program.peak, time.monotonic() - began
    print(f"\n1 GB {way}: peak {most / MIB:.1f} MB, before {before / MIB:.1f} MB; {seconds:.1f} s")
    assert most < MOST
    assert most - before < 24 * MIB
    assert seconds < 60
