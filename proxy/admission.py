"""The queue: who goes next, and when. Nothing leaves for the upstream but through it.

A request asks the ledger for room in all its lanes at once. If there is none it waits in line, parked at the
lane that has no room; one dispatcher offers turns, in the order of `policy/fair_queue.py`, when a lane's time
has come or a slot came back. Who will be late is refused as soon as that is known (`policy/prospects.py`).
The ledger's windows are the guard; `pacing.py` only spreads what a window frees at one moment.
"""

import asyncio
import heapq
import math
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress

from proxy.clock import Clock
from proxy.config import Queue
from proxy.errors import CircuitOpen, QueueFull, QueueTimeout, Refusal, ShuttingDown
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.party import Party
from proxy.policy.limits import Lane, Lanes
from proxy.policy.line import Line
from proxy.policy.prospects import Prospects
from proxy.policy.standing import by_caller
from proxy.policy.turns import Place, Rules
from proxy.state import CallerState
from proxy.turn import Busy, Ledger, Turn

_REVIEW = 1.0
"""Seconds between two looks at who will be too late; at a pause, they are looked at when it begins."""


class _Waiter(Place):
    __slots__ = ("cautious", "future", "request")
    future: "asyncio.Future[Turn | Party]"

    def __init__(self, request: Request, lanes: Lanes, key: Hashable, *, cautious: bool = False) -> None:
        super().__init__(
            request.ticket,
            lanes,
            credential=request.credential,
            caller=request.caller,
            urgency=request.urgency,
            arrived=request.arrived,
            deadline=request.deadline,
            key=key,
        )
        self.request = request
        self.cautious = cautious


