"""Before the commit point every failure is one JSON answer, after it an aborted connection."""

import asyncio
import errno
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientPayloadError, ClientSession, ServerDisconnectedError, web

from proxy.account import Account
from proxy.alive import Alive
from proxy.clock import LoopClock
from proxy.config import Body as BodySettings
from proxy.config import Listen, Queue, Settings
from proxy.errors import ErrorClass, Fault, UpstreamError
from proxy.events import Crashed, Event, Events, ExchangeBegan, ExchangeEnded, Failed, Rejected
from proxy.front import Front
from proxy.links import Localiser
from proxy.listener import Listener
from proxy.messages import Headers, NoBody, Request, Response
from proxy.policy.access import Access
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.routes import RouteTable
from proxy.policy.said import Said
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.traffic import Traffic
from tests.fakes import headers, response, spool, until

Answering = Callable[[Request], Response]

SETTINGS = Settings(
    body=BodySettings(max_size=2000),
    queue=Queue(longest_wait=60.0),
    listen=Listen(max_connections=3, head_timeout=0.2, body_timeout=0.2, body_rate=100.0, send_timeout=0.2),
)
TOLD = rb"(Via|Proxy-Status|Server-Timing|X-Request-Id): [^\r]*\r\n"


@dataclass
class Script:
    """A forwarder that answers as a test says, and remembers what it was asked."""

    answer: Answering = lambda _: response()
    asked: list[Request] = field(default_factory=list)
    hold: bool = False
    full: bool = False
    before: Callable[[Request], Awaitable[None]] | None = None

    @asynccontextmanager
    async def exchange(self, request: Request, account: Account) -> AsyncIterator[Response]:
        self.asked.append(request)
        if self.hold:
            await asyncio.Event().wait()
        if self.before is not None:
            await self.before(request)
        account.attempts = 1
        yield self.answer(request)


