"""What a response says of the limits, on its way to the ledger: which lanes are meant, and what is told.

Reading it is `policy/feedback.py`, which limit it speaks of `policy/limits.py`, and what follows for a limit
the ledger's. Here they meet, once for each response head.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy import config
from proxy.bodies import begin
from proxy.clock import Clock
from proxy.events import Events, ForeignSeen, LimitMoved, LimitPaused, LimitResumed
from proxy.messages import Bytes, Response
from proxy.policy import feedback
from proxy.policy.feedback import Feedback
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.turn import NOTHING, Learned, News, Turn

_WORDS = 4096
"""Bytes of a 429 in which its wait may be told in words."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A response, and for how long it demands to wait (seconds); `held`: a pause sees to it."""

    response: Response
    demanded: float | None
    held: bool = False


class Learning:
    """Listen to responses; `worsened` is called when a refusal has made waits longer."""

    def __init__(
        self,
        limits: LimitTable,
        retry: config.Retry,
        clock: Clock,
        events: Events,
        worsened: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._retry = retry
        self._clock = clock
        self._events = events
        self._worsened = worsened

    async def heard(self, response: Response, lanes: Lanes, turn: Turn) -> Heard:
        """Settle a turn by its response head.

        Of a 429 that demands nothing in its head, the body is read. Raises `UpstreamError` if that breaks.
        """
        wall = self._clock.wall()
        said = feedback.parse(response.headers, wall=wall)
        demanded = feedback.demanded_wait(said, response.status)
        if response.status != 429:
            quotas = self._limits.spoken_of(lanes, said, turn.capacity) if said.quotas else ()
            self._tell(await turn.answered(News(quotas) if quotas else NOTHING))
            return Heard(response, demanded)
        if demanded is None:
            body = await begin(response.body, _WORDS)
            content = body.content if isinstance(body, Bytes) else body.first
            response = replace(response, body=body)
            demanded = feedback.parse(response.headers, wall=wall, content=content).retry_after
        lane = self._limits.refused(lanes, said, turn.capacity)
        if lane is None:
            await turn.answered()
            return Heard(response, demanded)
        return Heard(response, await self._refused(lane, said, demanded, lanes, turn), held=True)

    async def _refused(
        self, lane: Lane, said: Feedback, demanded: float | None, lanes: Lanes, turn: Turn
    ) -> float:
        spoken_of = self._limits.spoken_of(lanes, said, turn.capacity)
        quotas = tuple((one, quota) for one, quota in spoken_of if one == lane)
        longest = self._retry.longest_pause
        pause = min(demanded or self._retry.base, longest)
        learned = await turn.answered(News(quotas, lane, pause, longest))
        self._tell(learned)
        self._events(LimitPaused(lane.limit, learned.paused, lane.key, learned.anew))
        self._worsened()
        return learned.paused

    def _tell(self, learned: Learned) -> None:
        for lane, capacity in learned.moved:
            self._events(LimitMoved(lane.limit, capacity))
        for lane in learned.resumed:
            self._events(LimitResumed(lane.limit, lane.key))
        for lane, count in learned.foreign:
            self._events(ForeignSeen(lane.limit, count))
