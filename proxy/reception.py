"""Receive a request: its head is checked, its sender is known, its body arrives whole and in time.

The only place that reads from clients. `begin` makes of any head something that can be answered and
recorded; `complete` refuses what must be refused, before a byte of the body is read where that is possible.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

from aiohttp import HttpVersion11, web

from proxy.clock import Clock
from proxy.config import Settings
from proxy.config_values import parse_base_url
from proxy.errors import BadRequest, NoSpace, RequestTimeout, RequestTooLarge, UnauthorizedClient
from proxy.messages import Body, Headers, NoBody, Request
from proxy.policy.access import Access
from proxy.policy.arrival import Arrivals
from proxy.policy.callers import urgency
from proxy.policy.credentials import Credentials
from proxy.policy.headers import prefer_wait
from proxy.policy.pages import comes_from_another_site
from proxy.policy.routes import RouteTable
from proxy.policy.said import Said
from proxy.policy.wire import RequestRules

UNIX = "unix"
"""The peer of whoever comes by a Unix socket."""

_MIB = 1024 * 1024


class Spool(Body, Protocol):
    """A request body while it arrives."""

    async def write(self, chunk: bytes) -> None:
        """Append to it; raises OSError."""

    async def finish(self) -> None:
        """Note that it is complete; raises OSError."""

    def close(self) -> None:
        """Free what it holds."""


class Reception:
    """Make requests of what clients send."""

    def __init__(
        self,
        settings: Settings,
        *,
        new_spool: Callable[[], Spool],
        said: Said,
        new_ticket: Callable[[], int],
        rules: RequestRules,
        arrivals: Arrivals,
        access: Access,
        credentials: Credentials,
        routes: RouteTable,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self.new_spool = new_spool
        self._said = said
        self._rules = rules
        self._arrivals = arrivals
        self._access = access
        self._credentials = credentials
        self._routes = routes
        self._clock = clock
        self._new_ticket = new_ticket
        public = settings.listen.public_url
        self._names = () if public is None else (parse_base_url(public)[1],)

    def nothing(self, http: web.BaseRequest) -> Request:
        """Stand in for what was no HTTP: nothing about it is certain, so nothing of it is repeated."""
        now = self._clock.now()
        return Request(
            "UNKNOWN", "/", Headers(), _peer(http), arrived=now, deadline=now, id=self._said.new_id()
        )

    def begin(self, http: web.BaseRequest) -> Request:
        """Note who asks for what; nothing is refused yet."""
        headers = Headers(http.raw_headers)
        here = _here(http)
        arrival = self._arrivals.of(headers, peer=_peer(http), secure=http.secure, here=here)
        arrived = self._clock.now()
        longest = self._settings.queue.longest_wait
        asked = prefer_wait(headers)
        return Request(
            method=http.method,
            target=http.raw_path,
            headers=headers,
            peer=arrival.peer,
            arrived=arrived,
            deadline=arrived + min(longest, longest if asked is None else asked),
            id=self._said.request_id(headers),
            secure=http.secure,
            version=b"%d.%d" % http.version,
            arrival_url=arrival.url,
            ticket=self._new_ticket(),
        )

    async def complete(self, http: web.BaseRequest, request: Request, spool: Spool) -> Request:
        """Check the head, let the client in, and read the body.

        Raises `Refusal`s; an announced length over the limit is refused before a byte of it is read.
        """
        target = self._rules.target(request, _here(http))
        admitted = self._access.admit(request.headers)
        if admitted.lent:
            self._check_lending(request, admitted.client)
        if (http.content_length or 0) > self._settings.body.max_size:
            raise self._too_large()
        sized = b"content-length" in request.headers or b"transfer-encoding" in request.headers
        if sized and http.body_exists:
            await self._receive(http, spool)
        return replace(
            request,
            target=target,
            headers=admitted.headers,
            client=admitted.client,
            caller=self._said.caller(
                admitted.headers, shown=request.headers, client=admitted.client, peer=request.peer
            ),
            urgency=urgency(admitted.headers),
            credential=self._credentials.identify(admitted.headers),
            route=self._routes.label(target.partition("?")[0]),
            body=spool if sized else NoBody(),
        )

    def _check_lending(self, request: Request, client: str | None) -> None:
        if request.method == "TRACE":  # its answer is the request, key and all (RFC 9110 section 9.3.8)
            raise UnauthorizedClient("The key that the proxy holds is not sent with TRACE.")
        if client is None and self._is_of_a_page(request):
            raise UnauthorizedClient(
                "The key that the proxy holds is not for web pages: programs ask for localhost, an address, "
                "or the host of listen.public_url, or show a token."
            )

    def _is_of_a_page(self, request: Request) -> bool:
        # A page reaches no Unix socket, where programs write any Host.
        return request.peer != UNIX and comes_from_another_site(
            request.headers, url=request.arrival_url, secure=request.secure, names=self._names
        )

    async def _receive(self, http: web.BaseRequest, spool: Spool) -> None:
        if http.headers.get("Expect", "").lower() == "100-continue" and http.version >= HttpVersion11:
            await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            http.writer.output_size = 0  # an interim response is not the answer
        received = 0
        try:
            async for chunk in self._in_time(http):
                received += len(chunk)
                if received > self._settings.body.max_size:
                    raise self._too_large()
                await spool.write(chunk)
            await spool.finish()
        except web.RequestPayloadError as error:
            raise BadRequest("The request body is malformed.") from error
        except ConnectionError:
            raise
        except OSError as error:
            reason = error.strerror or "it fails"
            raise NoSpace(f"The proxy cannot keep the request body (body.directory): {reason}.") from error

    async def _in_time(self, http: web.BaseRequest) -> AsyncIterator[bytes]:
        """Read a body whose pieces follow each other soon enough, and which is not dripped."""
        listen = self._settings.listen
        began, received = self._clock.now(), 0
        try:
            while True:
                earned = received / listen.body_rate if listen.body_rate else math.inf
                overdrawn = self._clock.now() - began - earned
                async with asyncio.timeout(listen.body_timeout - max(overdrawn, 0.0)):
                    chunk = await http.content.readany()
                if not chunk:
                    return
                received += len(chunk)
                yield chunk
        except TimeoutError as error:
            raise RequestTimeout("The request body did not arrive in time.") from error

    def _too_large(self) -> RequestTooLarge:
        limit = self._settings.body.max_size
        size = f"{limit // _MIB}MB" if limit % _MIB == 0 else f"{limit} bytes"
        return RequestTooLarge(f"Request body too large. Maximum size is {size}.")


def _peer(http: web.BaseRequest) -> str:
    """Return the client's address; on a Unix socket it would be a name of the client's own choice."""
    return UNIX if isinstance(_sockname(http), str | bytes) else http.remote or UNIX


def _sockname(http: web.BaseRequest) -> object:
    return http.transport.get_extra_info("sockname") if http.transport else None


def _here(http: web.BaseRequest) -> str:
    """Return the authority of the socket at which a request arrived."""
    name = _sockname(http)
    if not isinstance(name, tuple):
        return "localhost"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
