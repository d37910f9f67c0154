"""Sizing before switching on: everything goes at once, and a ghost of it waits in line in its stead.

The line, the limits and their rules are the real ones; only nobody is held by them. A request is told at
once how long it would have waited; what its ghost met in the end is an event.
"""

import asyncio
import math
from collections.abc import Hashable, Sequence

from proxy.admission import Admission
from proxy.clock import Clock
from proxy.config import Queue
from proxy.errors import Refusal
from proxy.events import Events, Observed
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.policy.limits import Lanes
from proxy.turn import NOTHING, Learned, Ledger, News, Turn


class _Nothing:
    """The grant of who needs none."""

    lanes: Lanes = ()


Moment = asyncio.Future[float | None]
"""So many seconds after a turn, when that is known; None: it never came to it."""


class Passage(Turn):
    """A turn that cost no wait; it remembers when what happened, for the ghost to do the same."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        super().__init__(ledger, _Nothing(), "none", math.inf)
        loop = asyncio.get_running_loop()
        self.until_sent: Moment = loop.create_future()
        self.until_answered: Moment = loop.create_future()
        self.until_ended: Moment = loop.create_future()
        self._clock = clock
        self._began = clock.now()

    def sent(self) -> None:
        """Note that the last byte has left."""
        self._happened(self.until_sent)

    def started(self) -> None:
        """Note that from here on, bytes of the request may leave."""
        self.written = True

    async def answered(self, news: News = NOTHING) -> Learned:
        """Note that the response head is here; a refusal holds the ghosts."""
        self._happened(self.until_answered, never=(self.until_sent,))
        if news.refused is None:
            return Learned()
        paused = any(one.lane == news.refused and one.paused > 0 for one in self._ledger.lanes())
        await self._ledger.pause(news.refused, news.pause)
        return Learned(news.pause, anew=not paused)

    async def end(self) -> None:
        """Note that the exchange is over."""
        self._happened(self.until_ended, never=(self.until_sent, self.until_answered))

    def _happened(self, moment: Moment, never: Sequence[Moment] = ()) -> None:
        for missed in never:
            if not missed.done():
                missed.set_result(None)
        if not moment.done():
            moment.set_result(self._clock.now() - self._began)


class Observation(Admission):
    """Let every request go, and see what would have held it."""

    holds = False

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
        refused: bool = False,
        key: Hashable = None,
        gathered: bool = False,
    ) -> Turn:
        """Let it go at once; nobody has to join anybody."""
        passage = Passage(self._ledger, self._clock)
        ghost = asyncio.get_running_loop().create_task(self._wait_instead(request, lanes, passage, again))
        self._ghosts.add(ghost)
        ghost.add_done_callback(self._ghosts.discard)
        try:
            await asyncio.sleep(0)  # until it is in line, behind the ghosts of those who came before
        except asyncio.CancelledError:
            await passage.end()
            raise
        return passage

    async def _wait_instead(self, request: Request, lanes: Lanes, passage: Passage, again: bool) -> None:
        passage.would_wait = self.expected_wait(request, lanes)
        try:
            turn = await super().admit(request, lanes, again=again)
        except Refusal as refusal:
            self._events(Observed(request.route, "none", 0.0, refusal.error_class))
            return
        assert isinstance(turn, Turn), "it asked for nobody's like"
        self._events(Observed(request.route, turn.limit, turn.waited, None))
        granted = self._clock.now()
        try:
            turn.started()
            if await self._comes(granted, passage.until_sent):
                turn.sent()
            if await self._comes(granted, passage.until_answered):
                await turn.answered()
            await self._comes(granted, passage.until_ended)
        finally:
            turn.written = passage.written
            await turn.end()

    async def _comes(self, granted: float, moment: Moment) -> bool:
        """Wait until as long after the ghost's turn as after the real one; tell whether it came to it."""
        seconds = await moment
        if seconds is not None:
            await asyncio.sleep(max(0.0, granted + seconds - self._clock.now()))
        return seconds is not None

    async def close(self) -> None:
        """Let the ghosts go."""
        for ghost in self._ghosts:
            ghost.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)
        await super().close()