class Admission:
    """Let requests go in turn."""

    holds = True
    """Whether a pause holds those whom it concerns, also the one whose refusal began it."""

    def __init__(self, ledger: Ledger, pacing: Pacing, queue: Queue, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._line = Line(_rules(queue))
        self._prospects = Prospects(self._line, ledger.outlook)
        self.configure(queue, pacing)
        self._due: list[tuple[float, Lane]] = []
        self._due_at: dict[Lane, float] = {}
        self._wake = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._review: asyncio.TimerHandle | None = None
        self._leaving: dict[Hashable, Turn] = {}
        self._closing = asyncio.Event()
        ledger.on_freed(self._freed)

    def configure(self, queue: Queue, pacing: Pacing) -> None:
        """Go by other settings; who waits goes on to."""
        self._queue = queue
        self._pacing = pacing
        self._line.configure(_rules(queue))

    def __repr__(self) -> str:
        return f"<Admission {self._line!r}>"

    @property
    def line(self) -> Line:
        """Who waits."""
        return self._line

    def callers(self) -> tuple[CallerState, ...]:
        """Return who waits, by caller, the longest queues first."""
        now = self._clock.now()
        return by_caller(self._line.everybody(), self._prospects.starts(now), now)

    async def admit(
        self,
        request: Request,
        lanes: Lanes,
        *,
        again: bool = False,
        refused: bool = False,
        key: Hashable = None,
        gathered: bool = False,
    ) -> Turn | Party:
        """Wait until the request may be sent once; `again` for a retry, which keeps the place it had.

        One that the upstream `refused` before goes when it is surer not to be refused again.

        Those who wait with equal keys ask for the same: when one of them gets a turn, the others get its
        `Party`. Who was `gathered` with others leaves them the moment that they need to join.

        Raises `QueueTimeout` as soon as its turn is known to come after its deadline, `QueueFull`,
        `ShuttingDown`. A caller that is cancelled is out of the line at once and costs nothing.
        """
        if (leader := self._leaving.get(key)) is not None:
            return leader.joined(request.deadline)
        entered = self._clock.now()
        turn = await self._turn(request, lanes, again, refused, key)
        if isinstance(turn, Party):
            return turn
        try:
            with self._joinable(turn, key):
                if gathered:
                    await asyncio.sleep(0)
                await self._pacing.pass_through(lanes)
        except BaseException:
            await turn.end()
            raise
        if (late := self._clock.now() - request.deadline) > 0:
            await turn.end()
            raise self._too_late(lanes, late)
        turn.waited = self._clock.now() - entered
        return turn

    @contextmanager
    def _joinable(self, turn: Turn, key: Hashable) -> Iterator[None]:
        """Let those who come now, and ask for the same, join: the turn has not left yet."""
        if key is not None:
            self._leaving[key] = turn
        try:
            yield
        finally:
            self._leaving.pop(key, None)

    async def _turn(
        self, request: Request, lanes: Lanes, again: bool, refused: bool, key: Hashable
    ) -> Turn | Party:
        if self._closing.is_set():
            raise _stopping()
        if not any(self._line.ahead(lane, lanes) for lane in lanes):  # nobody to overtake
            outcome = await self._ledger.take(lanes, cautious=refused)
            if not isinstance(outcome, Busy):
                return Turn(self._ledger, outcome, "none", request.deadline)
        waiter = _Waiter(request, lanes, key, cautious=refused)
        self._refuse_if_hopeless(waiter, again)
        return await self._wait(waiter)

    def expected_wait(self, request: Request, lanes: Lanes) -> float:
        """Return the seconds that a request would wait, if it came now."""
        now = self._clock.now()
        return self._prospects.expected(_Waiter(request, lanes, None), now) - now if lanes else 0.0

    def _refuse_if_hopeless(self, newcomer: Place, again: bool) -> None:
        now = self._clock.now()
        start = self._prospects.late_start(newcomer, now)
        if start is not None:
            raise self._too_late(newcomer.lanes, start - newcomer.deadline)
        if not again and len(self._line) >= self._queue.size:
            wait = self._prospects.expected(newcomer, now) - now
            raise QueueFull(
                f"{self._queue.size} requests are waiting already.", retry_after=max(1, math.ceil(wait))
            )

    async def _wait(self, waiter: _Waiter) -> Turn | Party:
        loop = asyncio.get_running_loop()
        waiter.future = loop.create_future()
        self._line.join(waiter, self._clock.now())
        expiry = loop.call_at(waiter.deadline, self._expire, waiter)
        self._dispatch()
        self._review_soon()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and not waiter.future.exception():
                turn = waiter.future.result()
                if isinstance(turn, Turn):
                    await turn.end()
            raise
        finally:
            expiry.cancel()
            self._line.leave(waiter)

    def _expire(self, waiter: _Waiter) -> None:
        if waiter.gone:
            return
        self._line.leave(waiter)
        # It can only come back as a newcomer, as patient as it was.
        wait = self.expected_wait(waiter.request, waiter.lanes)
        self._refuse(waiter, self._too_late(waiter.lanes, wait - (waiter.deadline - waiter.arrived)))

    def _refuse(self, waiter: Place, refusal: Refusal) -> None:
        assert isinstance(waiter, _Waiter)
        self._line.leave(waiter)
        if not waiter.future.done():
            waiter.future.set_exception(refusal)

    async def back_off(self, seconds: float) -> None:
        """Sleep before a retry; raises `ShuttingDown` when the proxy stops meanwhile."""
        if not seconds:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
            raise _stopping()

    def _review_soon(self) -> None:
        if self._review is None:
            self._review = asyncio.get_running_loop().call_later(_REVIEW, self._look_again)

    def _look_again(self) -> None:
        self._review = None
        self.review()
        if len(self._line):
            self._review_soon()

    def review(self) -> None:
        """Refuse those whose turn will come after their deadline; call when things have become worse."""
        for start in list(self._prospects.too_late(self._clock.now())):
            late = start.at - start.place.deadline
            self._refuse(start.place, self._too_late(start.place.lanes, late))

    def _too_late(self, lanes: Lanes, excess: float) -> Refusal:
        retry_after = max(1, math.ceil(excess))
        if self._ledger.is_broken(lanes):
            return CircuitOpen(
                "The API fails, and is left alone until it is back; the request was not sent.",
                retry_after=retry_after,
            )
        return QueueTimeout(
            "The request would not have been sent before its deadline, because of the API's rate limits.",
            retry_after=retry_after,
        )

    def _freed(self, lanes: Lanes) -> None:
        now = self._clock.now()
        parked = [self._line.unpark(lane, now) for lane in lanes]
        if any(parked):
            self._dispatch()

    def _dispatch(self) -> None:
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.get_running_loop().create_task(self._run())
        self._wake.set()

    async def _run(self) -> None:
        """Offer turns, for ever: whenever a lane's time has come, or somebody joined or gave back."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            self._unpark_due(self._clock.now())
            while (place := self._line.next(self._clock.now())) is not None:
                await self._offer(place)
            timer = loop.call_at(self._due[0][0], self._wake.set) if self._due else None
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _unpark_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, lane = heapq.heappop(self._due)
            if self._due_at.get(lane) == at:
                del self._due_at[lane]
            self._line.unpark(lane, now)

    def _park(self, place: Place, busy: Busy) -> None:
        if not place.gone:
            self._line.park(place, busy.lane, self._clock.now())
        if busy.at < self._due_at.get(busy.lane, math.inf):
            self._due_at[busy.lane] = busy.at
            heapq.heappush(self._due, (busy.at, busy.lane))

    async def _offer(self, place: Place) -> None:
        assert isinstance(place, _Waiter)
        outcome = await self._ledger.take(place.lanes, cautious=place.cautious)
        if isinstance(outcome, Busy):
            self._park(place, outcome)
        elif place.future.done():  # it left in this very moment
            await self._ledger.refund(outcome)
            self._line.leave(place)
        else:
            held_by = self._line.held_by(place, self._clock.now())
            turn = Turn(self._ledger, outcome, held_by.limit if held_by else "none", place.deadline)
            for other in self._line.alike(place):
                assert isinstance(other, _Waiter)
                if not other.future.done():
                    other.future.set_result(turn.joined(other.deadline))
                    self._line.leave(other)
            place.future.set_result(turn)
            self._line.took(place, self._clock.now())

    async def close(self) -> None:
        """Refuse everybody who still waits, and everybody who comes."""
        self._closing.set()
        if self._review is not None:
            self._review.cancel()
        for waiter in self._line.everybody():
            self._refuse(waiter, _stopping())
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)


def _stopping() -> ShuttingDown:
    return ShuttingDown("The proxy is stopping; send the request again.", retry_after=1)


def _rules(queue: Queue) -> Rules:
    return Rules(queue.ageing, {caller.name: caller.weight for caller in queue.callers})
