"""The sums by class on the metrics page are those of the clients' own tallies, and of the API's own ledger.

Each test has its part of the classes, and they have all of them together with `test_sums_elsewhere.py`.
"""

import asyncio
import random
from typing import Any

from proxy.adapters.upstream import Upstream
from proxy.errors import ErrorClass
from proxy.forwarder import Progress
from proxy.messages import Request, Response
from proxy.sandbox import Rate, SandboxSettings
from tests.e2e import books
from tests.e2e.books import OPEN, RETRY, Tally, check
from tests.e2e.stack import KEY, Stack, running
from tests.fakes import until
from tests.wire.raw import connected

LIST, ME, EXPORTS = "/api/v1/datasets/?limit=2", "/api/v1/users/me/", "/api/v1/exports/"
API = SandboxSettings(limits={"standard": Rate(100_000, 60.0), "burst": Rate(100_000, 1.0)})
NARROW: list[dict[str, Any]] = [
    {"name": "narrow", "concurrent": 1, "match": {"paths": [ME]}},
    {"name": "once", "requests": 1, "per": 3600.0, "match": {"paths": [EXPORTS]}},
]
SOON = {"Prefer": "wait=1"}
KEYS = 3

MIX = (books.CLIENT | books.UPSTREAM | books.NETWORK) - books.UNUSUAL
REFUSED = {"queue_full", "queue_timeout", "circuit_open", "request_too_large", "internal_error"}
UNFIT = {"bad_request", "request_timeout", "unauthorized_client"}
CROWD, LEFT, STOPPED = {"too_many_connections"}, {"client_disconnected"}, {"shutting_down"}
ELSEWHERE = books.UNCONNECTED | books.UNUSUAL


def test_every_class_of_errors_has_its_sums_checked_here() -> None:
    checked = MIX | REFUSED | UNFIT | CROWD | LEFT | STOPPED | ELSEWHERE
    assert checked == {str(one) for one in ErrorClass} - {"none"}


def faulty(fault: str, key: str = "avk_team") -> dict[str, str]:
    """Make the fields of a request that gets this fault of the API."""
    return {"X-Avala-Api-Key": key, "X-Sandbox-Fault": fault}


def mix(seed: int) -> list[tuple[str, str, str]]:
    """Draw requests of every kind: method, path, and the fault that is asked for."""
    broken = ("500", "500;after", "502", "503", "504", "reset", "reset;after", "truncated")
    refused = ("400", "401", "403", "404", "405", "409", "413", "422")
    coded = ("403;code=plan_insufficient", "403;code=scope_required")
    large = "/api/v1/downloads/400000/"
    drawn = [("GET", LIST, "")] * 50 + [("DELETE", "/api/v1/nowhere/", ""), ("PATCH", LIST, "")] * 10
    drawn += [(method, LIST, fault) for method in ("GET", "POST") for fault in refused + coded] * 4
    drawn += [("GET", LIST, fault + times) for fault in broken for times in ("", ";times=1", ";times=2")] * 3
    drawn += [("POST", LIST, fault) for fault in broken] * 3
    drawn += [("GET", large, ""), ("GET", large, "truncated")] * 4
    drawn += [("GET", LIST, "429;retry-after=1;times=1"), ("GET", LIST, "429;retry-after=1000")] * 4
    drawn += [("GET", LIST, "503;retry-after=1;times=1"), ("PUT", LIST, "503;retry-after=1000")] * 4
    drawn += [("GET", LIST, "hang;times=1"), ("POST", LIST, "hang")] * 4
    random.Random(seed).shuffle(drawn)
    # The first of a key goes alone, and the others wait until it has an answer.
    return [("GET", LIST, "")] * KEYS + drawn


