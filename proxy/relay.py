"""An answer on its way to the client: the upstream's head in its own bytes, or a clear break.

The only place that touches the inside of aiohttp's responses; the version range is pinned, and
`tests/test_front.py` fails loudly on a version that differs.
"""

import socket
import struct

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter

from proxy.messages import Response
from proxy.policy.headers import downward


class Relay(web.StreamResponse):
    """A response whose head is the upstream's own bytes, but for the framing, which is aiohttp's.

    aiohttp would add fields, join repeats that differ in case, and fail at bytes that are no UTF-8.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(status=response.status)
        self._upstream_reason = response.reason
        self._fields = downward(response)
        for name, value in self._fields:  # for aiohttp to read its framing off; never written
            self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    async def _write_headers(self) -> None:
        request, writer = self._req, self._payload_writer
        assert request is not None
        assert isinstance(writer, StreamWriter)
        version = request.version
        line = f"HTTP/{version.major}.{version.minor} {self.status} {self._upstream_reason}\r\n"
        fields = [field for field in self._fields if field[0].decode("latin-1") in self.headers]
        fields += [
            (name.encode(), self.headers[name].encode())
            for name in ("Transfer-Encoding", "Connection")
            if name in self.headers
        ]
        head = line.encode("utf-8", "surrogateescape") + b"".join(b"%b: %b\r\n" % field for field in fields)
        writer._headers_buf = head + b"\r\n"
        writer._headers_written = False
        writer.send_headers()


def abort(http: web.BaseRequest) -> None:
    """Break the connection of a request, so that its client cannot take what it got for the whole."""
    if http.transport is None:
        return
    if http.version < HttpVersion11:
        # Its body may end with the connection: only a reset tells that this was not the end.
        connection = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http.transport.abort()
