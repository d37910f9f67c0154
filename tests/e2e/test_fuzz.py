"""Whatever bytes come, every answer is well-formed, belongs to its request, and hides no second request.

The real listener and front stand on a connection in memory and on a virtual clock, so that whoever waits
for ever fails and nobody really waits; the forwarder answers with what it was asked. The judge is h11, which
shares no code with the proxy's parser: of what clients send, of what they get, and of what goes up.
"""

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.adapters.body import Spools
from proxy.adapters.upstream import Upstream
from proxy.config import Body, Headers, Links, Listen, Settings
from proxy.events import Crashed, Event, Events, ExchangeEnded
from proxy.forwarder import Account
from proxy.front import Front
from proxy.links import Localiser
from proxy.listener import Listener
from proxy.messages import Bytes, Request, Response
from proxy.messages import Headers as Fields
from proxy.policy.access import Access
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.routes import RouteTable
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from tests.virtual import VirtualClock, VirtualLoop

pytestmark = pytest.mark.timeout(300)

# Small, so that small inputs meet every limit.
SETTINGS = Settings(
    listen=Listen(max_target=300, max_field=300, max_head=1024, max_fields=12),
    body=Body(max_size=600),
)
HERE = ("127.0.0.1", 8080)

EXPLORE = os.environ.get("FUZZ_EXAMPLES")


def budget(examples: int) -> settings:
    """Run the same cases each time: a red build tells of its own change. With FUZZ_EXAMPLES, run others."""
    return settings(
        max_examples=int(EXPLORE or examples),
        derandomize=EXPLORE is None,
        database=None,
        report_multiple_bugs=False,
        deadline=None,  # a case costs a millisecond, but the machine is shared
        suppress_health_check=list(HealthCheck),  # generating is slow under coverage; no input is discarded
    )


# The proxy, and a client that is bytes


