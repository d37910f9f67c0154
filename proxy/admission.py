"""The queue: who goes next, and when. Nothing leaves for the upstream but through it.

A request asks the ledger for room in all its lanes at once. If there is none it waits in line, oldest
first, at the lane that has no room; one dispatcher offers turns when a lane's time has come or a slot came
back. The ledger's windows are the guard; `pacing.py` only spreads what a window frees at one moment.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from proxy.clock import Clock
from proxy.config import Queue
from proxy.errors import QueueFull, QueueTimeout, Refusal, ShuttingDown
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.policy.limits import Lane, Lanes
from proxy.policy.line import File, Line, Place

Freed = Callable[[Lanes], None]


class Grant(Protocol):
    """A slot taken in each of these lanes."""

    @property
    def lanes(self) -> Lanes:
        """The lanes of one request."""


@dataclass(frozen=True, slots=True)
class Busy:
    """This lane has no room before `at` (inf: when somebody gives a slot back)."""

    lane: Lane
    at: float


class Ledger(Protocol):
    """What has been spent, wherever it is kept. To note the same of a grant twice changes nothing."""

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` whenever lanes may have room earlier than `Busy` said."""

    async def take(self, lanes: Lanes) -> Grant | Busy:
        """Take a slot in every lane, or in none."""

    def sent(self, grant: Grant) -> None:
        """Note that the request's last byte was written."""

    async def settle(self, grant: Grant) -> None:
        """Note that the upstream has counted the request."""

    async def refund(self, grant: Grant) -> None:
        """Give everything back: nothing was written."""

    async def release(self, grant: Grant) -> None:
        """Give the "at once" slots back: the exchange is over."""

    async def pause(self, lane: Lane, until: float) -> None:
        """Grant nothing in this lane before `until`."""

    def estimate(self, ahead: Iterable[tuple[Lane, int]]) -> float:
        """Return when a request would go that finds so many before it in each of its lanes."""

    def lanes(self) -> Iterable[tuple[Lane, int, float]]:
        """Yield every lane in use, how many slots it has left, and how long it is still paused."""


class Turn:
    """The right to send one attempt, and what became of it: refunded, settled, or left to its bound."""

    def __init__(self, ledger: Ledger, grant: Grant, waited: float, limit: str) -> None:
        self._ledger = ledger
        self._grant = grant
        self.waited = waited
        self.limit = limit
        self.written = False

    def started(self) -> None:
        """Note that from here on, bytes of the request may leave."""
        self.written = True

    def sent(self) -> None:
        """Note that its last byte has left: the upstream counts it within `upstream.transit` of now."""
        self._ledger.sent(self._grant)

    async def answered(self) -> None:
        """Note that the response head is here: the upstream has certainly counted it."""
        await self._ledger.settle(self._grant)

    async def end(self) -> None:
        """Give back what can be given back; call when the exchange is over, however it ended."""
        if not self.written:
            await self._ledger.refund(self._grant)
            return
        self._ledger.sent(self._grant)  # if it was not wholly: what was written may still arrive
        await self._ledger.release(self._grant)


class _Waiter(Place):
    __slots__ = ("future",)

    def __init__(self, request: Request, lanes: Lanes, future: "asyncio.Future[tuple[Grant, str]]") -> None:
        super().__init__(request.ticket, lanes)
        self.future = future


