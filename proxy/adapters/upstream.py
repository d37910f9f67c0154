"""One exchange with the upstream: the request head written by us, the response parsed by aiohttp.

The only place that speaks HTTP upward; its connections come from `pool.py`. `ClientSession` is not used
because it re-sends idempotent requests by itself when a kept connection drops, which would spend the API's
budget uncounted; and because only who writes the bytes knows whether any have left. What is used of aiohttp
instead (`ResponseHandler`) is internal to it: the version range is pinned, and
`tests/adapters/test_upstream.py` fails loudly on a version that differs.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.adapters.names import Resolver, system_resolver
from proxy.adapters.pool import Pool, PoolState
from proxy.config_values import authority, parse_base_url
from proxy.errors import ErrorClass, UpstreamError
from proxy.forwarder import Progress
from proxy.messages import Headers, Request, Response
from proxy.policy.classify import IDEMPOTENT
from proxy.policy.headers import upward
from proxy.policy.wire import unfit_response

_MAX_HEAD = 64 * 1024
_MAX_INTERIM = 32
_SMALL_BODY = 64 * 1024


class Upstream:
    """Send requests to one origin; each call is one attempt, never more.

    `now` is monotonic seconds, the event loop's if None; `tls` is as `Dialer` has it.
    """

    def __init__(
        self,
        settings: config.Upstream,
        headers: config.Headers,
        *,
        resolver: Resolver = system_resolver,
        now: Callable[[], float] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._headers = headers
        self._prefix = parse_base_url(settings.base_url)[3]
        self._host = authority(settings.base_url).encode("ascii")
        now = now or asyncio.get_running_loop().time
        self._dialer = Dialer(settings, resolver=resolver, now=now, tls=tls)
        self._kept = Pool(settings, self._dialer, keep=True, now=now)
        self._fresh = Pool(settings, self._dialer, keep=False, now=now)

    def __repr__(self) -> str:
        pools = "; ".join(f"{name}: {state}" for name, state in self.pools.items())
        return f"<Upstream {self._settings.base_url} {pools}>"

    @property
    def pools(self) -> Mapping[str, PoolState]:
        """What the pools hold now: connections that are kept, and those for one request each."""
        return {"kept": self._kept.state, "fresh": self._fresh.state}

    async def close(self) -> None:
        """Close all connections."""
        self._dialer.close()
        for pool in (self._kept, self._fresh):
            await pool.close(abort_ssl=True)  # nobody waits for the API to say goodbye

    async def reach(self) -> None:
        """Connect and keep the connection for the first request; raises `UpstreamError`. Costs no request."""
        (await self._kept.take()).release()

    async def resolve(self) -> None:
        """Look the upstream's name up; raises `UpstreamError`. Costs neither request nor connection."""
        await self._dialer.resolve()

    async def send(self, request: Request, progress: Progress) -> Response:
        """Send once and return the response head, the body still to be read.

        Raises `UpstreamError`. `progress` is told before the first byte, and after the last one if that is
        known to have left.
        """
        # A kept connection may be closed by the upstream at the moment of reuse, and nobody can tell whether
        # the request was read (RFC 9112 §9.3.1). What may not be repeated goes over a new connection.
        pool = self._kept if request.method in IDEMPOTENT else self._fresh
        connection = await pool.take()
        try:
            return await self._exchange(connection, request, progress)
        except BaseException:
            connection.close()
            raise

    async def _exchange(self, connection: Connection, request: Request, progress: Progress) -> Response:
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=None,  # it would begin anew with each byte
            max_line_size=_MAX_HEAD,
            max_field_size=_MAX_HEAD,
            max_headers=512,
        )
        head = self._head(request)
        progress.started()
        try:
            async with asyncio.timeout(None) as patience:
                upload = await self._write(protocol, head, request, progress, patience)
                try:
                    message, payload = await self._read_head(protocol)
                finally:
                    if upload is not None and not upload.done():
                        upload.cancel()  # answered before the end of the body: the rest is not wanted
                        protocol.force_close()
                    if upload is not None:
                        await asyncio.gather(upload, return_exceptions=True)
        except (OSError, TimeoutError, aiohttp.ClientError, HttpProcessingError) as error:
            raise _broken(error) from error
        headers = Headers(message.raw_headers)
        fault = unfit_response(message.code, message.reason, message.version, headers)
        if fault is not None:
            raise _unfit(fault)
        protocol.read_timeout = self._patience(headers)
        if not payload.is_eof() and not protocol._reading_paused:
            protocol.start_timeout()
        body = _Body(connection, protocol, payload)
        version = b"%d.%d" % message.version
        return Response(message.code, message.reason, headers, body, version)

    def _patience(self, headers: Headers) -> float:
        """Return the longest silence of a body (seconds): a stream may have nothing to say."""
        streams = (headers.get(b"content-type") or "").lower().startswith("text/event-stream")
        return self._settings.stream_timeout if streams else self._settings.read_timeout

    def _head(self, request: Request) -> bytes:
        fields = upward(
            request,
            host=self._host,
            size=request.body.size,
            via=self._headers.via,
            credential_headers=self._settings.credential_headers,
            forwarded=self._headers.forwarded,
        )
        # `*` is the server as a whole, and below no path (RFC 9112 §3.2.4).
        target = request.target if request.target == "*" else self._prefix + request.target
        line = f"{request.method} {target} HTTP/1.1\r\n".encode("ascii")
        return line + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"

    async def _write(
        self,
        protocol: ResponseHandler,
        head: bytes,
        request: Request,
        progress: Progress,
        patience: asyncio.Timeout,
    ) -> "asyncio.Task[None] | None":
        """Write the head, and the body: at once if small, else in a task beside the reading."""
        transport = protocol.transport
        assert transport is not None, "it was connected a moment ago, and nothing was awaited since"
        if request.body.size is None or request.body.size <= _SMALL_BODY:
            transport.write(head + b"".join([chunk async for chunk in request.body.chunks()]))
            progress.sent()
            self._expect_head(patience)
            return None
        transport.write(head)
        return asyncio.get_running_loop().create_task(self._upload(protocol, request, patience))

    def _expect_head(self, patience: asyncio.Timeout) -> None:
        patience.reschedule(asyncio.get_running_loop().time() + self._settings.head_timeout)

    async def _upload(self, protocol: ResponseHandler, request: Request, patience: asyncio.Timeout) -> None:
        """Write a large body.

        Its end is not reported: megabytes of it may still lie in the kernel's buffers, so that when it has
        arrived can only be told from the answer.
        """
        try:
            async for chunk in request.body.chunks():
                async with asyncio.timeout(self._settings.read_timeout):
                    await protocol._drain_helper()  # raises if the connection is lost
                assert protocol.transport is not None
                protocol.transport.write(chunk)
        except Exception as error:
            # The reader waits on the protocol, so that is where the failure has to arrive.
            kind = aiohttp.SocketTimeoutError if isinstance(error, TimeoutError) else aiohttp.ClientOSError
            protocol.set_exception(kind(f"the body could not be sent: {error!r}"), error)
            return
        self._expect_head(patience)

    @staticmethod
    async def _read_head(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
        for _ in range(_MAX_INTERIM):
            message, payload = await protocol.read()
            if message.code == 101:
                raise _unfit("http_upgrade_failed")  # nobody asked for it
            if not 100 <= message.code < 200:
                return message, payload
        raise _unfit("http_protocol_error")


class _Body:
    """The rest of a response; its connection goes back to the pool at the end, or is closed before it."""

    def __init__(self, connection: Connection, protocol: ResponseHandler, payload: StreamReader) -> None:
        self._connection = connection
        self._payload = payload
        self._protocol = protocol

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._payload.iter_any():
                yield chunk
        except (OSError, aiohttp.ClientError, HttpProcessingError) as error:
            raise _cut(error) from error

    async def close(self) -> None:
        if self._payload.is_eof():
            self._connection.release()
        else:
            self._connection.close()


def _broken(error: BaseException) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return UpstreamError(ErrorClass.READ_TIMEOUT, "The API did not answer in time.", written=True)
    if isinstance(error, HttpProcessingError):
        return _unfit("http_protocol_error")
    detail = "The API closed the connection without an answer."
    return UpstreamError(ErrorClass.CONNECTION_TERMINATED, detail, written=True)


def _unfit(proxy_status: str) -> UpstreamError:
    detail = "The API's answer is not HTTP, or not safe to pass on."
    return UpstreamError(ErrorClass.RESPONSE_INCOMPLETE, detail, written=True, proxy_status=proxy_status)


def _cut(error: BaseException) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return UpstreamError(
            ErrorClass.READ_TIMEOUT, "The API stopped in the middle of its answer.", written=True
        )
    return UpstreamError(ErrorClass.RESPONSE_INCOMPLETE, "The API's answer broke off.", written=True)
