"""One of several replicas: the shared ledger, its store, and the two tasks that keep them going."""

import asyncio
import random
import secrets
from collections.abc import Callable
from importlib import resources

from proxy.adapters.redis_ledger import RedisLedger
from proxy.adapters.store import Store
from proxy.adapters.ways import Ways
from proxy.clock import Clock
from proxy.config import Upstream
from proxy.config_redis import Redis
from proxy.events import LedgerReason
from proxy.policy.limits import LimitTable

_TEND = 0.1
"""Seconds between two looks at what is due."""

_NAME = 4
"""Random bytes of a replica's name."""


class Replica:
    """Share a budget; `changed` and `failed` hear what `Ways` says of them."""

    def __init__(
        self,
        settings: Redis,
        limits: LimitTable,
        clock: Clock,
        *,
        upstream: Upstream,
        probe: bool,
        password: Callable[[], str] | None,
        changed: Callable[[bool, str], None],
        failed: Callable[[LedgerReason], None],
    ) -> None:
        me = secrets.token_hex(_NAME)
        self._store = Store(
            settings,
            script=resources.files(__package__).joinpath("ledger.lua").read_text(encoding="utf-8"),
            channel=f"{settings.prefix}:wake:{me}",
            heard=lambda message: self.ledger.woken(message),
            broken=lambda: self.ledger.doubt(),
            password=password,
        )
        self.ledger = RedisLedger(
            limits,
            Ways(self._store.run, me, settings.prefix, settings.timeout, changed, failed, random.random),
            clock,
            transit=upstream.transit,
            clock_drift=upstream.clock_drift,
            probe=probe,
            assumed=settings.replicas,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Look whether the store is there, and begin to share; without it, begin alone."""
        await self.ledger.greet()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._store.listen()), loop.create_task(self._tend())]

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND)
            await self.ledger.tend()

    async def close(self) -> None:
        """Say good-bye to the others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ledger.close()
        await self._store.close()
