"""Whatever clients send, the metrics page stays small, tells nothing of them, and still adds up."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice, product
from pathlib import Path

import aiohttp

from tests.e2e import programs
from tests.e2e.books import OF_STATUS, Page, Tally
from tests.wire.raw import connected

URLS, CREDENTIALS, CALLERS = 10_000, 1_000, 500
HIDDEN = "hidden5e1f"
"""A part of each URL, and of all that tells clients apart."""
ROUTES = tuple("".join(word) for word in islice(product("bcdfghjklm", repeat=3), 300))
"""What the API has and the proxy does not know: it learns some of these from their successes."""
METHODS = ("GET", "GET", "HEAD", "PUT", "DELETE", "OPTIONS") * 3 + ("POST", "PATCH", "PROPFIND", "PURGE")
STATUSES = (200, 201, 299, 302) * 4 + (404,) * 8 + tuple(OF_STATUS)
CONFIG = """
breaker.enabled = false
retry = { max_retries = 0, base = 0.01 }

[[limits]]
name = "standard"
requests = 1000000
per = 60.0

[[limits]]
name = "once"
requests = 1
per = 3600.0
key = "global"
match = { paths = ["/api/v1/exports/**"] }
"""
MOST_SERIES, MOST_BYTES = 2000, 300_000


class Api(asyncio.Protocol):
    """Answer with the status that the path ends with, as cheaply as can be, and count."""

    asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request, which comes in one piece and has no body."""
        Api.asked += 1
        status = data.partition(b"/?")[0][-3:]
        body = b"" if data.startswith(b"HEAD") else b"{}"
        self._transport.write(b"HTTP/1.1 %b Said\r\nContent-Length: 2\r\n\r\n%b" % (status, body))


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """Run the API, and the proxy as it is shipped; yield where that is, and where its metrics are."""
    Api.asked = 0
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with programs.proxy(tmp_path, upstream, CONFIG) as (url, admin):
        yield url, f"{admin}/metrics"
    server.close()


def requests(seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Make requests, each for a URL of its own: their methods, and their bytes."""
    chance = random.Random(seed)
    for number in range(URLS):
        places = "v1/datasets", f"v2/{chance.choice(ROUTES)}", f"{HIDDEN}{number}", "v1/exports"
        (place,) = chance.choices(places, (10, 30, 10, 15))
        # A refusal says in its body which one it is, and an answer to HEAD has none.
        method = "GET" if place == "v1/exports" else chance.choice(METHODS)
        fields = {
            "Host": "localhost",
            "X-Avala-Api-Key": f"avk_{HIDDEN}{number % CREDENTIALS}",
            "Avala-Proxy-Client": f"{HIDDEN} {chance.randrange(CALLERS)}",
            "X-Request-Id": f"{HIDDEN}{number}",
            "Prefer": "wait=5",
        }
        lines = [f"{method} /api/{place}/{HIDDEN}{number}/{chance.choice(STATUSES)}/?{HIDDEN} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        yield method.encode(), "\r\n".join((*lines, "", "")).encode()


def unfit(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Make what is refused: methods that there are not, and other hosts."""
    for number in range(count):
        yield b"", f"{HIDDEN.upper()}{number} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        yield b"", f"GET http://{HIDDEN}{number}/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def send(url: str, waiting: Iterator[tuple[bytes, bytes]], tally: Tally) -> None:
    """Send one request after the other over a connection, for as long as it is kept."""
    async with connected(int(url.rpartition(":")[2])) as wire:
        for method, content in waiting:
            await wire.send(content)
            answer = await wire.response(method)
            fields = {name.decode(): value.decode() for name, value in answer.fields}
            tally.answered(answer.status, fields, answer.body)
            wire.forget()
            if "close" in fields.get("Connection", ""):
                return


async def read(url: str, **fields: str) -> str:
    """Return a page."""
    async with aiohttp.ClientSession() as session, session.get(url, headers=fields) as answer:
        return await answer.text()


async def test_ten_thousand_urls_a_thousand_keys_and_500_callers_do_not_grow_the_page(tmp_path: Path) -> None:
    tally, waiting, refused = Tally(), requests(seed=3), unfit(50)
    async with running(tmp_path) as (url, metrics):
        await asyncio.gather(*(send(url, waiting, tally) for _ in range(50)))
        await asyncio.gather(*(send(url, refused, tally) for _ in range(100)))
        assert (len(tally), tally.refusals["bad_request"]) == (URLS + 100, 100)
        pages = [
            await read(metrics),
            await read(metrics, Accept="application/openmetrics-text;version=1.0.0"),
        ]
    lines = map(json.loads, (tmp_path / "proxy.log").read_text().splitlines())
    credentials = {line.get("credential") for line in lines} - {None}
    assert len(credentials) == CREDENTIALS
    for text in pages:
        assert len(re.findall("(?m)^[^#]", text)) < MOST_SERIES
        assert len(text.encode()) < MOST_BYTES
        assert HIDDEN not in text.lower()
        assert not [hashed for hashed in credentials if hashed in text]
    assert pages[1].endswith("# EOF\n")
    page = Page(pages[0])
    assert page.by("requests_total", "error_class") == tally.classes
    assert page.by("request_duration_seconds_count", "route").total() == len(tally)
    assert page.by("upstream_attempts_total", "status").total() == Api.asked
    assert Api.asked == URLS - tally.refusals["queue_timeout"]
    assert len(page.by("request_duration_seconds_count", "route")) == 26
