"""Keep clients alive while they wait: interim responses on a schedule, until the answer begins.

The only place that writes to a client beside its answer. It writes whole interim responses, straight to the
connection, and only between the end of a request and the head of its answer.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from proxy import config
from proxy.events import Events, InterimSent
from proxy.messages import Request
from proxy.policy.interim import Families

Over = Callable[[], None]


class Alive:
    """Send interim responses to those who are known to take them."""

    def __init__(self, settings: config.Interim, events: Events) -> None:
        self._families = Families(settings.families)
        self._interval = settings.interval
        self._events = events

    @contextmanager
    def waiting(self, http: web.BaseRequest, request: Request) -> Iterator[Over]:
        """Send them while the context lasts; yield what ends it sooner, for when the answer begins."""
        interim = self._families.interim(request)
        if interim is None:
            yield _nothing
            return
        schedule = _Schedule(http, interim, self._interval, self._events)
        try:
            yield schedule.end
        finally:
            schedule.end()


def _nothing() -> None:
    """End what never began."""


class _Schedule:
    def __init__(self, http: web.BaseRequest, interim: bytes, interval: float, events: Events) -> None:
        self._http = http
        self._interim = interim
        self._interval = interval
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._send)

    def _send(self) -> None:
        transport = self._http.transport
        if transport is None or transport.is_closing():
            return
        transport.write(self._interim)
        self._events(InterimSent())
        self._timer = self._loop.call_later(self._interval, self._send)

    def end(self) -> None:
        self._timer.cancel()
