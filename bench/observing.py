"""What it costs to see: CPU of the proxy a request, with its metrics and log line and without.

Run it with `.venv/bin/python -m bench.observing`. It takes two minutes and speaks to loopback only. The
program is the shipped one with its default features, its log written to a file; the one beside it has no
listener for events, and is the same otherwise. Rounds alternate, and the median of their ratios is told.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiohttp import web

from proxy import config, process
from proxy.app import App
from proxy.events import Events

_ROUNDS, _REQUESTS, _CONNECTIONS = 9, 4000, 20
_TICK = os.sysconf("SC_CLK_TCK")
_ANSWER = b'{"count": 2, "next": null, "previous": null, "results": [{"uid": "a"}, {"uid": "b"}]}'
_KEY = "X-Avala-Api-Key: avk_bench"
_SETTINGS = """
[listen]
addresses = ["unix:{directory}/proxy.sock"]
admin_address = "127.0.0.1:0"
[upstream]
base_url = "{upstream}"
[log]
format = "json"
[[limits]]
name = "standard"
requests = 1000000
per = 60.0
[[limits]]
name = "burst"
requests = 1000000
per = 1.0
"""


class Unseen(App):
    """The proxy, which tells nobody what happens."""

    def __init__(self, settings: config.Settings) -> None:
        super().__init__(settings)
        self._events = Events()


async def serve(path: Path, *, seen: bool) -> None:
    """Run one of the two until it is told to stop."""
    app = (App if seen else Unseen)(config.load(path))
    await app.start()
    await process.signalled()
    await app.stop(grace=0)


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Answer everything at once, as cheaply as aiohttp can."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=_ANSWER, content_type="application/json")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@contextmanager
def running(directory: Path, url: str, *, seen: bool) -> Iterator[tuple[int, str]]:
    """Have one of the two running; yield its process and its socket."""
    directory.mkdir()
    file = directory / "proxy.toml"
    file.write_text(_SETTINGS.format(directory=directory, upstream=url))
    with (directory / "log").open("w") as log:
        command = [sys.executable, "-m", "bench.observing", "seen" if seen else "unseen", str(file)]
        child = subprocess.Popen(command, stderr=log)
    socket = directory / "proxy.sock"
    while not socket.exists():
        time.sleep(0.05)
    try:
        yield child.pid, str(socket)
    finally:
        child.terminate()
        child.wait()


def cpu(process_id: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


async def ask(socket: str, count: int) -> None:
    """Send requests one after the other over one connection."""
    reader, writer = await asyncio.open_unix_connection(socket)
    for number in range(count):
        writer.write(f"GET /api/v1/datasets/{number}/ HTTP/1.1\r\nHost: localhost\r\n{_KEY}\r\n\r\n".encode())
        head_bytes = await reader.readuntil(b"\r\n\r\n")
        assert head_bytes.startswith(b"HTTP/1.1 200"), head_bytes
        await reader.readexactly(len(_ANSWER))
    writer.close()


async def cost(process_id: int, socket: str) -> float:
    """Return the microseconds of CPU that a request takes."""
    before = cpu(process_id)
    await asyncio.gather(*(ask(socket, _REQUESTS // _CONNECTIONS) for _ in range(_CONNECTIONS)))
    return 1e6 * (cpu(process_id) - before) / _REQUESTS


async def compare() -> None:
    """Measure both, in turn."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        async with upstream() as url:
            with (
                running(Path(directory) / "seen", url, seen=True) as seen,
                running(Path(directory) / "unseen", url, seen=False) as unseen,
            ):
                await cost(*seen), await cost(*unseen)
                await rounds(seen, unseen)


async def rounds(seen: tuple[int, str], unseen: tuple[int, str]) -> None:
    """Measure in turn, and print."""
    ratios = []
    for number in range(1, _ROUNDS + 1):
        one, other = await cost(*seen), await cost(*unseen)
        ratios.append(one / other)
        print(f"round {number}: {one:.0f} us seen, {other:.0f} us unseen, {one / other:.3f}")
    print(f"median: {statistics.median(ratios):.3f} times the CPU of the proxy that is not seen")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("seen" | "unseen") as which, file]:
            asyncio.run(serve(Path(file), seen=which == "seen"))
        case _:
            asyncio.run(compare())