class Full(NoBody):
    """A place for a request body, on a disk without space."""

    async def write(self, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def finish(self) -> None:
        return

    def close(self) -> None:
        return


class Body:
    """A response body that ends in an exception, if it is given one, or never, if it is held."""

    def __init__(self, *chunks: bytes, then: BaseException | None = None, hold: bool = False) -> None:
        self._chunks = chunks
        self._hold = hold
        self._then = then

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._hold:
            await asyncio.Event().wait()
        if self._then is not None:
            raise self._then

    async def close(self) -> None:
        return


@dataclass
class Client:
    """A client of a front, and the events that it brought about."""

    front: Front
    script: Script
    session: ClientSession
    url: str
    events: list[Event]
    traffic: Traffic

    async def ended(self) -> ExchangeEnded:
        async with asyncio.timeout(5):
            await self.traffic.idle.wait()
        (event,) = [event for event in self.events if isinstance(event, ExchangeEnded)]
        return event

    async def ended_after(self, count: int) -> ExchangeEnded:
        await until(lambda: len(self.script.asked) == count)
        return await self.ended()

    async def raw(self, content: bytes) -> bytes:
        port = int(self.url.rpartition(":")[2].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    script, events = Script(), list[Event]()
    told = Events(events.append)
    settings, clock, routes, traffic = SETTINGS, LoopClock(), RouteTable(10), Traffic()
    front = Front(
        Reception(
            settings,
            new_spool=lambda: Full() if script.full else spool(1000),
            said=Said(["X-Avala-Api-Key"], is_secret=lambda word: False, new_id=lambda: "made-here"),
            new_ticket=itertools.count(1).__next__,
            rules=RequestRules(settings.listen, ["api.avala.ai"]),
            arrivals=Arrivals(None, ()),
            access=Access(["X-Avala-Api-Key"], key=lambda: None, clients=()),
            credentials=Credentials(["X-Avala-Api-Key"], b"secret"),
            routes=routes,
            clock=clock,
        ),
        script,  # type: ignore[arg-type]  # it has the one method that the front calls
        Localiser(settings.links, "https://api.avala.ai"),
        Alive(settings.queue.interim, told),
        headers=settings.headers,
        send_timeout=settings.listen.send_timeout,
        routes=routes,
        traffic=traffic,
        clock=clock,
        events=told,
    )
    runner = web.ServerRunner(Listener(front.handle, front.refuse, settings.listen), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession() as session:
        yield Client(front, script, session, f"http://127.0.0.1:{runner.addresses[0][1]}/", events, traffic)
    await runner.cleanup()


async def test_a_request_arrives_as_it_was_sent(client: Client) -> None:
    await client.raw(
        b"PUT /a%2Fb//c?q=%ff HTTP/1.1\r\nHost: h\r\nX-ODD: 1\r\nx-odd: 2\r\nX-Avala-Api-Key: avk_1\r\n"
        b"X-Request-Id: mine\r\nPrefer: wait=7\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    )
    (request,) = client.script.asked
    assert (request.method, request.target, request.id) == ("PUT", "/a%2Fb//c?q=%ff", "mine")
    assert request.headers.raw[1:3] == ((b"X-ODD", b"1"), (b"x-odd", b"2"))
    assert (request.body.size, request.peer, request.secure) == (3, "127.0.0.1", False)
    assert request.deadline - request.arrived == 7.0
    assert request.credential is not None
    assert "avk_1" not in request.credential


@pytest.mark.parametrize(
    ("head", "request_id"), [(b"X-Request-Id: mine", "mine"), (b"no field at all", "made-here")]
)
async def test_what_begins_is_told_before_all_else_and_shows_nothing_of_what_was_asked(
    client: Client, head: bytes, request_id: str
) -> None:
    await client.raw(b"GET /?key=avk_1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + head + b"\r\n\r\n")
    await client.ended()
    began, *_ = client.events
    assert isinstance(began, ExchangeBegan)
    assert began.request.id == request_id
    assert repr(began) == "ExchangeBegan()"


async def test_a_request_without_a_body_or_an_id_gets_none_and_one(client: Client) -> None:
    await client.session.get(client.url, headers={"X-Request-Id": "with a space"})
    (request,) = client.script.asked
    assert request.arrival_url == client.url.rstrip("/")
    assert request.body.size is None
    assert request.id == "made-here"
    assert request.credential is None
    assert request.deadline - request.arrived == 60.0


async def test_the_answers_head_is_the_upstreams_and_then_what_the_proxy_says(client: Client) -> None:
    client.script.answer = lambda _: Response(
        203, "Odd Reason", headers(set_cookie="a=1", content_length="2", x_y="z"), Body(b"ok")
    )
    answer = await client.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 203 Odd Reason",
        b"set-cookie: a=1",
        b"content-length: 2",
        b"x-y: z",
        b"Via: 1.1 avala-proxy",
        b"Proxy-Status: avala-proxy; received-status=203",
        b'Server-Timing: queue;dur=0.0, upstream;dur=0.0, retries;desc="0"',
        b"X-Request-Id: made-here",
        b"Connection: close",
    ]
    assert content == b"ok"


async def test_bytes_case_order_and_repeats_of_the_head_stay(client: Client) -> None:
    fields = ((b"X-b", b"caf\xe9 \xff"), (b"x-A", b"1"), (b"X-B", b"2"), (b"Content-Length", b"0"))
    client.script.answer = lambda _: Response(200, "Caf\udce9", Headers(fields), Body())
    answer = await client.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert re.sub(TOLD, b"", answer) == (
        b"HTTP/1.1 200 Caf\xe9\r\nX-b: caf\xe9 \xff\r\nx-A: 1\r\nX-B: 2\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n"
    )


async def test_a_304_has_no_body_and_is_kept_alive(client: Client) -> None:
    client.script.answer = lambda _: Response(304, "Not Modified", headers(etag='"1"'), Body())
    answer = await client.raw(
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n') == 2


async def test_an_answer_of_unknown_length_is_chunked(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"one", b"two"))
    async with client.session.get(client.url) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert await answer.read() == b"onetwo"


async def test_an_absolute_target_is_refused(client: Client) -> None:
    answer = await client.raw(b"GET http://evil.example/ HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"proxy_bad_request"' in answer
    assert b"Proxy-Status: avala-proxy; error=http_request_error" in answer
    assert b"X-Request-Id: made-here" in answer
    assert client.script.asked == []
    assert Rejected("other", ErrorClass.BAD_REQUEST) in client.events
    failed = Failed(
        "made-here", "GET", "other", 400, ErrorClass.BAD_REQUEST, Fault.PROXY, "proxy_bad_request"
    )
    assert failed in client.events
    assert (await client.ended()).code == "proxy_bad_request"


async def test_a_fault_before_the_head_is_a_500_that_the_log_explains(client: Client) -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError

    client.script.answer = fail
    async with client.session.get(client.url) as answer:
        assert answer.status == 500
        assert (await answer.json())["code"] == "proxy_internal_error"
    (crash,) = [event for event in client.events if isinstance(event, Crashed)]
    assert crash.request_id == "made-here"
    assert "ZeroDivisionError" in crash.stack
    assert (await client.ended()).error_class is ErrorClass.INTERNAL_ERROR


async def test_an_answer_that_breaks_while_its_links_are_looked_for_is_a_502(client: Client) -> None:
    broken = UpstreamError(ErrorClass.RESPONSE_INCOMPLETE, "The API's answer broke off.", written=True)
    fields = headers(content_type="application/json")
    client.script.answer = lambda _: Response(200, "OK", fields, Body(b"{", then=broken))
    async with client.session.get(client.url) as answer:
        assert answer.status == 502
        assert (await answer.json())["code"] == "proxy_response_incomplete"
    assert (await client.ended()).error_class is ErrorClass.RESPONSE_INCOMPLETE
    assert [event for event in client.events if isinstance(event, Failed)] == [], "who asked tells of it"


async def test_a_fault_after_the_head_aborts_the_connection(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"x", then=ZeroDivisionError()))
    with pytest.raises((ClientPayloadError, ServerDisconnectedError)):
        async with client.session.get(client.url) as answer:
            await answer.read()
    ended = await client.ended()
    assert (ended.status, ended.error_class, ended.fault) == (200, ErrorClass.INTERNAL_ERROR, Fault.PROXY)
    assert [event.error_class for event in client.events if isinstance(event, Failed)] == [ended.error_class]


async def test_a_body_that_ends_with_its_connection_is_cut_by_a_reset(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"x", then=ZeroDivisionError()))
    with pytest.raises(ConnectionResetError):
        await client.raw(b"GET / HTTP/1.0\r\n\r\n")


async def test_a_connection_that_breaks_under_our_hands_is_a_client_that_left(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"x", then=ConnectionResetError()))
    with pytest.raises((ClientPayloadError, ServerDisconnectedError)):
        async with client.session.get(client.url) as answer:
            await answer.read()
    assert (await client.ended()).error_class is ErrorClass.CLIENT_DISCONNECTED


async def test_a_connection_that_breaks_before_the_answer_gets_none(client: Client) -> None:
    def gone(_: Request) -> Response:
        raise ConnectionResetError

    client.script.answer = gone
    assert await client.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == b""
    ended = await client.ended()
    assert (ended.status, ended.error_class) == (None, ErrorClass.CLIENT_DISCONNECTED)


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(*[b"x" * 1_000_000] * 50))
    port = int(client.url.rpartition(":")[2].strip("/"))
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    ended = await client.ended_after(1)
    assert ended.error_class is ErrorClass.CLIENT_DISCONNECTED
    writer.transport.abort()


async def test_a_disk_that_does_not_take_a_body_is_told_as_that(client: Client) -> None:
    client.script.full = True
    async with client.session.put(client.url, data=b"x" * 1500) as answer:
        assert answer.status == 507
        content = await answer.json()
    assert (content["code"], "No space left" in content["detail"]) == ("proxy_no_space", True)
    assert client.script.asked == []


async def test_a_client_that_leaves_in_the_middle_of_its_upload_is_recorded(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
    await until(lambda: len(client.traffic) == 1)
    writer.transport.abort()
    assert (await client.ended()).error_class is ErrorClass.CLIENT_DISCONNECTED
    assert client.script.asked == []


async def test_a_malformed_chunk_ends_a_body_that_is_being_read(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    await until(lambda: len(client.traffic) == 1)
    writer.write(b"zz\r\n")
    assert b'"code":"proxy_bad_request"' in await reader.read()
    writer.close()
    assert client.script.asked == []
    assert (await client.ended()).error_class is ErrorClass.BAD_REQUEST


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"this is no HTTP\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"y" * 17_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: yyy\r\n" * 128 + b"\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X: " + b"y" * 16_000 + b"\r\n") * 5, 431, "head_too_large"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            400,
            "bad_request",
        ),
        (
            b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n", 501, "upgrade_refused"),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost:", 408, "request_timeout"),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nyyy", 408, "request_timeout"),
    ],
    ids=[
        "garbage",
        "a target too long",
        "a field too long",
        "too many fields",
        "a head too long that does not end",
        "two lengths",
        "a length and chunks",
        "websocket",
        "another protocol",
        "an old protocol",
        "a slow head",
        "a slow body",
    ],
)
async def test_what_is_no_request_gets_the_proxys_own_answer_and_is_counted(
    client: Client, content: bytes, status: int, code: str
) -> None:
    answer = await client.raw(content)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'"code":"proxy_%b"' % code.encode() in answer
    assert b"Server: avala-proxy\r\n" in answer
    assert b"Connection: close\r\n" in answer
    assert b"yyy" not in answer
    assert client.script.asked == []
    ended = await client.ended()
    assert ended.status == status
    assert Rejected("other", ended.error_class) in client.events