@dataclass(frozen=True)
class Seen:
    """A request as somebody understood it."""

    method: bytes
    target: bytes
    body: bytes

    @property
    def token(self) -> str:
        """Stand for it in an answer."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass
class Echo:
    """A forwarder whose answers tell what they answer."""

    asked: list[tuple[Request, Seen]] = field(default_factory=list)

    @asynccontextmanager
    async def exchange(self, request: Request, account: Account) -> AsyncIterator[Response]:
        body = b"".join([chunk async for chunk in request.body.chunks()])
        target = request.target.encode("utf-8", "surrogateescape")
        seen = Seen(request.method.encode(), target, body)
        self.asked.append((request, seen))
        account.attempts = 1
        await asyncio.sleep(0.001)
        yield self._answer(seen)

    def _answer(self, seen: Seen) -> Response:
        """Frame the answer in another way each time."""
        token = seen.token.encode()
        status = (200, 200, 404, 204, 304)[len(seen.target) % 5]
        fields = [(b"X-Token", token)]
        if seen.method == b"HEAD" or status in (204, 304):
            return Response(status, "", Fields(tuple(fields)))
        if len(self.asked) % 2:
            fields.append((b"Content-Length", b"%d" % len(token)))
        return Response(status, "", Fields(tuple(fields)), Bytes(token))


class Wire(asyncio.Transport):
    """A connection without a socket."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("192.0.2.1", 4000), "sockname": HERE})
        self._protocol = protocol
        self._closing = False
        self.written = bytearray()
        self.wrote_at = self.ended_at = 0.0
        self.aborted = False
        self.ended = False
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        if not self._closing:
            self.written += data
            self.wrote_at = asyncio.get_running_loop().time()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def _lost(self) -> None:
        self._protocol.connection_lost(None)
        self.ended_at = asyncio.get_running_loop().time()
        self.gone.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()

    async def feed(self, piece: bytes) -> None:
        """Bring bytes, as soon as they are wanted and as long as anybody listens."""
        lost = asyncio.ensure_future(self.gone.wait())
        wanted = asyncio.ensure_future(self.reading.wait())
        await asyncio.wait({lost, wanted}, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        wanted.cancel()
        if not self._closing:
            self._protocol.data_received(piece)


@dataclass(frozen=True)
class Outcome:
    """What a connection brought about."""

    asked: Sequence[tuple[Request, Seen]]
    ended: Sequence[ExchangeEnded]
    written: bytes
    silence: float
    """Seconds from the last byte that was written to the end of the connection."""

    @property
    def understood(self) -> list[Seen]:
        """What the proxy took the bytes for."""
        return [seen for _, seen in self.asked]


class Complaints(logging.Handler):
    """What aiohttp and asyncio have to say: nothing should have to be."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class Proxy:
    """The listener and the front, over a script, on a loop that never really waits."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._echo = Echo()
        self._events: list[Event] = []
        self._complaints = Complaints()
        logging.getLogger().addHandler(self._complaints)
        clock, routes = VirtualClock(), RouteTable(10)
        reception = Reception(
            SETTINGS,
            new_spool=Spools(SETTINGS.body).new,
            new_id=lambda: "made-here",
            rules=RequestRules(SETTINGS.listen, ()),
            arrivals=Arrivals(None, ()),
            access=Access(["X-Avala-Api-Key"], key=lambda: None, clients=()),
            credentials=Credentials(["X-Avala-Api-Key"], b"secret"),
            routes=routes,
            clock=clock,
        )
        self._front = Front(
            reception,
            self._echo,  # type: ignore[arg-type]  # it has the one method that the front calls
            Localiser(Links(), "https://api.example"),
            headers=Headers(),
            send_timeout=SETTINGS.listen.send_timeout,
            routes=routes,
            clock=clock,
            events=Events(self._events.append),
        )
        self.upstream = loop.run_until_complete(self._upstream())

    async def _upstream(self) -> Upstream:
        return Upstream(SETTINGS.upstream, SETTINGS.headers)

    def converse(self, pieces: Sequence[bytes], *, leave: bool = False) -> Outcome:
        """Be a client that sends these pieces and then keeps silent until the proxy hangs up, or leaves."""
        return self._loop.run_until_complete(self._converse(pieces, leave))

    async def _converse(self, pieces: Sequence[bytes], leave: bool) -> Outcome:
        self._echo.asked, self._events[:], self._complaints.said[:] = [], [], []
        protocol = Listener(self._front.handle, self._front.refuse, SETTINGS.listen)()
        wire = Wire(protocol)
        protocol.connection_made(wire)
        async with asyncio.timeout(600):
            for piece in pieces:
                await wire.feed(piece)
                await asyncio.sleep(0)
            if leave:
                wire.close()
            await wire.gone.wait()
            await self._front.idle.wait()
            await asyncio.sleep(0)
        assert leave or not wire.aborted
        assert self._complaints.said == []
        assert [event.stack for event in self._events if isinstance(event, Crashed)] == []
        assert asyncio.all_tasks() == {asyncio.current_task()}
        ended = [event for event in self._events if isinstance(event, ExchangeEnded)]
        return Outcome(self._echo.asked, ended, bytes(wire.written), wire.ended_at - wire.wrote_at)

    def close(self) -> None:
        """Close what was opened."""
        logging.getLogger().removeHandler(self._complaints)
        self._loop.run_until_complete(self.upstream.close())


@contextmanager
def running() -> Iterator[Proxy]:
    """Give one proxy to all the cases of a test."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        proxy = Proxy(loop)
        yield proxy
        proxy.close()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running() as made:
        yield made


# The judge


TAKEN = (
    # Empty lines before a request line, which RFC 9112 section 2.2 wants ignored.
    (re.compile(rb"\A[\r\n]+"), lambda _: b""),
    # More than one space around the target, which section 3 leaves to the reader; one goes up.
    (re.compile(rb"\A([A-Z]+) +([^ \r\n]+) +(?=HTTP/)"), lambda found: found[1] + b" " + found[2] + b" "),
    # More zeros before a chunk's size than h11 has patience for; the body goes up with a length.
    (re.compile(rb"(?<=\n)0{14,}(?=[0-9A-Fa-f]{1,6}[;\r])"), lambda found: b""),
)
"""What the proxy takes although h11 refuses it, and what makes it bearable to h11."""
OURS = re.compile(rb"https?://127\.0\.0\.1:8080/?", re.IGNORECASE)
"""What goes up of a target that names us is its path and query (RFC 9112 section 3.2.2)."""


def requests_in(content: bytes) -> list[Seen]:
    """Read requests as h11 does, up to what is malformed or not complete."""
    found: list[Seen] = []
    while content:
        for pattern, bearable in TAKEN:
            content = pattern.sub(bearable, content)
        seen, content = one_request(content)
        if seen is None:
            break
        found.append(replace(seen, target=OURS.sub(b"/", seen.target)))
    return found


def one_request(content: bytes) -> tuple[Seen | None, bytes]:
    """Read the first request, and return what comes after it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(content)
    body = b""
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None, content
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None, content
    if not isinstance(event, h11.EndOfMessage):
        return None, content
    return Seen(head.method, head.target, body), connection.trailing_data[0]


@dataclass(frozen=True)
class Answer:
    """A response as h11 understood it."""

    version: bytes
    status: int
    fields: dict[bytes, bytes]
    body: bytes
    open_ended: bool


def answers_in(content: bytes, methods: Sequence[bytes]) -> list[Answer]:
    """Read the answers to requests of these methods; raises where they are not well-formed, whole and all."""
    found = []
    for method in methods:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(content)
        while isinstance(head := connection.next_event(), h11.InformationalResponse):
            assert head.status_code == 100
        assert isinstance(head, h11.Response)
        assert head.http_version in (b"1.0", b"1.1")
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        open_ended = event is h11.NEED_DATA and head.http_version == b"1.0"
        if open_ended:
            connection.receive_data(b"")  # the proxy has closed the connection, and the body ends with it
            event = connection.next_event()
        assert isinstance(event, h11.EndOfMessage)
        found.append(Answer(head.http_version, head.status_code, dict(head.headers), body, open_ended))
        content = connection.trailing_data[0]
    assert content == b""
    return found


def check(proxy: Proxy, pieces: Sequence[bytes]) -> Outcome:
    """Demand all that holds for any bytes whatsoever."""
    outcome = proxy.converse(pieces)
    check_understanding(outcome, b"".join(pieces))
    check_answers(outcome)
    for request, seen in outcome.asked:
        check_upward(proxy.upstream, request, seen)
    return outcome


def check_understanding(outcome: Outcome, content: bytes) -> None:
    """What went on is what h11 reads, from the first request on: none is invented, split or joined."""
    assert outcome.understood == requests_in(content)[: len(outcome.asked)]


def check_answers(outcome: Outcome) -> None:
    """Each request has its own answer; after them comes at most one refusal, and then nothing."""
    answers = answers_in(outcome.written, [event.method.encode() for event in outcome.ended])
    assert not any(answer.open_ended for answer in answers[:-1])
    if answers and answers[-1].open_ended:
        assert outcome.silence < 5
    taken, refused = answers[: len(outcome.asked)], answers[len(outcome.asked) :]
    assert [answer.fields.get(b"x-token", b"").decode() for answer in taken] == [
        seen.token for seen in outcome.understood
    ]
    for answer, seen in zip(taken, outcome.understood, strict=True):
        assert answer.body in (b"", seen.token.encode())
        assert (answer.body == b"") == (seen.method == b"HEAD" or answer.status in (204, 304))
    assert len(refused) <= 1
    for answer in refused:
        assert answer.status in (400, 408, 413, 414, 431, 501)
        assert answer.version == b"1.0" or answer.fields[b"connection"] == b"close"
        assert b'"code":"proxy_' in answer.body or outcome.ended[-1].method == "HEAD"


def check_upward(upstream: Upstream, request: Request, seen: Seen) -> None:
    """What would go up is one request, the same one, and nothing of it speaks of the client's connection."""
    head = upstream._head(request)
    (again,) = requests_in(head + seen.body)
    assert again == seen
    names = re.findall(rb"\r\n([^:\r]+):", head.lower())
    assert names.count(b"host") == 1
    assert names.count(b"x-avala-api-key") == len(request.headers.all(b"x-avala-api-key"))
    assert not {b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer"} & set(names)


# The grammar: mostly what is right, often enough what is not

MOSTLY = 5


def mostly(*right: bytes, or_else: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw from what is right, and now and then from what is not."""
    weight = MOSTLY * max(1, len(or_else) // len(right) * 2)
    return st.sampled_from([*right * weight, *or_else])


METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND")
TARGETS = (b"/", b"/a%2Fb//c", b"/x?q=%ff&&", b"/..;/a?", b'/[x]{y}|^"', b"/" + b"a" * 200, b"//h/")
FIELDS = (
    b"X-Any: thing",
    b"x-any:\tother ",
    b"X-Empty:",
    b"X-High: \xe9\xff",
    b"Cookie: a=1; b=2",
    b"X-Avala-Api-Key: avk_1",
    b"X-Request-Id: mine",
    b"Prefer: wait=1",
    b"Connection: keep-alive",
    b"Connection: X-Any, Host",
    b"TE: trailers",
    b"Accept: text/event-stream",
    b"Expect: 100-continue",
)
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b"\0\r\n", b"", b"\r\n\r\n")

target = mostly(
    *TARGETS,
    or_else=[
        b"*",
        b"",
        b"a",
        b"/a b",
        b"/a#b",
        b"/\x00",
        b"/caf\xc3\xa9?\xff",
        b"/a\\b",
        b"/" + b"a" * 310,
        b"http://127.0.0.1:8080/a",
        b"HTTP://127.0.0.1:8080?b",
        b"http://h@127.0.0.1:8080/",
        b"http://evil/",
        b"evil:443",
    ],
)
request_line = st.tuples(
    mostly(*METHODS, or_else=[b"get", b"CONNECT", b"BREW", b"G\tT", b"", b" GET", b"\r\nGET", b"PRI"]),
    mostly(b" ", or_else=[b"  ", b"\t", b""]),
    target,
    st.just(b" "),
    mostly(
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.0",
        or_else=[b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"", b"HTTP/1.1 "],
    ),
    st.just(b"\r\n"),
).map(b"".join)
host = mostly(
    b"Host: h\r\n",
    or_else=[
        b"",
        b"Host:\r\n",
        b"Host: h\r\nHost: h\r\n",
        b"Host : h\r\n",
        b"host: h:1\r\n",
        b"Host: h/a\r\n",
    ],
)
plain_field = mostly(
    *FIELDS,
    or_else=[
        b"Connection: close",
        b"Connection: X-Avala-Api-Key, Content-Length, Transfer-Encoding",
        b"Connection: Upgrade\r\nUpgrade: h2c",
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"X Y: z",
        b": empty",
        b"nothing",
        b" folded: x",
        b"\tfolded",
        b"X-Any : z",
        b"X-Nul: a\0b",
        b"X-Cr: a\rb",
        b"X-Bell: \x07",
        b"X-Long: " + b"y" * 300,
        b"Expect: 200-ok",
    ],
).map(lambda line: line + b"\r\n")
chunk_size = mostly(
    b"%x",
    b"%X",
    b"000%x",
    or_else=[
        b"0x%x",
        b"-%x",
        b"+%x",
        b" %x",
        b"%x ",
        b"%xg",
        b"%x\t",
        b"0" * 30 + b"%x",
        b"1" * 16 + b"%x",
        b"",
    ],
)
extension = mostly(
    b"",
    or_else=[
        b";a",
        b";a=b",
        b';a="q;\\""',
        b";",
        b" ;a",
        b"; a = b",
        b";a\nb",
        b";a\rb",
        b";" + b"e" * 200,
        b";\0",
    ],
)
trailers = mostly(
    b"",
    or_else=[b"X-T: 1\r\n", b"Content-Length: 5\r\n", b"Host: evil\r\n", b"x\r\n", b" f\r\n", b"X-T: 1\n"],
)
payload = st.sampled_from(
    [
        b"x",
        b"0123456789",
        b"0\r\n\r\n",
        b"\r\n",
        b"GET /in HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\0\xff" * 30,
        b"z" * 250,
    ]
)


@st.composite
def chunk(draw: st.DrawFn) -> bytes:
    """Make one chunk, whose size may lie."""
    content = draw(payload)
    size = len(content) + draw(st.sampled_from([0] * 20 + [1, -1, 2, 300]))
    head = draw(chunk_size).replace(b"%x", b"%x" % max(size, 0)).replace(b"%X", b"%X" % max(size, 0))
    return head + draw(extension) + b"\r\n" + content + b"\r\n"


chunked = st.tuples(
    st.lists(chunk(), max_size=3).map(b"".join),
    mostly(b"0\r\n", b"00\r\n", or_else=[b"", b"0;last\r\n", b"0 \r\n", b"-0\r\n", b"0x0\r\n"]),
    trailers,
    st.just(b"\r\n"),
).map(b"".join)
CODING = mostly(
    b"Transfer-Encoding: chunked\r\n",
    or_else=[
        b"transfer-encoding:\tChunked \r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked,\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
    ],
)


@st.composite
def sized(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Make a field that gives a length, and content of this length or nearly."""
    content = draw(payload)
    length = len(content) + draw(st.sampled_from([0] * 12 + [1, -1, 700]))
    form = draw(mostly(b"%d", or_else=[b"+%d", b"-%d", b"0%d", b"%d,%d", b"0x%d", b"%d ", b"", b"%d 1"]))
    return b"Content-Length: " + form.replace(b"%d", b"%d" % length) + b"\r\n", content


bodies = st.one_of(
    st.just((b"", b"")),
    st.just((b"", b"")),
    sized(),
    st.tuples(CODING, chunked),
)
requests = st.tuples(request_line, host, st.lists(plain_field, max_size=3).map(b"".join), bodies).map(
    lambda parts: b"".join([*parts[:3], parts[3][0], b"\r\n", parts[3][1]])
)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Flip, insert, delete or repeat a few bytes or the end of a line, in half of the cases."""
    content = draw(whole)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            place = max(content.rfind(b"\r\n", 0, place), 0)
            length, other = 2, draw(st.sampled_from(ENDS))
        else:
            length = draw(st.sampled_from([0, 1, 1, 2, 9]))
            there = content[place : place + length]
            other = draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"\0", b":", b"\xff", b"0", there * 2]))
        content = content[:place] + other + content[place + length :]
    return content


@st.composite
def split(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Cut bytes into the pieces in which they arrive."""
    content = draw(whole)
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    return [content[at:to] for at, to in zip([0, *places], [*places, len(content)], strict=True) if at < to]


conversations = st.lists(requests, min_size=1, max_size=2).map(b"".join)
uploads = chunked.map(
    lambda body: b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body
)
noise = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.text("GET /HTP1.:\r\n\t 0aXx;,", min_size=1, max_size=80).map(str.encode),
)


@st.composite
def right(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """Make a request in which nothing is wrong, and say what it is."""
    method, target = draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: h", *fields])
    pieces = draw(st.lists(payload, max_size=2))
    body = b"".join(pieces)
    if draw(st.booleans()):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    elif pieces:
        framed = b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        framed = b"\r\n"
    return head + b"\r\n" + framed, Seen(method, target, body)


@budget(4000)
@given(split(damaged(conversations)))
def test_no_request_is_understood_as_another_than_it_is(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(3000)
@given(split(damaged(uploads)))
def test_no_chunked_body_is_understood_as_another_than_it_is(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(1200)
@given(split(noise))
def test_noise_gets_a_refusal_or_nothing(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(600)
@given(st.data(), st.lists(right(), min_size=1, max_size=3))
def test_requests_without_fault_arrive_however_they_are_cut(
    proxy: Proxy, data: st.DataObject, sent: list[tuple[bytes, Seen]]
) -> None:
    outcome = check(proxy, data.draw(split(st.just(b"".join(content for content, _ in sent)))))
    assert outcome.understood == [seen for _, seen in sent]


@budget(400)
@given(
    st.data(),
    st.lists(right(), min_size=1, max_size=3),
    st.sampled_from([b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n:\r\n"]),
)
def test_a_malformed_request_costs_none_before_it_its_answer(
    proxy: Proxy, data: st.DataObject, sent: list[tuple[bytes, Seen]], bad: bytes
) -> None:
    content = b"".join(content for content, _ in sent) + bad
    outcome = check(proxy, data.draw(split(st.just(content))))
    assert outcome.understood == [seen for _, seen in sent]
    assert outcome.ended[-1].status == 400


@budget(300)
@given(split(damaged(st.one_of(conversations, uploads))))
def test_how_bytes_are_cut_makes_no_difference(proxy: Proxy, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    cut, one_by_one = proxy.converse(pieces), proxy.converse([bytes([byte]) for byte in content])
    assert cut.understood == one_by_one.understood
    assert len(cut.ended) == len(one_by_one.ended)


@budget(500)
@given(split(damaged(conversations)))
def test_a_client_that_leaves_leaves_nothing_behind(proxy: Proxy, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    check_understanding(proxy.converse(pieces, leave=True), content)
