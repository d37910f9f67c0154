"""Make the links in answers lead to us: read what must be read of a body, decode it, and encode it again.

The only place that knows content codings. What is a link, and which answers may hold one, is decided in
`policy/links`. Whatever goes wrong with a body here (it is too long, broken, or no JSON) leaves it as it is.
"""

import asyncio
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import brotli  # type: ignore[import-untyped]  # it has no types

from proxy import config
from proxy.messages import Begun, Headers, Request, Response
from proxy.policy.links import Links, json_coding, restored, revalidated, weak

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_EXPANSION = 4
"""How many times `links.max_size` a body may be when it is decoded; more would be a bomb, or no JSON."""
_INLINE = 64 * 1024
"""Bytes of a body above which it is dealt with in a thread, so that nobody else waits for it."""
_INLINE_CODED = 8 * 1024
"""The same of a compressed one, which is several times as long inside."""

_GZIP, _ZLIB, _DEFLATE = 31, 15, -15  # zlib's `wbits`
_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}  # 8 MiB (RFC 9659 section 3)


class Localiser:
    """Make the links in answers lead to where the client reached us."""

    def __init__(self, settings: config.Links, base_url: str) -> None:
        self._settings = settings
        self._links = Links(base_url)
        self._one_at_a_time = asyncio.Lock()

    def restore(self, request: Request) -> Request:
        """Return the request as the upstream understands it, which knows nothing of changed answers."""
        if not self._settings.rewrite:
            return request
        headers = restored(request.headers)
        return request if headers is request.headers else replace(request, headers=headers)

    async def localise(self, request: Request, response: Response) -> Response:
        """Return the answer for the client; closing its body closes the one of `response`.

        Raises `UpstreamError` if a body that must be read first breaks off.
        """
        to = request.arrival_url
        if not self._settings.rewrite or not to:
            return response
        headers = self._links.headers(response.headers, to)
        if response.status == 304:
            headers = revalidated(request.headers, headers)
        if request.method == "HEAD" and json_coding("GET", response) is not None:
            headers = weak(headers, None)  # nobody knows what a GET would have been changed to
        response = replace(response, headers=headers)
        coding = json_coding(request.method, response)
        if coding is None or not self._worth_reading(coding, headers):
            return response
        return await self._relinked(response, coding, to)

    def _worth_reading(self, coding: str, headers: Headers) -> bool:
        if coding not in _CODINGS or not self._settings.max_size:
            return False
        return coding == _IDENTITY or (_announced(headers) or 0) <= self._settings.max_size

    async def _relinked(self, response: Response, coding: str, to: str) -> Response:
        source, longest = response.body.chunks(), self._settings.max_size
        pieces, read = list[bytes](), 0
        async for piece in source:
            pieces.append(piece)
            read += len(piece)
            if read > longest:
                break
        whole, content, changed = read <= longest, b"".join(pieces), None
        if whole or coding == _IDENTITY:
            changed = await self._changed(content[:longest], coding, to)
        if changed is None:
            return replace(response, body=Begun(content, source, response.body))
        size: int | None = len(changed)
        if not whole:
            announced = _announced(response.headers)
            size = None if announced is None else announced + len(changed) - longest
        body = Begun(changed + content[longest:], source, response.body)
        return replace(response, headers=weak(response.headers, size), body=body)

    async def _changed(self, content: bytes, coding: str, to: str) -> bytes | None:
        if coding == _IDENTITY and not self._links.named_in(content):
            return None  # most answers: the way to a thread would cost more than the look
        work = partial(self._change, content, _CODINGS[coding], to)
        inline = _INLINE if coding == _IDENTITY else _INLINE_CODED
        if len(content) <= inline:
            return work()
        async with self._one_at_a_time:  # several would take the event loop's turns from it, and memory
            return await asyncio.to_thread(work)

    def _change(self, content: bytes, codings: Iterable["_Coding"], to: str) -> bytes | None:
        """Decode, change and encode again; None if there is nothing to change, or no way to read it."""
        for coding in codings:
            try:
                decoded = coding.decode(content, _EXPANSION * self._settings.max_size)
            except (ValueError, EOFError, zlib.error, brotli.error, zstd.ZstdError):
                continue
            changed = self._links.json(decoded, to)
            return None if changed is None else coding.encode(changed)
        return None


def _announced(headers: Headers) -> int | None:
    length = headers.get(b"content-length") or ""
    return int(length) if length.isascii() and length.isdecimal() else None


class _Decompressor(Protocol):
    """What zlib and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _decompress(new: Callable[[], _Decompressor], content: bytes, limit: int) -> bytes:
    """Decode one stream that must be complete, alone, and no longer than `limit`; else raise ValueError."""
    decompressor = new()
    decoded = decompressor.decompress(content, limit + 1)
    if len(decoded) > limit or not decompressor.eof or decompressor.unused_data:
        raise ValueError("too long, cut off, or followed by something else")
    return decoded


def _decode_brotli(content: bytes, limit: int) -> bytes:
    decompressor = brotli.Decompressor()
    decoded: bytes = decompressor.process(content, output_buffer_limit=limit + 1)
    if len(decoded) > limit or not decompressor.is_finished():
        raise ValueError("too long, or cut off")
    return decoded


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a content coding is undone, to a limit, and done again, quickly rather than tightly."""

    decode: Callable[[bytes, int], bytes]
    encode: Callable[[bytes], bytes]


def _zlib(wbits: int) -> _Coding:
    return _Coding(
        decode=partial(_decompress, partial(zlib.decompressobj, wbits)),
        encode=partial(zlib.compress, level=1, wbits=wbits),
    )


_IDENTITY = "identity"
_CODINGS = {
    _IDENTITY: (_Coding(decode=lambda content, _: content, encode=lambda content: content),),
    "gzip": (_zlib(_GZIP),),
    "x-gzip": (_zlib(_GZIP),),
    # What RFC 9110 section 8.4.1.2 says it is, and what some send.
    "deflate": (_zlib(_ZLIB), _zlib(_DEFLATE)),
    "br": (_Coding(decode=_decode_brotli, encode=partial(brotli.compress, quality=3)),),
    "zstd": (
        _Coding(
            decode=partial(_decompress, partial(zstd.ZstdDecompressor, options=_WINDOW)),
            encode=partial(zstd.compress, level=1),
        ),
    ),
}
