"""Whether the proxy should get traffic: told without asking the API for anything.

It is not ready while it drains, while the breaker of all that is in no group lets nothing go, or while the
upstream's name cannot be resolved; it answers all the same. Without the store that it shares a budget through
it is degraded, and ready: it has its share. When the next probe is due it is ready: without
traffic there would be none.
"""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.clock import Clock
from proxy.errors import UpstreamError
from proxy.events import Events, LifecycleChanged
from proxy.policy.groups import Groups
from proxy.traffic import Traffic

_EVERY = 15.0
"""Seconds between two look-ups of the upstream's name."""


class Readiness:
    """Watch what is needed; `resolve` looks the upstream's name up and raises `UpstreamError`.

    `shared` tells the trouble with the store that the budget is shared through ("" if there is none).
    """

    def __init__(
        self,
        resolve: Callable[[], Awaitable[None]],
        groups: Groups,
        traffic: Traffic,
        clock: Clock,
        events: Events,
        *,
        shared: Callable[[], str] = lambda: "",
    ) -> None:
        self._resolve = resolve
        self._groups = groups
        self._traffic = traffic
        self._clock = clock
        self._events = events
        self._shared = shared
        self._unresolved = ""
        self._watching: asyncio.Task[None] | None = None

    def now(self) -> tuple[bool, str]:
        """Tell whether new requests are welcome, and why not."""
        if self._traffic.draining:
            return False, "draining"
        upstream, now = next(iter(self._groups)), self._clock.now()
        if upstream.breaker.ready_at(now) > now:
            return False, "circuit_open: the API fails, and is left alone until it is back"
        if self._unresolved:
            return False, f"dns_error: {self._unresolved}"
        trouble = self._shared()
        return True, f"degraded: {trouble}" if trouble else "serving"

    def watch(self) -> None:
        """Begin to look."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Look the name up, and tell if that has become impossible, or possible again."""
        before = self._unresolved
        try:
            await self._resolve()
        except UpstreamError as error:
            self._unresolved = error.detail
        else:
            self._unresolved = ""
        if self._unresolved and not before:
            advice = "Check upstream.base_url (--upstream) and the name server."
            self._events(LifecycleChanged("upstream_unresolved", f"{self._unresolved} {advice}"))
        elif before and not self._unresolved:
            self._events(LifecycleChanged("upstream_resolved", "The API's name can be resolved again."))

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
