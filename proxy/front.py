"""The client's side: read a request, keep the client, stream the answer, and say no in Avala's shape.

The only place that speaks HTTP to clients. The commit point is `Relay.prepare`: before it every failure
becomes one JSON answer; after it a failure can only abort the connection, never send a second head nor
end the body as if it were whole.
"""

import asyncio
import json
import re
import traceback
from collections.abc import Callable
from typing import Protocol

from aiohttp import HttpVersion11, web

from proxy.clock import Clock
from proxy.errors import (
    BadRequest,
    ErrorClass,
    Fault,
    InternalError,
    Refusal,
    RequestTooLarge,
    ShuttingDown,
    UpstreamError,
)
from proxy.events import BrokenOff, Crashed, Events, ExchangeEnded, Rejected
from proxy.forwarder import Account, Forwarder
from proxy.messages import Body, Headers, NoBody, Request, Response
from proxy.policy.classify import FAULT_OF
from proxy.policy.credentials import Credentials
from proxy.policy.headers import prefer_wait
from proxy.policy.routes import RouteTable
from proxy.relay import Relay, abort

_MIB = 1024 * 1024
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Spool(Body, Protocol):
    """A request body while it arrives."""

    async def write(self, chunk: bytes) -> None:
        """Append to it; raises OSError."""

    async def finish(self) -> None:
        """Note that it is complete; raises OSError."""

    def close(self) -> None:
        """Free what it holds."""


