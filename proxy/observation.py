"""Sizing before switching on: everything goes at once, and a ghost of it waits in line in its stead.

The line, the limits and their rules are the real ones; only nobody is held by them. A request is told at
once how long it would have waited; what its ghost met in the end is an event.
"""

import asyncio
import math
from collections.abc import Hashable

from proxy.admission import Admission
from proxy.clock import Clock
from proxy.config import Queue
from proxy.errors import Refusal
from proxy.events import Events, Observed
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.policy.limits import Lanes
from proxy.turn import Ledger, Turn


class _Nothing:
    """The grant of who needs none."""

    lanes: Lanes = ()


class Passage(Turn):
    """A turn that cost no wait; it remembers how long the exchange took, for the ghost to take as long."""

    def __init__(self, ledger: Ledger, clock: Clock, would_wait: float) -> None:
        super().__init__(ledger, _Nothing(), "none", math.inf)
        self.would_wait = would_wait
        loop = asyncio.get_running_loop()
        self.until_answered: asyncio.Future[float] = loop.create_future()
        self.until_ended: asyncio.Future[float] = loop.create_future()
        self._clock = clock
        self._began = clock.now()

    def sent(self) -> None:
        """Change nothing: there is no slot."""

    async def answered(self) -> None:
        """Note that the response head is here."""
        if not self.until_answered.done():
            self.until_answered.set_result(self._clock.now() - self._began)

    async def end(self) -> None:
        """Note that the exchange is over."""
        await self.answered()
        if not self.until_ended.done():
            self.until_ended.set_result(self._clock.now() - self._began)


class Observation(Admission):
    """Let every request go, and see what would have held it."""

    def __init__(self, ledger: Ledger, pacing: Pacing, queue: Queue, clock: Clock, events: Events) -> None:
        super().__init__(ledger, pacing, queue, clock)
        self._events = events
        self._ghosts: set[asyncio.Task[None]] = set()

    async def admit(
        self,
        request: Request,
        lanes: Lanes,
        *,
        again: bool = False,
        key: Hashable = None,
        gathered: bool = False,
    ) -> Turn:
        """Let it go at once; nobody has to join anybody."""
        passage = Passage(self._ledger, self._clock, self.expected_wait(request, lanes))
        ghost = asyncio.get_running_loop().create_task(self._wait_instead(request, lanes, passage, again))
        self._ghosts.add(ghost)
        ghost.add_done_callback(self._ghosts.discard)
        return passage

    async def _wait_instead(self, request: Request, lanes: Lanes, passage: Passage, again: bool) -> None:
        try:
            turn = await super().admit(request, lanes, again=again)
        except Refusal as refusal:
            self._events(Observed(request.route, "none", 0.0, refusal.error_class))
            return
        assert isinstance(turn, Turn), "it asked for nobody's like"
        self._events(Observed(request.route, turn.limit, turn.waited, None))
        granted = self._clock.now()
        try:
            await self._until(granted + await passage.until_answered)
            if passage.written:
                turn.started()
                await turn.answered()
            await self._until(granted + await passage.until_ended)
        finally:
            await turn.end()

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self._clock.now()))

    async def close(self) -> None:
        """Let the ghosts go."""
        for ghost in self._ghosts:
            ghost.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)
        await super().close()
