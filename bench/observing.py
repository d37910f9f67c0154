"""What it costs to see: CPU of the proxy a request, with its metrics and log line and without.

Run it with `.venv/bin/python -m bench.observing`. It takes two minutes and speaks to loopback only. The
program is the shipped one with its default features, its log written to a file; the one beside it has no
listener for events, and is the same otherwise. Rounds alternate, and the median of their ratios is told.
"""

import asyncio
import itertools
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

_ROUNDS, _REQUESTS, _CONNECTIONS = 161, 400, 20
_ANSWER = b'{"count": 2, "next": null, "previous": null, "results": [{"uid": "a"}, {"uid": "b"}]}'
_NUMBERS = itertools.count(1)
"""What is asked for: never the same twice, or some would go along with others."""
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
    """Return the seconds of CPU that a process has used, in all its threads."""
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


async def ask(socket: str, count: int) -> None:
    """Send requests one after the other over one connection."""
    reader, writer = await asyncio.open_unix_connection(socket)
    for number in itertools.islice(_NUMBERS, count):
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
    costs = []
    for number in range(_ROUNDS):
        first, second = (seen, unseen) if number % 2 else (unseen, seen)
        one, other = await cost(*first), await cost(*second)
        costs.append((one, other) if number % 2 else (other, one))
    ratios = sorted(one / other for one, other in costs)
    one, other = (statistics.median(of) for of in zip(*costs, strict=True))
    low, middle, high = (ratios[round(share * (_ROUNDS - 1))] for share in (0.25, 0.5, 0.75))
    print(f"{one:.0f} us a request, and {other:.0f} us where nobody is told (medians of {_ROUNDS} rounds)")
    print(f"{middle:.3f} times as much; half of the rounds between {low:.3f} and {high:.3f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("seen" | "unseen") as which, file]:
            asyncio.run(serve(Path(file), seen=which == "seen"))
        case _:
            asyncio.run(compare())
