"""aiohttp's server with the proxy's manners: bounded heads, bounded patience, and refusals that are our own.

The only place that touches the inside of aiohttp's server protocol; the version range is pinned, and
`tests/test_front.py` fails loudly on a version that differs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from proxy import config
from proxy.errors import BadRequest, HeadTooLarge, Refusal, RequestTimeout, TargetTooLong, TooManyConnections
from proxy.policy.chunked import Chunks
from proxy.policy.framing import Framing, Head, Sized

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refusing = Callable[[web.BaseRequest, Refusal], web.StreamResponse]

_COME_BACK = 1
"""Seconds: connections end all the time."""


class Listener(web.Server):
    """Serve a handler; `refuse` answers what never becomes a request, and is handed one that says nothing."""

    def __init__(self, handler: Handler, refuse: Refusing, settings: config.Listen) -> None:
        self.refuse = refuse
        self.settings = settings
        self._options: dict[str, Any] = {
            "auto_decompress": False,
            "access_log": None,
            "keepalive_timeout": settings.idle_timeout,
            "lingering_time": 0.0,  # `relay.Parting` does it better
            "max_line_size": settings.max_target,
            # Two limits that differ can be told apart when one is exceeded.
            "max_field_size": settings.max_field + (settings.max_field == settings.max_target),
            "max_headers": 1 << 20,  # what they are together is counted here, and how many in `policy.wire`
        }
        super().__init__(handler, handler_cancellation=True)

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class _Connection(RequestHandler):
    def __init__(self, manager: Listener, **options: Any) -> None:
        super().__init__(manager, **options)
        self._answer_refusal = manager.refuse
        self._listen = manager.settings
        self._body: StreamReader = EMPTY_PAYLOAD
        self._framing: Framing = Head()
        self._held = b""
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._last = self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self._manager is not None
        full = len(self._manager._connections) >= self._listen.max_connections
        super().connection_made(transport)
        if full:
            allowed = self._listen.max_connections
            detail = f"{allowed} clients are connected already, which is as many as may be."
            self._refuse(TooManyConnections(detail, retry_after=_COME_BACK))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_ends()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not data:
            self._hear(data)  # aiohttp goes on where it had paused
        data, self._held = self._held + data, b""
        # One by one: the parser forgets the requests before a malformed one in what it is fed at once.
        while data and not self._deaf:
            if self._reading_paused or len(self._messages) >= self._max_msg_queue_size:
                self._held = data
                return
            try:
                piece, data = self._framing.feed(data)
            except BadRequest as error:
                self._spoil_body()
                self._refuse(error)
                return
            if piece:
                self._hear(piece)
            if self._framing.ended:
                self._framing = Head()
                self._deaf |= self._last

    def _hear(self, data: bytes) -> None:
        if self._deaf:
            return
        before = self._request_count
        super().data_received(data)
        if self._request_count == before:
            if isinstance(self._framing, Head):
                self._head_grows(data)
            return
        self._head_ends()
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self._deaf = True
            self._spoil_body()
        elif message.version not in (HttpVersion10, HttpVersion11):
            self._messages.pop()
            self._refuse(BadRequest("The protocol must be HTTP/1.0 or HTTP/1.1."))
        else:
            # llhttp stops at an upgrade, and aiohttp drops what came behind it: the rest can't be trusted.
            self._last = message.upgrade
            self._body = body
            length = int(message.headers.get("Content-Length", "0"))
            self._framing = Chunks(self._listen.max_field) if message.chunked else Sized(length)

    def _spoil_body(self) -> None:
        """Wake who reads a malformed body: aiohttp would let them wait for the rest of it for ever."""
        if not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("malformed"))

    def _head_grows(self, data: bytes) -> None:
        """Bound what a head may cost before it is one (slowloris); line ends alone begin none."""
        if self._head_size == 0 and not data.strip(b"\r\n"):
            return
        self._head_size += len(data)
        if self._head_size > self._listen.max_head:
            self._refuse(HeadTooLarge(f"The request head is longer than {self._listen.max_head} bytes."))
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(self._listen.head_timeout, self._head_late)

    def _head_late(self) -> None:
        self._refuse(RequestTimeout("The request head did not arrive in time."))

    def _head_ends(self) -> None:
        self._head_size = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, refusal: Refusal) -> None:
        """Put a refusal behind the requests that came before it, and hear nothing more."""
        self._deaf = True
        self._head_ends()
        self._request_count += 1
        self._messages.append((_ErrInfo(400, refusal, refusal.detail), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused; aiohttp's own words would repeat it, and log a traceback."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        request._version = HttpVersion11  # aiohttp takes what it cannot read for HTTP/1.0
        return self._answer_refusal(request, self._refusal(exc))

    def _refusal(self, error: BaseException | None) -> Refusal:
        if isinstance(error, Refusal):
            return error
        if isinstance(error, LineTooLong):
            if error.args[1] == self._listen.max_target:
                return TargetTooLong(f"The request target is longer than {self._listen.max_target} bytes.")
            return HeadTooLarge(f"A header field is longer than {self._listen.max_field} bytes.")
        return BadRequest("The request is malformed or ambiguous HTTP.")
