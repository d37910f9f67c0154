"""An answer on its way to the client: the upstream's head in its own bytes, or a clear break.

The only place that touches the inside of aiohttp's responses; the version range is pinned, and
`tests/test_front.py` fails loudly on a version that differs.
"""

import asyncio
import socket
import struct
from contextlib import suppress

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter

from proxy.messages import Response
from proxy.policy.headers import Fields

_LINGER = 10.0
"""Seconds that the rest of a body may take to come, to no purpose but this."""
_SILENCE = 1.0
"""Seconds without any of it after which the client has seen the answer."""


class Relay(web.StreamResponse):
    """A response whose head is `fields` byte for byte, but for the framing, which is aiohttp's.

    aiohttp would add fields, join repeats that differ in case, and fail at bytes that are no UTF-8.
    """

    def __init__(self, response: Response, fields: Fields) -> None:
        super().__init__(status=response.status)
        self._upstream_reason = response.reason
        self._upstream_body = response.body
        self._fields = fields
        for name, value in self._fields:  # for aiohttp to read its framing off; never written
            self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    async def carry(self, http: web.BaseRequest, patience: float) -> None:
        """Send the head, then the body as it comes.

        Raises `UpstreamError` when that breaks off, and ConnectionError when the client is gone, or takes
        nothing for `patience` seconds: it would hold a connection to the API, and perhaps a place in a limit.
        """
        if http.version < HttpVersion11 and "Content-Length" not in self.headers:
            self.force_close()  # nothing but its end can tell where this body ends
        await self.prepare(http)
        async for chunk in self._upstream_body.chunks():
            try:
                async with asyncio.timeout(patience):
                    await self.write(chunk)
            except TimeoutError as error:
                raise ConnectionAbortedError("the client takes nothing of its answer") from error
        await self.write_eof()

    async def _write_headers(self) -> None:
        request, writer = self._req, self._payload_writer
        assert request is not None
        assert isinstance(writer, StreamWriter)
        version = request.version
        line = f"HTTP/{version.major}.{version.minor} {self.status} {self._upstream_reason}\r\n"
        # All of them, though aiohttp leaves out the length of a 304, which is that of a 200 (RFC 9110 §8.6).
        fields = list(self._fields)
        fields += [
            (name.encode(), self.headers[name].encode())
            for name in ("Transfer-Encoding", "Connection")
            if name in self.headers
        ]
        head = line.encode("utf-8", "surrogateescape") + b"".join(b"%b: %b\r\n" % field for field in fields)
        writer._headers_buf = head + b"\r\n"
        writer._headers_written = False
        writer.send_headers()


class Parting(web.Response):
    """An answer after which the connection ends.

    What the client is still sending is let in for a moment, because closing on it would make a reset, which
    can destroy the answer before the client has read it (RFC 9112 section 9.6).
    """

    async def write_eof(self, data: bytes = b"") -> None:
        """End the answer, and our half of the connection."""
        http = self._req
        assert http is not None, "aiohttp ends an answer once, after its head"
        await super().write_eof(data)
        if http.transport is None:
            return
        if http.transport.can_write_eof():
            http.transport.write_eof()
        with suppress(TimeoutError, web.RequestPayloadError):
            async with asyncio.timeout(_LINGER):
                while not http.content.is_eof():
                    async with asyncio.timeout(_SILENCE):
                        await http.content.readany()
        await asyncio.sleep(_SILENCE)  # ended by the client, when it closes


def abort(http: web.BaseRequest) -> None:
    """Break the connection of a request, so that its client cannot take what it got for the whole."""
    if http.transport is None:
        return
    if http.version < HttpVersion11:
        # Its body may end with the connection: only a reset tells that this was not the end.
        connection = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.transport.abort()
