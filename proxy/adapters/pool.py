"""Which connections to the upstream are open, which of them are used again, and who waits for one.

aiohttp keeps the books; what it leaves to those who derive from its `BaseConnector` is how a connection is
made (`dial.py`). Its tables are internal to it: the version range is pinned, and
`tests/adapters/test_pool.py` fails loudly on a version that differs.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from yarl import URL

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.config_values import authority
from proxy.errors import ErrorClass, UpstreamError

_PATIENT = ClientTimeout(total=None)
"""Whoever waits for a connection of the pool waits as long as its client: no fault of the upstream's."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """How many connections are open or being made, how many of them are busy, and how many wait for one."""

    open: int
    busy: int
    waiting: int

    def __str__(self) -> str:
        return f"{self.open} open, {self.busy} busy, {self.waiting} waiting"


class Pool(aiohttp.BaseConnector):
    """Connections to one origin, `max_connections` at the most; without `keep`, each for one use.

    `now` is monotonic seconds.
    """

    def __init__(
        self, settings: config.Upstream, dialer: Dialer, *, keep: bool, now: Callable[[], float]
    ) -> None:
        super().__init__(
            limit=settings.max_connections,
            force_close=not keep,
            keepalive_timeout=settings.keep_alive if keep else None,
        )
        self._settings = settings
        self._dialer = dialer
        self._now = now
        self._key = ClientRequest("GET", URL(settings.base_url), loop=self._loop)

    def __repr__(self) -> str:
        return f"<Pool {self.state}>"

    @property
    def state(self) -> PoolState:
        """What there is now."""
        idle = sum(protocol.is_connected() for kept in self._conns.values() for protocol, _ in kept)
        busy = len(self._acquired)
        return PoolState(idle + busy, busy, sum(map(len, self._waiters.values())))

    async def take(self) -> Connection:
        """Return a connection that works, as far as can be told; wait if all are busy.

        Raises `UpstreamError` if none can be made, or the pool is closed.
        """
        while not self.closed:
            try:
                connection = await self.connect(self._key, [], _PATIENT)
            except asyncio.CancelledError:
                self._release_waiter()  # if it was this one's turn, it is the next one's
                if not self.closed or _is_cancelled():
                    raise
                continue  # closing cancels what they wait for, not those who wait
            except aiohttp.ClientConnectionError:
                if not self.closed:
                    raise
                continue
            protocol = connection.protocol
            assert isinstance(protocol, _Protocol)
            if protocol.is_connected() and not protocol.should_close:
                protocol.used = True
                return connection
            connection.close()
            if not protocol.used:
                break  # it is of no use from the start, and so may be the next, and the next
            # It was closed, said what nobody asked for, or grew old, while it was idle.
        detail = f"The connection to {authority(self._settings.base_url)} failed."
        raise UpstreamError(ErrorClass.CONNECTION_TERMINATED, detail, written=False)

    async def _create_connection(self, *_: Any, **__: Any) -> ResponseHandler:
        return await self._dialer.dial(self._protocol)

    def _protocol(self) -> "_Protocol":
        return _Protocol(self._loop, self._settings.connection_age, self._now)


class _Protocol(ResponseHandler):
    """A connection that is not used again when it is old, and that breaks off the body that is arriving.

    Old: else it would go to an address that the upstream's name has left for as long as there is work.
    Breaks off, whatever goes wrong: aiohttp takes a reset for the end of a body that ends with its
    connection, and lets the reader of a malformed one wait for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, age: float, now: Callable[[], float]) -> None:
        super().__init__(loop=loop)
        self.used = False
        self._old_at = now() + age
        self._now = now

    @property
    def should_close(self) -> bool:
        """Whether it must not be used again; asked before and after each use, never within one."""
        return self._now() >= self._old_at or super().should_close

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None:
            self._break_off(exc)
        super().connection_lost(exc)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        super().set_exception(exc, exc if exc_cause is None else exc_cause)
        self._break_off(exc)

    def _break_off(self, cause: BaseException) -> None:
        if self._payload is not None and not self._payload.is_eof():
            late = isinstance(cause, TimeoutError)
            self._payload.set_exception(cause if late else aiohttp.ClientPayloadError("it broke"), cause)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
