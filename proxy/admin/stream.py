"""The stream of events behind the live page: what a `Watch` shows, as `text/event-stream`.

An event `configuration` (a JSON string) comes first and whenever it changed, an event `status` (the overview
as JSON on one line) every second. The format is the HTML standard's, section 9.2.
"""

import json
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from proxy.admin.answers import HEADERS, error
from proxy.admin.overview import Overview
from proxy.admin.watch import MOST, Full, Look, Watch
from proxy.clock import Clock
from proxy.relay import abort

_COME_BACK = 10
"""Seconds after which a place may be free again."""

_BEGINNING = b": an event `status` every second\nretry: 2000\n\n"
"""`retry` is when a browser whose stream broke off asks again (milliseconds)."""


class Stream:
    """Serve streams of events; `effective` is the configuration in force as TOML."""

    def __init__(self, overview: Overview, effective: Callable[[], str], clock: Clock) -> None:
        self._overview = overview
        self._effective = effective
        self._watch = Watch(self._look, clock=clock)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request for the stream; returns when the stream has ended."""
        if request.method == "HEAD":
            return await _begun(request)
        try:
            with self._watch.place():
                return await self._told(request)
        except Full:
            detail = f"{MOST} watch already, which is as many as may; /status says the same."
            answer = error(HTTPStatus.SERVICE_UNAVAILABLE, detail)
            answer.headers["Retry-After"] = str(_COME_BACK)
            return answer

    def close(self) -> None:
        """End every stream."""
        self._watch.close()

    async def _told(self, request: web.BaseRequest) -> web.StreamResponse:
        stream = await _begun(request)
        try:
            await stream.write(_BEGINNING)
            await self._watch.show(stream.write)
            await stream.write_eof()
        except (TimeoutError, ConnectionError):
            abort(request)  # who takes nothing would not take an end either
        return stream

    def _look(self) -> Look:
        return Look(_event("status", self._overview.now()), _event("configuration", self._effective()))


async def _begun(request: web.BaseRequest) -> web.StreamResponse:
    """Send the head; after a stream comes nothing on its connection."""
    stream = web.StreamResponse(headers=HEADERS)
    stream.content_type = "text/event-stream"
    stream.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
    stream.force_close()
    await stream.prepare(request)
    return stream


def _event(name: str, content: object) -> bytes:
    # Without a line end: JSON's escapes are ASCII, and those of strings hide theirs.
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