class Admission:
    """Let requests go in turn."""

    def __init__(self, ledger: Ledger, pacing: Pacing, queue: Queue, clock: Clock) -> None:
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._pacing = pacing
        self._line = Line()
        self._due: list[tuple[float, Lane]] = []
        self._due_at: dict[Lane, float] = {}
        self._wake = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        ledger.on_freed(self._freed)

    def __repr__(self) -> str:
        return f"<Admission {self._line!r}>"

    @property
    def line(self) -> Line:
        """Who waits."""
        return self._line

    async def admit(self, request: Request, lanes: Lanes, *, again: bool = False) -> Turn:
        """Wait until the request may be sent once; `again` for a retry, which keeps the place it had.

        Raises `QueueTimeout` as soon as its turn is known to come after its deadline, `QueueFull`,
        `ShuttingDown`. A caller that is cancelled is out of the line at once and costs nothing.
        """
        entered = self._clock.now()
        grant, limit = await self._grant(request, lanes, again)
        turn = Turn(self._ledger, grant, 0.0, limit)
        try:
            await self._pacing.pass_through(lanes)
        except BaseException:
            await turn.end()
            raise
        turn.waited = self._clock.now() - entered
        return turn

    async def _grant(self, request: Request, lanes: Lanes, again: bool) -> tuple[Grant, str]:
        if self._closing.is_set():
            raise _stopping()
        if not any(self._line.ahead(lane, lanes) for lane in lanes):  # nobody to overtake
            outcome = await self._ledger.take(lanes)
            if not isinstance(outcome, Busy):
                return outcome, "none"
        self._refuse_if_hopeless(request, lanes, again)
        return await self._wait(request, lanes)

    def _refuse_if_hopeless(self, request: Request, lanes: Lanes, again: bool) -> None:
        now = self._clock.now()
        start = self._ledger.estimate((lane, self._line.ahead(lane, lanes)) for lane in lanes)
        if start > request.deadline:
            raise _too_late(start - request.deadline)
        if not again and len(self._line) >= self._queue.size:
            raise QueueFull(
                f"{self._queue.size} requests are waiting already.",
                retry_after=max(1, math.ceil(start - now)),
            )

    async def _wait(self, request: Request, lanes: Lanes) -> tuple[Grant, str]:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(request, lanes, loop.create_future())
        self._line.join(waiter)
        expiry = loop.call_at(request.deadline, self._expire, waiter)
        self._dispatch()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and not waiter.future.exception():
                await self._ledger.refund(waiter.future.result()[0])
            raise
        finally:
            expiry.cancel()
            self._line.leave(waiter)

    def _expire(self, waiter: Place) -> None:
        lanes = waiter.lanes
        start = self._ledger.estimate((lane, self._line.ahead(lane, lanes) - 1) for lane in lanes)
        self._refuse(waiter, _too_late(start - self._clock.now()))

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

    async def pause(self, lane: Lane, seconds: float) -> None:
        """Let nothing go in this lane for so long: the upstream refused for it."""
        await self._ledger.pause(lane, self._clock.now() + seconds)

    def _freed(self, lanes: Lanes) -> None:
        parked = [self._line.unpark(lane) for lane in lanes]
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
            while (candidate := self._line.next()) is not None:
                await self._offer(*candidate)
            timer = loop.call_at(self._due[0][0], self._wake.set) if self._due else None
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def _unpark_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, lane = heapq.heappop(self._due)
            if self._due_at.get(lane) == at:
                del self._due_at[lane]
            self._line.unpark(lane)

    def _park(self, file: File, busy: Busy) -> None:
        self._line.park(file, busy.lane)
        if busy.at < self._due_at.get(busy.lane, math.inf):
            self._due_at[busy.lane] = busy.at
            heapq.heappush(self._due, (busy.at, busy.lane))

    async def _offer(self, file: File, place: Place) -> None:
        outcome = await self._ledger.take(place.lanes)
        if isinstance(outcome, Busy):
            self._park(file, outcome)
            return
        assert isinstance(place, _Waiter)
        if place.future.done():  # it left in this very moment
            await self._ledger.refund(outcome)
        else:
            place.future.set_result((outcome, file.blocked_by.limit if file.blocked_by else "none"))
        self._line.leave(place)

    async def close(self) -> None:
        """Refuse everybody who still waits, and everybody who comes."""
        self._closing.set()
        for waiter in self._line.everybody():
            self._refuse(waiter, _stopping())
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)


def _stopping() -> ShuttingDown:
    return ShuttingDown("The proxy is stopping; send the request again.", retry_after=1)


def _too_late(excess: float) -> QueueTimeout:
    return QueueTimeout(
        "The request would not have been sent before its deadline, because of the API's rate limits.",
        retry_after=max(1, math.ceil(excess)),
    )
