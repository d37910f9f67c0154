"""The proxy on a connection in memory and on a virtual clock, and a client that is bytes."""

import asyncio
import hashlib
import itertools
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from proxy.account import Account
from proxy.adapters.body import Spools
from proxy.adapters.upstream import Upstream
from proxy.alive import Alive
from proxy.config import Body, Headers, Interim, Links, Listen, Settings
from proxy.events import Crashed, Event, Events, ExchangeEnded
from proxy.front import Front
from proxy.links import Localiser
from proxy.listener import Listener
from proxy.messages import Bytes, Request, Response
from proxy.messages import Headers as Fields
from proxy.policy.access import Access
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.routes import RouteTable
from proxy.policy.said import Said
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.traffic import Traffic
from proxy.virtual import VirtualClock, VirtualLoop

# Small, so that small inputs meet every limit.
SETTINGS = Settings(
    listen=Listen(max_target=300, max_field=300, max_head=1024, max_fields=12),
    body=Body(max_size=600),
)
HERE = ("127.0.0.1", 8080)


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
        self._traffic = traffic = Traffic()
        reception = Reception(
            SETTINGS,
            new_spool=Spools(SETTINGS.body).new,
            said=Said(["X-Avala-Api-Key"], is_secret=lambda word: False, new_id=lambda: "made-here"),
            new_ticket=itertools.count(1).__next__,
            rules=RequestRules(SETTINGS.listen, ()),
            arrivals=Arrivals(None, ()),
            access=Access(["X-Avala-Api-Key"], key=lambda: None, clients=()),
            credentials=Credentials(["X-Avala-Api-Key"], b"secret"),
            routes=routes,
            clock=clock,
        )
        told = Events(self._events.append)
        self._front = Front(
            reception,
            self._echo,  # type: ignore[arg-type]  # it has the one method that the front calls
            Localiser(Links(), "https://api.example"),
            Alive(Interim(), told),
            headers=Headers(),
            send_timeout=SETTINGS.listen.send_timeout,
            routes=routes,
            traffic=traffic,
            clock=clock,
            events=told,
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
            await self._traffic.idle.wait()
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
