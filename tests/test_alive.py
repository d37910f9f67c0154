"""Clients that wait are sent interim responses on a schedule, and nothing that is not HTTP."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiohttp import web

from proxy.account import Account
from proxy.alive import Alive
from proxy.clock import LoopClock
from proxy.config import Headers as Additions
from proxy.config import Interim, Queue, Settings
from proxy.errors import ErrorClass, QueueTimeout
from proxy.events import Event, Events, ExchangeEnded, InterimSent
from proxy.front import Front
from proxy.links import Localiser
from proxy.listener import Listener
from proxy.messages import Headers, Request, Response
from proxy.policy.access import Access
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.routes import RouteTable
from proxy.policy.said import Said
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.state import State
from proxy.telemetry.metrics import Metrics
from proxy.traffic import Traffic
from proxy.virtual import run_virtual
from tests.fakes import headers, request, response, spool

INTERVAL = 0.05
SETTINGS = Settings(
    queue=Queue(interim=Interim(interval=INTERVAL)), headers=Additions(via=False, describe=False)
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
NODE, REQUESTS = b"node", b"python-requests/2.34.2"


def get(target: bytes, agent: bytes = NODE, *, version: bytes = b"1.1", more: bytes = b"") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: h\r\nUser-Agent: %b\r\n%b\r\n" % (target, version, agent, more)


def ok(content: bytes, *, version: bytes = b"1.1", more: bytes = b"") -> bytes:
    """Return an answer of `Api.answers` as it must arrive, byte for byte."""
    return b"HTTP/%b 200 \r\ncontent-length: %d\r\n%b\r\n%b" % (version, len(content), more, content)


@dataclass
class Api:
    """A forwarder that answers each target when a test says so."""

    asked: list[str] = field(default_factory=list)
    outcomes: dict[str, asyncio.Future[Response]] = field(default_factory=dict)

    @asynccontextmanager
    async def exchange(self, request: Request, account: Account) -> AsyncIterator[Response]:
        self.asked.append(request.target)
        yield await self._outcome(request.target)

    def answers(self, target: str, content: Response | bytes) -> None:
        made = response(200, content) if isinstance(content, bytes) else content
        self._outcome(target).set_result(made)

    def fails(self, target: str, error: Exception) -> None:
        self._outcome(target).set_exception(error)

    def _outcome(self, target: str) -> asyncio.Future[Response]:
        return self.outcomes.setdefault(target, asyncio.get_running_loop().create_future())


class Slow:
    """A response body of two pieces, of which the second comes when a test says so."""

    def __init__(self) -> None:
        self.rest = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"one"
        await self.rest.wait()
        yield b"two"

    async def close(self) -> None:
        return


@dataclass
class Talk:
    """A connection to the front, byte for byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def says(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def hears(self, content: bytes, times: int = 1) -> None:
        """Read exactly these bytes."""
        for _ in range(times):
            assert await self.reader.readexactly(len(content)) == content

    async def hears_answer(self, answer: bytes, interim: bytes = PROCESSING) -> None:
        """Read exactly this answer, behind at most those interims that were under way when it was given."""
        while (line := await self.reader.readexactly(12)) == interim[:12]:
            assert line + await self.reader.readexactly(len(interim) - 12) == interim
        assert line + await self.reader.readexactly(len(answer) - 12) == answer

    async def hears_the_rest(self) -> bytes:
        return await self.reader.read()

    def has_heard_nothing(self) -> bool:
        """Tell whether nothing has come that was not read."""
        return not self.reader._buffer  # type: ignore[attr-defined]  # what reads it would wait for more


@dataclass
class Place:
    """A front, and what it did."""

    front: Front
    api: Api
    port: int
    events: list[Event]
    metrics: Metrics
    traffic: Traffic
    talks: list[Talk] = field(default_factory=list)

    async def talk(self) -> Talk:
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port))
        self.talks.append(talk)
        return talk

    async def a_few_intervals(self) -> None:
        """Let time pass as another client sees it, that is sent an interim response at each interval."""
        other = await self.talk()
        await other.says(get(b"/other/%d" % len(self.talks)))
        await other.hears(PROCESSING, 4)

    @property
    def sent(self) -> int:
        return sum(isinstance(event, InterimSent) for event in self.events)

    async def ended(self) -> list[ExchangeEnded]:
        """Return what is recorded when nothing is under way any more."""
        async with asyncio.timeout(5):
            await self.traffic.idle.wait()
        return [event for event in self.events if isinstance(event, ExchangeEnded)]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    api, events, clock, routes = Api(), list[Event](), LoopClock(), RouteTable(10)
    traffic = Traffic()
    metrics = Metrics(SETTINGS, version="1.2.3")
    told = Events(events.append, metrics)
    front = Front(
        Reception(
            SETTINGS,
            new_spool=lambda: spool(1000),
            said=Said(["X-Avala-Api-Key"], is_secret=lambda word: False, new_id=lambda: "made-here"),
            new_ticket=itertools.count(1).__next__,
            rules=RequestRules(SETTINGS.listen, ["api.avala.ai"]),
            arrivals=Arrivals(None, ()),
            access=Access(["X-Avala-Api-Key"], key=lambda: None, clients=()),
            credentials=Credentials(["X-Avala-Api-Key"], b"secret"),
            routes=routes,
            clock=clock,
        ),
        api,  # type: ignore[arg-type]  # it has the one method that the front calls
        Localiser(SETTINGS.links, "https://api.avala.ai"),
        Alive(SETTINGS.queue.interim, told),
        headers=SETTINGS.headers,
        send_timeout=SETTINGS.listen.send_timeout,
        routes=routes,
        traffic=traffic,
        clock=clock,
        events=told,
    )
    runner = web.ServerRunner(Listener(front.handle, front.refuse, SETTINGS.listen), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = Place(front, api, runner.addresses[0][1], events, metrics, traffic)
    yield place
    for talk in place.talks:
        talk.writer.close()
    await runner.cleanup()


@dataclass
class Wire:
    """What is used of a request to write beside its answer: its transport, which remembers."""

    written: list[tuple[float, bytes]] = field(default_factory=list)
    gone: bool = False
    closing: bool = False

    @property
    def transport(self) -> "Wire | None":
        return None if self.gone else self

    def is_closing(self) -> bool:
        return self.closing

    def write(self, content: bytes) -> None:
        self.written.append((round(asyncio.get_running_loop().time(), 6), content))


def waited(seconds: float, then: Callable[[Wire, Callable[[], None]], None], agent: bytes = NODE) -> Wire:
    """Let a client wait so long by a clock that jumps, do something, and let it wait as long again."""
    wire, events = Wire(), list[Event]()
    asks = request(fields=headers(user_agent=agent.decode()))

    async def main() -> None:
        alive = Alive(Interim(), Events(events.append))
        with alive.waiting(cast("web.BaseRequest", wire), asks) as answering:
            await asyncio.sleep(seconds)
            then(wire, answering)
            await asyncio.sleep(seconds)
        await asyncio.sleep(60.0)

    run_virtual(main())
    assert events == [InterimSent()] * len(wire.written)
    return wire


def test_they_come_every_ten_seconds_while_a_client_waits_and_never_after() -> None:
    wire = waited(17.0, lambda *_: None)
    assert wire.written == [(10.0, PROCESSING), (20.0, PROCESSING), (30.0, PROCESSING)]


def test_they_end_when_the_answer_begins_though_it_lasts() -> None:
    wire = waited(35.0, lambda _, answering: answering())
    assert wire.written == [(10.0, PROCESSING), (20.0, PROCESSING), (30.0, PROCESSING)]


def test_who_is_answered_before_the_first_is_due_gets_none() -> None:
    assert waited(9.9, lambda _, answering: answering()).written == []


def test_unknown_software_gets_none_and_its_answer_may_begin_all_the_same() -> None:
    assert waited(35.0, lambda _, answering: answering(), agent=b"axios/1.7.9").written == []


@pytest.mark.parametrize("how", ["closing", "gone"])
def test_nothing_is_written_to_a_connection_that_ends_and_nothing_is_tried_again(how: str) -> None:
    wire = waited(15.0, lambda wire, _: setattr(wire, how, True))
    assert wire.written == [(10.0, PROCESSING)]


@pytest.mark.parametrize(("agent", "interim"), [(NODE, PROCESSING), (REQUESTS, CONTINUE)])
async def test_they_come_on_schedule_and_stop_at_the_head_of_the_one_answer(
    place: Place, agent: bytes, interim: bytes
) -> None:
    talk, loop = await place.talk(), asyncio.get_running_loop()
    began = loop.time()
    await talk.says(get(b"/1", agent, more=b"Connection: close\r\n"))
    for number in range(1, 5):
        await talk.hears(interim)
        assert loop.time() - began >= number * INTERVAL - 0.001
    place.api.answers("/1", b"all")
    rest = await talk.hears_the_rest()
    answer = ok(b"all", more=b"Connection: close\r\n")
    assert rest == interim * (place.sent - 4) + answer
    (ended,) = await place.ended()
    assert (ended.status, ended.error_class) == (200, ErrorClass.NONE)
    assert place.api.asked == ["/1"]


async def test_each_is_an_event_and_counted(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1"))
    await talk.hears(PROCESSING, 3)
    place.api.answers("/1", b"all")
    await talk.hears_answer(ok(b"all"))
    page, _ = place.metrics.render("", State())
    assert place.sent >= 3
    assert f"avala_proxy_interim_responses_total {place.sent}.0\n".encode() in page


async def test_unknown_software_waits_in_silence(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1", b"axios/1.7.9"))
    await place.a_few_intervals()
    place.api.answers("/1", b"all")
    await talk.hears(ok(b"all"))


async def test_an_http_1_0_client_waits_in_silence(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1", version=b"1.0"))
    await place.a_few_intervals()
    place.api.answers("/1", b"all")
    assert await talk.hears_the_rest() == ok(b"all", version=b"1.0")


@pytest.mark.parametrize(("agent", "interim"), [(NODE, PROCESSING), (REQUESTS, CONTINUE)])
async def test_while_a_body_is_awaited_its_client_is_told_once_to_continue_and_nothing_else(
    place: Place, agent: bytes, interim: bytes
) -> None:
    talk = await place.talk()
    head = get(b"/1", agent, more=b"Content-Length: 4\r\nExpect: 100-continue\r\n")
    await talk.says(head.replace(b"GET", b"PUT"))
    await talk.hears(CONTINUE)
    await place.a_few_intervals()
    await talk.says(b"bo")
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    assert place.api.asked.count("/1") == 0
    await talk.says(b"dy")
    await talk.hears(interim, 3)
    place.api.answers("/1", b"all")
    await talk.hears_answer(ok(b"all"), interim)


async def test_a_body_that_comes_slowly_is_awaited_in_silence(place: Place) -> None:
    talk = await place.talk()
    head = get(b"/1", more=b"Transfer-Encoding: chunked\r\n").replace(b"GET", b"PUT")
    await talk.says(head + b"2\r\nbo\r\n")
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    await talk.says(b"2\r\ndy\r\n0\r\n\r\n")
    await talk.hears(PROCESSING, 2)
    place.api.answers("/1", b"all")
    await talk.hears_answer(ok(b"all"))


async def test_a_connection_carries_one_waiting_request_after_the_other(place: Place) -> None:
    talk = await place.talk()
    for target in ("/1", "/2"):
        await talk.says(get(target.encode()))
        await talk.hears(PROCESSING, 2)
        place.api.answers(target, target.encode())
        await talk.hears_answer(ok(target.encode()))
        await place.a_few_intervals()
        assert talk.has_heard_nothing()  # between an answer and the next request there is nothing
    assert [target for target in place.api.asked if "other" not in target] == ["/1", "/2"]


async def test_the_second_of_two_requests_at_once_gets_its_own_after_the_answer_to_the_first(
    place: Place,
) -> None:
    talk = await place.talk()
    slow = Slow()
    await talk.says(get(b"/1", REQUESTS) + get(b"/2", NODE) + get(b"/3", b"axios/1.7.9"))
    await talk.hears(CONTINUE, 2)
    assert place.api.asked == ["/1"]
    place.api.answers("/1", Response(200, "", headers(content_length="6"), slow))
    await talk.hears_answer(b"HTTP/1.1 200 \r\ncontent-length: 6\r\n\r\none", CONTINUE)
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    slow.rest.set()
    await talk.hears(b"two")
    await talk.hears(PROCESSING, 3)
    place.api.answers("/2", b"second")
    await talk.hears_answer(ok(b"second"))
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    place.api.answers("/3", b"third")
    await talk.hears(ok(b"third"))


async def test_an_answer_that_streams_slowly_gets_none_into_its_body(place: Place) -> None:
    talk, slow = await place.talk(), Slow()
    await talk.says(get(b"/1", more=b"Connection: close\r\n"))
    await talk.hears(PROCESSING)
    place.api.answers("/1", Response(200, "OK", Headers(), slow))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    await talk.hears_answer(head + b"3\r\none\r\n")
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    slow.rest.set()
    assert await talk.hears_the_rest() == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_a_refusal_after_interims_is_a_whole_answer_that_keeps_the_connection(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1"))
    await talk.hears(PROCESSING, 2)
    place.api.fails("/1", QueueTimeout("Too late.", retry_after=7))
    head = await talk.reader.readuntil(b"\r\n\r\n")
    while head == PROCESSING:
        head = await talk.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"\r\nRetry-After: 7\r\n" in head
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    assert length is not None
    content = await talk.reader.readexactly(int(length[1]))
    assert content.startswith(b'{"detail":"Too late.","code":"proxy_queue_timeout",')
    assert content.endswith(b"}")
    await place.a_few_intervals()
    assert talk.has_heard_nothing()
    place.api.answers("/2", b"all")
    await talk.says(get(b"/2"))
    await talk.hears(ok(b"all"))


async def test_a_failure_of_the_proxy_after_interims_is_told_in_one_answer(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1", more=b"Connection: close\r\n"))
    await talk.hears(PROCESSING)
    place.api.fails("/1", ZeroDivisionError())
    rest = (await talk.hears_the_rest()).removeprefix(PROCESSING)
    assert rest.startswith(b"HTTP/1.1 500 ")
    assert rest.count(b"HTTP/1.1 ") == 1
    assert rest.endswith(b"}")


async def test_who_is_cut_off_after_interims_is_told_in_one_answer(place: Place) -> None:
    talk = await place.talk()
    await talk.says(get(b"/1", more=b"Connection: close\r\n"))
    await talk.hears(PROCESSING)
    place.traffic.cut_off()
    rest = await talk.hears_the_rest()
    assert rest.startswith(b"HTTP/1.1 503 ")
    assert rest.count(b"HTTP/1.1 ") == 1
    assert rest.endswith(b"}")


@pytest.mark.parametrize("leaves", ["by a reset", "by closing"])
async def test_for_a_client_that_left_they_stop_without_a_trace(
    place: Place, leaves: str, caplog: pytest.LogCaptureFixture
) -> None:
    unexpected = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
    talk = await place.talk()
    await talk.says(get(b"/1"))
    await talk.hears(PROCESSING, 2)
    if leaves == "by a reset":
        talk.writer.transport.abort()
    else:
        talk.writer.close()
    (ended,) = await place.ended()
    assert (ended.status, ended.error_class) == (None, ErrorClass.CLIENT_DISCONNECTED)
    before = place.sent
    await asyncio.sleep(4 * INTERVAL)
    assert place.sent == before
    assert (caplog.messages, unexpected) == ([], [])