async def test_what_the_api_and_its_network_do_wrong_is_in_the_sums_once() -> None:
    drawn, tally, gate = mix(seed=7), Tally(), asyncio.Semaphore(40)
    codes = {f"mix-{number}": fault.partition("code=")[2] for number, (_, _, fault) in enumerate(drawn)}
    # What hangs is given up when all else has its answer, on a busy machine too.
    upstream, off = {"head_timeout": 1.5}, {"enabled": False}
    async with running(API, limits=OPEN, retry=RETRY, breaker=off, upstream=upstream) as stack:

        async def ask(number: int, method: str, path: str, fault: str) -> None:
            # A 429 holds all who use its key.
            key = f"avk_{number}" if fault.startswith("429") else f"avk_{number % KEYS}"
            fields = {"X-Avala-Api-Key": key, "X-Request-Id": f"mix-{number}", "X-Sandbox-Key": f"{number}"}
            fields |= {"X-Sandbox-Fault": fault} if fault else {}
            body = b'{"name": "x"}' if method in ("POST", "PUT", "PATCH") else None
            async with gate:
                await tally.ask(stack.session, method, stack.url + path, headers=fields, data=body)

        numbered = list(enumerate(drawn))
        for wave in (numbered[:KEYS], numbered[KEYS:150], numbered[150:]):
            await asyncio.gather(*(ask(number, *one) for number, one in wave))
        await check(stack, tally, codes)
        assert tally.retries == len(stack.sandbox.ledger.entries) - len(drawn)
        assert tally.classes.keys() == MIX | {"none"}


async def held(stack: Stack, tally: Tally, path: str = ME, **options: Any) -> "asyncio.Task[None]":
    """Send a request that the API takes a minute to answer, and return when it has it."""
    before = len(stack.sandbox.ledger.entries)
    slow = faulty("slow;seconds=60")
    task = asyncio.create_task(tally.ask(stack.session, "GET", stack.url + path, headers=slow, **options))
    await until(lambda: len(stack.sandbox.ledger.entries) == before + 1)
    return task


async def queued(stack: Stack, tally: Tally, count: int = 1) -> "list[asyncio.Task[None]]":
    """Send requests that wait for one that is held."""
    urls = [f"{stack.url}{ME}?number={number}" for number in range(count)]
    tasks = [asyncio.create_task(tally.ask(stack.session, "GET", url, headers=KEY)) for url in urls]
    await until(lambda: stack.app.state().queued == count)
    return tasks


async def leave(tally: Tally, *tasks: "asyncio.Task[None]") -> None:
    """Leave before the answer."""
    for task in tasks:
        task.cancel()
        tally.note("client_disconnected", None)
    await asyncio.gather(*tasks, return_exceptions=True)


