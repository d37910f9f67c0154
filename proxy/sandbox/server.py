"""The sandbox as a running server: puts the parts together, listens, and stops at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from proxy.sandbox.api import Api
from proxy.sandbox.calls import Sleep
from proxy.sandbox.control import Control
from proxy.sandbox.ledger import Ledger
from proxy.sandbox.limits import Limit
from proxy.sandbox.settings import SandboxSettings

SHUTDOWN_SECONDS = 0.1
"""How long a connection may take to end once its request was cancelled."""


class Sandbox:
    """A pretend Avala API: its data, its throttles and its ledger live as long as this object."""

    def __init__(
        self,
        settings: SandboxSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Build one; `clock` is monotonic, `wall` is unix time, both in seconds."""
        self.settings = settings or SandboxSettings()
        """As they were at the start."""
        self.ledger = Ledger(self.settings.ledger_size)
        self._api = Api(
            self.settings,
            self.ledger,
            clock=clock,
            wall=wall,
            rng=rng or random.Random(self.settings.seed),
            sleep=sleep,
        )
        self._control = Control(self.settings, self.ledger, self._api.tuning)
        self._handling: set[asyncio.Task[object]] = set()

    def __repr__(self) -> str:
        return f"<Sandbox {self.ledger!r}>"

    def set_limits(self, limits: Mapping[str, Limit]) -> None:
        """Change limits, by scope and before `time_scale`, from now on; the others stay as they are.

        What was counted stays counted. Raises ValueError, changing nothing, for what is no limit of a scope.
        """
        self._api.tuning.set_limits(limits)

    def set_faults(self, rates: Mapping[str, float], retry_after: float | None = None) -> None:
        """Draw these faults from now on, in place of the former and of the former `retry_after`.

        Both mean what they do in SandboxSettings: shares of requests by fault (none: no faults are drawn),
        and the seconds a 503 asks to wait. Raises ValueError, changing nothing, for what cannot be drawn.
        """
        self._api.tuning.set_faults(rates, retry_after)

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Listen until the block is left; gives the base URL. Raises OSError when the port is taken."""
        # handler_cancellation: without it a handler would not learn that its client left.
        server = web.Server(self._respond, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            self._api.stopping = False
            yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
            await site.stop()
        finally:
            self._api.stopping = True
            # aiohttp would wait for open streams; they have no end.
            for task in self._handling:
                task.cancel()
            await runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            if request.path.startswith("/api/"):
                return await self._api.respond(request)
            return await self._control.respond(request)
        finally:
            self._handling.discard(task)
