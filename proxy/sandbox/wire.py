"""The sandbox's border with sockets: request bodies in, replies out, and connections broken on purpose.

Every answer is written here to its end, not by aiohttp after the handler: only so can the ledger tell what
was sent.
"""

from __future__ import annotations

import socket
import struct
from asyncio import WriteTransport
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from typing import cast

from aiohttp import web

from proxy.sandbox import errors
from proxy.sandbox.calls import Body
from proxy.sandbox.ledger import Entry
from proxy.sandbox.replies import AnyReply, Reply, StreamReply

_BLOCK = 64 * 1024
_NO_BODY = Body(sha256().hexdigest(), 0, b"")


async def read_body(request: web.BaseRequest, entry: Entry, most: int, keep: bool) -> Body:
    """Read a request's body to its end, noting in the entry how far it came; without `keep` only its digest.

    Raises ApiError: 413 for more than `most` bytes (at once, when they are declared), 400 for broken framing.
    """
    if not request.body_exists:
        entry.body_sha256 = _NO_BODY.sha256
        return _NO_BODY
    if (request.content_length or 0) > most:
        raise errors.too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp takes bytes written for a response that has begun, unless told otherwise.
        request.writer.output_size = 0
    digest, kept = sha256(), bytearray()
    try:
        async for block in request.content.iter_chunked(_BLOCK):
            entry.body_size += len(block)
            if entry.body_size > most:
                raise errors.too_large()
            digest.update(block)
            if keep:
                kept += block
    except web.RequestPayloadError:
        raise errors.bad_request("Malformed request.") from None
    entry.body_sha256 = digest.hexdigest()
    return Body(entry.body_sha256, entry.body_size, bytes(kept))


async def send(request: web.BaseRequest, reply: AnyReply, entry: Entry, cut: bool) -> web.StreamResponse:
    """Send a reply, whole or cut in half, and note in the entry the status that went out."""
    if isinstance(reply, StreamReply):
        return await _send_stream(request, reply, entry, cut)
    if not cut:
        return await _send_whole(request, reply, entry)
    if not reply.body or request.method == "HEAD":
        # Half of nothing would be a complete answer; a fault that was asked for must be seen.
        return reset(request)
    halves = StreamReply(_once(reply.body), reply.headers, len(reply.body), reply.status)
    return await _send_stream(request, halves, entry, cut)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _send_whole(request: web.BaseRequest, reply: Reply, entry: Entry) -> web.StreamResponse:
    response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
    if reply.close:
        response.force_close()
    await response.prepare(request)
    await response.write_eof()
    entry.status = reply.status
    return response


async def _send_stream(
    request: web.BaseRequest, reply: StreamReply, entry: Entry, cut: bool
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = reply.length
    await response.prepare(request)
    entry.status = reply.status
    if request.method != "HEAD":
        chunks = _half(reply) if cut else reply.chunks
        async with aclosing(chunks) as parts:
            async for part in parts:
                await response.write(part)
    if cut:
        # Not abort(), which would throw away what is still buffered of the half that is to arrive.
        _transport(request).close()
    else:
        await response.write_eof()
    return response


async def _half(reply: StreamReply) -> AsyncGenerator[bytes, None]:
    """Give the first half of a stream, or its first chunk when its length is not known."""
    left = None if reply.length is None else reply.length // 2
    async for chunk in reply.chunks:
        part = chunk if left is None else chunk[:left]
        yield part
        if left is None or len(part) < len(chunk):
            return
        left -= len(part)


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection with a RST and no answer. What is returned cannot be sent; aiohttp wants one."""
    transport = _transport(request)
    raw: socket.socket = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()


def _transport(request: web.BaseRequest) -> WriteTransport:
    if request.transport is None:
        raise ConnectionResetError("The client is gone.")
    return cast("WriteTransport", request.transport)