class Unforeseen:
    """An adapter that fails as nothing should, where a request asks for that."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def send(self, request: Request, progress: Progress) -> Response:
        if request.headers.get(b"x-unforeseen"):
            raise ZeroDivisionError
        return await self._upstream.send(request, progress)


async def test_what_the_proxy_refuses_is_in_the_sums_once() -> None:
    tally, tables = Tally(), {"queue": {"size": 1}, "body": {"max_size": 1000}}
    async with running(API, limits=NARROW, retry=RETRY, **tables) as stack:
        app = stack.app
        app._front = app._assembly.front(app.settings, Unforeseen(app._upstream))  # type: ignore[arg-type]

        async def ask(path: str, *, method: str = "GET", fields: dict[str, str], size: int = 0) -> None:
            data = b"x" * size or None
            await tally.ask(stack.session, method, stack.url + path, headers=KEY | fields, data=data)

        async def breaker(what: str) -> None:
            async with stack.session.post(f"{app.admin_url}/breakers/upstream/{what}") as answer:
                assert answer.status == 200

        holder = await held(stack, tally)
        waiting = await queued(stack, tally)
        for _ in range(3):
            await ask(f"{ME}?late", fields={})
        await leave(tally, *waiting, holder)
        for fields in ({}, SOON, SOON):
            await ask(EXPORTS, fields=fields)
        # Another attempt would come too late, whether there is an answer or none.
        await ask(EXPORTS, fields=faulty("reset", "avk_one") | SOON)
        await ask(EXPORTS, fields=faulty("500", "avk_two") | SOON)
        await breaker("open")
        for _ in range(4):
            await ask(LIST, fields=SOON)
        await breaker("close")
        for size in (1000, 1001, 5000):
            await ask(LIST, method="POST", fields={}, size=size)
        for _ in range(5):
            await ask(LIST, fields={"X-Unforeseen": "yes"})
        await check(stack, tally)
        assert tally.refusals == dict(zip(sorted(REFUSED), (4, 5, 3, 3, 2), strict=True))


UNFIT_BYTES = (
    b"no HTTP\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /" + b"x" * 20_000,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
    b"GET / HTTP/1.1\r\nHo",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf",
    b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
)


async def say(stack: Stack, tally: Tally, sent: bytes, answers: int = 1) -> None:
    """Send bytes over a connection of their own, and note the answers."""
    async with connected(int(stack.url.rpartition(":")[2])) as wire:
        await wire.send(sent)
        for _ in range(answers):
            answer = await wire.response()
            fields = {name.decode(): value.decode() for name, value in answer.fields}
            tally.answered(answer.status, fields, answer.body)


async def test_what_is_no_fit_request_is_in_the_sums_once() -> None:
    tally, listen = Tally(), {"head_timeout": 0.2, "body_timeout": 0.2}
    async with running(API, limits=OPEN, listen=listen, credential={"value": "avk_held"}) as stack:
        await asyncio.gather(*(say(stack, tally, sent) for sent in UNFIT_BYTES))
        fit = f"GET {LIST} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        await say(stack, tally, fit + fit + b"unfit\r\n", answers=3)
        await check(stack, tally)
        assert tally.classes == {"none": 2} | dict(zip(sorted(UNFIT), (7, 2, 1), strict=True))


async def test_connections_beyond_what_may_be_are_in_the_sums_once() -> None:
    tally = Tally()
    async with running(API, limits=OPEN, listen={"max_connections": 1}) as stack:
        await tally.ask(stack.session, "GET", stack.url + LIST, headers=KEY)
        await asyncio.gather(*(say(stack, tally, b"") for _ in range(5)))
        await check(stack, tally)
        assert tally.classes == {"none": 1} | dict.fromkeys(CROWD, 5)


async def test_who_leaves_is_in_the_sums_once_wherever_it_was() -> None:
    tally = Tally()
    async with running(API, limits=NARROW, retry=RETRY) as stack:
        holder = await held(stack, tally)
        await leave(tally, *await queued(stack, tally, 3), holder)
        together = [await held(stack, tally, LIST)]
        for fault in ("503;retry-after=20", "429;retry-after=20"):
            url, fields = f"{stack.url}{LIST}&{fault}", faulty(fault, f"avk_{fault[0]}")
            together.append(asyncio.create_task(tally.ask(stack.session, "GET", url, headers=fields)))
        await until(lambda: len(stack.app.observability.recent().errors) == 3)
        await leave(tally, *together)
        async with stack.session.get(f"{stack.url}/api/v1/downloads/50000000/", headers=KEY) as answer:
            await answer.content.readexactly(1000)
            answer.close()
            tally.note("client_disconnected", 200)
        await check(stack, tally)
        assert tally.classes.keys() == LEFT


async def test_an_answer_that_breaks_for_all_who_share_it_is_one_error() -> None:
    tally, limits = Tally(), [{"name": "narrow", "concurrent": 1}]
    async with running(API, limits=limits) as stack:
        holder = await held(stack, tally)
        url, fields = f"{stack.url}/api/v1/downloads/3000000/", faulty("truncated")
        tasks = [asyncio.create_task(tally.ask(stack.session, "GET", url, headers=fields)) for _ in range(3)]
        await until(lambda: stack.app.state().queued == 3)
        await leave(tally, holder)
        await asyncio.gather(*tasks)
        assert len(stack.sandbox.ledger.entries) == 2
        assert tally.classes["response_incomplete"] == 3
        await check(stack, tally)


async def test_whom_a_stop_cuts_off_is_in_the_sums_once() -> None:
    tally, cut = Tally(), "shutting_down"
    async with running(API, limits=NARROW, retry=RETRY | {"base": 60.0, "cap": 60.0}) as stack:
        tasks = [await held(stack, tally, cut=cut), *await queued(stack, tally, 2)]
        # Between two attempts: one has an answer for its client, the other has none.
        for fault in ("503;retry-after=20", "reset"):
            url, fields = f"{stack.url}{LIST}&{fault}", faulty(fault)
            tasks.append(asyncio.create_task(tally.ask(stack.session, "GET", url, headers=fields)))
        await until(lambda: len(stack.app.observability.recent().errors) == 2)
        async with stack.session.get(f"{stack.url}/api/v1/downloads/50000000/", headers=KEY) as answer:
            await answer.content.readexactly(1000)
            await stack.app.stop(grace=0.05)
            tally.note(cut, 200)
            answer.close()
        await asyncio.gather(*tasks)
        await check(stack, tally)
        assert tally.classes == {"unavailable": 1} | dict.fromkeys(STOPPED, 5)