async def test_a_body_that_is_dripped_is_not_waited_for(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n")
    reading = asyncio.create_task(reader.read())
    for _ in range(20):  # every piece is in time, but all together are not
        writer.write(b"x")
        await asyncio.wait([reading], timeout=0.05)
    assert (await reading).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_line_ends_between_requests_begin_no_head(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\r\n")
    await asyncio.sleep(0.3)  # longer than a head may take
    writer.write(b"\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_what_follows_a_slow_head_is_not_heard(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HT")
    assert b" 408 " in await reader.readline()
    writer.write(b"TP/1.1\r\nHost: h\r\n\r\n")
    await reader.read()
    writer.close()
    assert client.script.asked == []


async def test_one_client_too_many_is_told_to_come_back(client: Client) -> None:
    port = int(client.url.rpartition(":")[2].strip("/"))
    others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    answer = await client.raw(b"")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"proxy_too_many_connections"' in answer
    assert b"Retry-After: 1\r\n" in answer
    for _, writer in others:
        writer.close()


async def test_a_malformed_request_does_not_cost_those_before_it(client: Client) -> None:
    good = b"PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nokGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    answers = await client.raw(
        good + b"GET /3 HTTP/1.1\r\nHost: h\r\n\r\nbad bad\r\n\r\nGET /4 HTTP/1.1\r\n\r\n"
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"200", b"400"]
    assert [request.target for request in client.script.asked] == ["/1", "/2", "/3"]


async def test_a_long_pipeline_is_answered_in_order_however_long_it_takes(client: Client) -> None:
    async def slowly(request: Request) -> None:
        await asyncio.sleep(0.01)

    client.script.before = slowly
    requests = [b"GET /%d HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (n, b"x" * 2000) for n in range(60)]
    last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answers = await client.raw(b"".join(requests) + last)
    assert answers.count(b"HTTP/1.1 200 ") == 61
    assert [request.target for request in client.script.asked] == [*(f"/{n}" for n in range(60)), "/last"]


async def test_in_http_1_0_an_answer_of_unknown_length_ends_with_its_connection(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"all"))
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = await client.raw(request * 2)
    assert answer.count(b"HTTP/1.0 200 ") == 1
    assert answer.endswith(b"\r\n\r\nall")


async def test_an_upgrade_that_is_ignored_ends_the_connection(client: Client) -> None:
    answer = await client.raw(
        b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in answer
    assert [request.target for request in client.script.asked] == ["/1"]


async def test_a_body_beside_an_upgrade_that_is_ignored_is_read(client: Client) -> None:
    answer = await client.raw(
        b"PUT / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 4\r\n\r\nbodyGET /2"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [request.body.size for request in client.script.asked] == [4]


async def test_a_trailer_becomes_no_field_of_the_next_request(client: Client) -> None:
    await client.raw(
        b"PUT /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Evil: 1\r\n\r\n"
        b"GET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    first, second = client.script.asked
    assert (first.target, first.body.size, second.target) == ("/1", 2, "/2")
    assert b"x-evil" not in first.headers
    assert b"x-evil" not in second.headers


@pytest.mark.parametrize(
    "head",
    [b"GET /a#b HTTP/1.1\r\nHost: h", b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked"],
    ids=["a fragment", "a transfer coding"],
)
async def test_what_would_be_understood_differently_upstream_is_refused(client: Client, head: bytes) -> None:
    assert b'"code":"proxy_bad_request"' in await client.raw(head + b"\r\n\r\n0\r\n\r\n")
    assert client.script.asked == []


async def test_a_handler_that_fails_is_not_taken_for_a_malformed_request(client: Client) -> None:
    async def broken(_: web.BaseRequest) -> web.StreamResponse:
        raise ZeroDivisionError

    runner = web.ServerRunner(Listener(broken, client.front.refuse, SETTINGS.listen))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with client.session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as answer:
        assert answer.status == 500
    await runner.cleanup()


async def test_an_http_1_0_client_is_sent_no_interim_response(client: Client) -> None:
    answer = await client.raw(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")
    assert b"100 Continue" not in answer
    assert b" 200 " in answer


async def test_who_is_cut_off_before_the_head_is_told(client: Client) -> None:
    client.script.hold = True
    asking = asyncio.create_task(client.raw(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    await until(lambda: len(client.script.asked) == 1)
    client.traffic.cut_off()
    answer = await asking
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"look before you repeat it" in answer
    assert (await client.ended()).error_class is ErrorClass.SHUTTING_DOWN


async def test_who_is_cut_off_after_the_head_is_aborted(client: Client) -> None:
    client.script.answer = lambda _: Response(200, "OK", Headers(), Body(b"x", hold=True))
    asking = asyncio.create_task(client.raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
    await until(lambda: len(client.traffic) == 1 and not asking.done() and len(client.script.asked) == 1)
    await asyncio.sleep(0.02)
    client.traffic.cut_off()
    answer = await asking
    assert answer.endswith(b"x\r\n")
    ended = await client.ended()
    assert (ended.status, ended.error_class) == (200, ErrorClass.SHUTTING_DOWN)


async def test_while_draining_an_answer_closes_its_connection(client: Client) -> None:
    client.traffic.draining = True
    for path in ("", "/"):
        async with client.session.get(client.url + path) as answer:
            assert answer.headers["Connection"] == "close"