class Front:
    """Serve clients."""

    def __init__(
        self,
        forwarder: Forwarder,
        *,
        new_spool: Callable[[], Spool],
        new_id: Callable[[], str],
        credentials: Credentials,
        routes: RouteTable,
        max_body: int,
        longest_wait: float,
        clock: Clock,
        events: Events,
    ) -> None:
        self._forwarder = forwarder
        self._new_spool = new_spool
        self._new_id = new_id
        self._credentials = credentials
        self._routes = routes
        self._max_body = max_body
        self._longest_wait = longest_wait
        self._clock = clock
        self._events = events
        self._tickets = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._cutting = False
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; aiohttp's `web.Server` calls this, and cancels it if the client leaves."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.idle.clear()
        try:
            return await self._handle(http)
        finally:
            self._tasks.remove(task)
            if not self._tasks:
                self.idle.set()

    @property
    def in_flight(self) -> int:
        """Requests whose answer has not ended."""
        return len(self._tasks)

    def cut_off(self) -> None:
        """End every request now: those without an answer yet are told that the proxy stops."""
        self._cutting = True
        for task in self._tasks:
            task.cancel()

    def malformed(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer what was no HTTP: nothing about it is certain, so nothing of it is repeated or logged."""
        account, now = Account(), self._clock.now()
        peer = http.remote or ""
        request = Request("UNKNOWN", "/", Headers(), peer, arrived=now, deadline=now, id=self._new_id())
        answer = self._refuse(request, BadRequest("The request is malformed or ambiguous HTTP."), account)
        self._record(request, account, answer.status)
        return answer

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        account, spool = Account(), self._new_spool()
        request = self._head(http, spool)
        status: int | None = None
        answer: web.StreamResponse | None = None
        try:
            try:
                await self._receive(http, spool)
                async with self._forwarder.exchange(request, account) as response:
                    status = response.status
                    self._routes.answered(request.path, status)
                    answer = Relay(response)
                    await self._relay(http, answer, response)
            except Refusal as refusal:
                answer, status = self._refuse(request, refusal, account), refusal.status
            except UpstreamError as error:
                self._abort(http, account, error.error_class)
                self._events(BrokenOff(request.route, account.error_class, account.fault))
            except ConnectionError:
                # The client's connection broke while we read or wrote, before aiohttp could cancel us.
                self._abort(http, account, ErrorClass.CLIENT_DISCONNECTED)
            except Exception:
                self._events(Crashed(request.id, traceback.format_exc()))
                if answer is not None and answer.prepared:
                    self._abort(http, account, ErrorClass.INTERNAL_ERROR)
                else:
                    failure = InternalError("The proxy failed; its log says how.")
                    answer, status = self._refuse(request, failure, account), failure.status
        except asyncio.CancelledError:
            if not self._cutting:
                account.error_class, account.fault = ErrorClass.CLIENT_DISCONNECTED, Fault.PROXY
                raise
            if answer is not None and answer.prepared:
                self._abort(http, account, ErrorClass.SHUTTING_DOWN)
                raise
            stopping = ShuttingDown("The proxy stopped before the API answered; look before you repeat it.")
            answer, status = self._refuse(request, stopping, account), stopping.status
        finally:
            spool.close()
            self._record(request, account, status if answer is not None else None)
        # An aborted connection gets nothing more, whatever is returned; aiohttp wants a response.
        return answer or web.Response()

    def _head(self, http: web.BaseRequest, spool: Spool) -> Request:
        headers = Headers(http.raw_headers)
        arrived = self._clock.now()
        asked = prefer_wait(headers)
        client_id = headers.get(b"x-request-id")
        target = http.raw_path
        self._tickets += 1
        return Request(
            method=http.method,
            target=target,
            headers=headers,
            peer=http.remote or "unix",
            arrived=arrived,
            deadline=arrived + min(self._longest_wait, self._longest_wait if asked is None else asked),
            id=client_id if client_id and _SANE_ID.fullmatch(client_id) else self._new_id(),
            body=spool if b"content-length" in headers or b"transfer-encoding" in headers else NoBody(),
            secure=http.secure,
            credential=self._credentials.identify(headers),
            route=self._routes.label(target.partition("?")[0]),
            ticket=self._tickets,
        )

    async def _receive(self, http: web.BaseRequest, spool: Spool) -> None:
        """Read the body; an announced length over the limit is refused before a byte of it is read."""
        if not http.raw_path.startswith("/") or "#" in http.raw_path:
            raise BadRequest("The request target must begin with a slash, and has no fragment.")
        coding = http.headers.get("Transfer-Encoding", "chunked")
        if coding.lower() != "chunked":
            raise BadRequest("The only transfer coding is `chunked`.")
        if (http.content_length or 0) > self._max_body:
            raise self._too_large()
        if not http.body_exists:
            return
        if http.headers.get("Expect", "").lower() == "100-continue" and http.version >= HttpVersion11:
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            http.writer.output_size = 0  # an interim response is not the answer
        received = 0
        try:
            async for chunk in http.content.iter_any():
                received += len(chunk)
                if received > self._max_body:
                    raise self._too_large()
                await spool.write(chunk)
        except web.RequestPayloadError as error:
            raise BadRequest("The request body is malformed.") from error
        await spool.finish()

    def _too_large(self) -> RequestTooLarge:
        whole = self._max_body % _MIB == 0
        size = f"{self._max_body // _MIB}MB" if whole else f"{self._max_body} bytes"
        return RequestTooLarge(f"Request body too large. Maximum size is {size}.")

    async def _relay(self, http: web.BaseRequest, answer: Relay, response: Response) -> None:
        if self.draining:
            answer.force_close()
        await answer.prepare(http)
        async for chunk in response.body.chunks():
            await answer.write(chunk)
        await answer.write_eof()

    def _refuse(self, request: Request, refusal: Refusal, account: Account) -> web.StreamResponse:
        account.error_class, account.fault = refusal.error_class, FAULT_OF[refusal.error_class]
        if account.fault is Fault.PROXY:
            self._events(Rejected(request.route, refusal.error_class))
        content = {
            "detail": refusal.detail,
            "code": refusal.code,
            "doc_url": f"docs/errors.md#{refusal.code}",
        }
        headers = {"X-Request-Id": request.id, "Proxy-Status": f"avala-proxy; error={refusal.proxy_status}"}
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(refusal.retry_after)
        answer = web.Response(
            status=refusal.status,
            body=json.dumps(content, separators=(",", ":")).encode(),
            content_type="application/json",
            headers=headers,
        )
        if self.draining or isinstance(refusal, BadRequest | RequestTooLarge):
            answer.force_close()
        return answer

    @staticmethod
    def _abort(http: web.BaseRequest, account: Account, error_class: ErrorClass) -> None:
        account.error_class, account.fault = error_class, FAULT_OF[error_class]
        abort(http)

    def _record(self, request: Request, account: Account, status: int | None) -> None:
        self._events(
            ExchangeEnded(
                request_id=request.id,
                method=request.method,
                route=request.route,
                status=status,
                error_class=account.error_class,
                fault=account.fault,
                attempts=account.attempts,
                duration=self._clock.now() - request.arrived,
                waited=account.waited,
                upstream=account.upstream,
                limit=account.limit,
                credential=request.credential,
                peer=request.peer,
            )
        )
