"""The life of a request: wait for a turn, send, judge, and try again or answer.

Read `exchange` from top to bottom. Every decision is made in `policy/`, all waiting for a turn in
`admission.py`; the order of the steps is what this file is about.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from proxy import config
from proxy.account import Account
from proxy.admission import Admission
from proxy.bodies import begin, keep
from proxy.clock import Clock
from proxy.coalescing import Coalescing
from proxy.errors import ErrorClass, Fault, Refusal, UpstreamError, UpstreamFailed
from proxy.events import (
    Admitted,
    AttemptEnded,
    Coalesced,
    Events,
    Failed,
    Retried,
    RetryScheduled,
    RetryStopped,
)
from proxy.learning import Learning
from proxy.messages import Bytes, Request, Response
from proxy.party import Abandoned, Party
from proxy.policy import feedback
from proxy.policy.classify import FAULT_OF, Judgement, judge, structured_code
from proxy.policy.groups import Groups, Health
from proxy.policy.headers import is_json
from proxy.policy.limits import Lanes, LimitTable
from proxy.policy.retry import Again, Stop, decide
from proxy.turn import Turn


class Progress(Protocol):
    """Who wants to know how far the writing of a request got."""

    def started(self) -> None:
        """The first byte is about to leave."""

    def sent(self) -> None:
        """The last byte has left this machine."""


class Upstream(Protocol):
    """Who sends."""

    async def send(self, request: Request, progress: Progress) -> Response:
        """Send once; raise `UpstreamError` if there is no response head."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt's end; `outcome` is not closed yet. It may have `demanded` to wait for so long (seconds).

    Where a limit is paused, the pause makes it wait: it is `held`. A `probe` was made to see if the upstream
    is back.
    """

    outcome: Response | UpstreamError
    judgement: Judgement
    demanded: float | None
    held: bool
    probe: bool


class Forwarder:
    """Carry requests to the upstream, as often as is needed, safe and allowed."""

    def __init__(
        self,
        admission: Admission,
        upstream: Upstream,
        limits: LimitTable,
        groups: Groups,
        coalescing: Coalescing,
        *,
        retry: config.Retry,
        replay: int,
        clock: Clock,
        chance: Callable[[], float],
        events: Events,
    ) -> None:
        self._admission = admission
        self._upstream = upstream
        self._limits = limits
        self._groups = groups
        self._learning = Learning(limits, retry, clock, events, admission.review)
        self._coalescing = coalescing
        self._retry = retry
        self._replay = replay
        self._clock = clock
        self._chance = chance
        self._events = events

    @asynccontextmanager
    async def exchange(self, request: Request, account: Account) -> AsyncIterator[Response]:
        """Yield the answer for the client; its body is open within the context and closed after it.

        Those who ask for the same before it has left share one exchange, which goes on without who leaves.
        Raises `Refusal` when the answer has to be the proxy's own: no turn in time, or no answer at all.
        """
        health = self._groups.of(request)
        lanes = self._lanes(request, health)
        key = self._coalescing.alike.key(request)
        answered = False
        while not answered:
            turn = await self._admit(request, lanes, account, key)
            party = turn if isinstance(turn, Party) else turn.party
            if isinstance(turn, Turn):
                payer = account if party is None else party.account
                carried = self._carry(request, lanes, health, payer, turn, key)
                if party is None:
                    async with carried as answer:
                        yield answer
                    return
                party.lead(turn, carried)
            assert party is not None
            account.coalesced = party is turn
            with suppress(Abandoned):  # by who was to lead; then it is asked again, from the same place
                async with party.answer(account) as answer:
                    answered = True
                    if account.coalesced:
                        self._events(Coalesced(request.route, party.context))
                    yield answer

    @asynccontextmanager
    async def _carry(
        self, request: Request, lanes: Lanes, health: Health, account: Account, turn: Turn, key: Hashable
    ) -> AsyncIterator[Response]:
        """Make the first attempt in this turn, and further ones in turns of their own."""
        health.budget.requested(self._clock.now())
        if turn.party is not None:
            request = replace(request, deadline=turn.party.deadline)
        last: Response | None = None
        delay = 0.0
        with self._coalescing.under_way(key):
            while True:
                try:
                    attempt = await self._attempt(request, lanes, turn, account)
                    wait = self._another(request, health, attempt, account)
                    if wait is None:
                        async with self._answer(request, attempt.outcome) as answer:
                            yield answer
                        return
                    # Closed before the wait, so that who waits holds no connection and no "at once" slot.
                    last, delay = await keep(attempt.outcome), wait
                finally:
                    await turn.end()
                try:
                    await self._admission.back_off(delay)
                    again = await self._admit(request, lanes, account)
                except Refusal:
                    if last is None:
                        raise
                    yield self._for_client(last)  # it says more than our refusal to ask again
                    return
                assert isinstance(again, Turn), "it asks for nobody's like"
                self._events(Retried(request.route, attempt.judgement.error_class))
                turn = again

    def _lanes(self, request: Request, health: Health) -> Lanes:
        """Return all that may hold a request."""
        lanes = self._limits.lanes(request)
        return (*lanes, health.lane) if self._admission.holds else lanes

    async def _admit(
        self, request: Request, lanes: Lanes, account: Account, key: Hashable = None
    ) -> Turn | Party:
        entered = self._clock.now()
        again = account.attempts > 0 or account.coalesced
        refused = account.error_class is ErrorClass.RATE_LIMITED
        try:
            gathered = await self._coalescing.gather(key, request.deadline)
            turn = await self._admission.admit(
                request, lanes, again=again, refused=refused, key=key, gathered=gathered
            )
        finally:
            waited = self._clock.now() - entered
            account.waited += waited
        self._coalescing.alike.admitted(request)
        if turn.limit != "none":
            account.limit = turn.limit
        if turn.would_wait is not None:
            account.would_wait = (account.would_wait or 0.0) + turn.would_wait
        self._events(Admitted(request.route, turn.limit, waited))
        return turn

    async def _attempt(self, request: Request, lanes: Lanes, turn: Turn, account: Account) -> Attempt:
        """Ask the upstream once."""
        account.attempts += 1
        account.probes += turn.probe
        demanded, held = None, False
        started = self._clock.now()
        outcome: Response | UpstreamError
        judgement = Judgement(ErrorClass.INTERNAL_ERROR, Fault.PROXY, transient=False, repeatable=False)
        status: int | None = None
        seconds = 0.0
        try:
            try:
                response = await self._upstream.send(request, turn)
                seconds = self._clock.now() - started
                status = response.status
                heard = await self._learning.heard(response, lanes, turn)
                demanded, held = heard.demanded, heard.held
                outcome, judgement = await self._read_ahead(request, heard.response)
            except UpstreamError as error:
                outcome, judgement = error, self._judge(error, request)
            turn.judged(failed=judgement.is_failure, retry_after=demanded if status == 503 else None)
        except asyncio.CancelledError:
            judgement = replace(judgement, error_class=ErrorClass.CLIENT_DISCONNECTED)
            raise
        finally:
            seconds = seconds or self._clock.now() - started
            account.upstream += seconds
            account.judged(judgement.error_class, judgement.fault, judgement.code)
            self._tell(request, status, judgement, seconds, written=turn.written)
        return Attempt(outcome, judgement, demanded, held, turn.probe)

    def _tell(
        self, request: Request, status: int | None, judgement: Judgement, seconds: float, *, written: bool
    ) -> None:
        error_class, fault = judgement.error_class, judgement.fault
        self._events(
            AttemptEnded(request.method, request.route, status, error_class, fault, seconds, written)
        )
        # A client that left, and what fails here, is told once: by who answers, at the exchange's end.
        if fault not in (Fault.NONE, Fault.PROXY):
            self._failed(request, status, error_class, judgement.code)

    def _failed(
        self, request: Request, status: int | None, error_class: ErrorClass, code: str | None = None
    ) -> None:
        fault = FAULT_OF[error_class]
        self._events(Failed(request.id, request.method, request.route, status, error_class, fault, code))

    async def _read_ahead(
        self, request: Request, response: Response
    ) -> tuple[Response | UpstreamError, Judgement]:
        """Judge a response; read a small body first when a broken one could still be replaced.

        Of an error it is read for its `code`, on which the class of a 403 depends.
        """
        code = None
        try:
            if self._is_worth_reading(response) and request.method != "HEAD":
                body = await begin(response.body, self._replay)
                response = replace(response, body=body)
                if isinstance(body, Bytes) and response.status >= 400:
                    code = structured_code(body.content)
        except UpstreamError as error:
            broken = UpstreamError(error.error_class, error.detail, written=True, status=response.status)
            return broken, self._judge(broken, request)
        return response, self._judge(response, request, code)

    def _is_worth_reading(self, response: Response) -> bool:
        """Tell whether a body may be small, and has nothing for the client before its end."""
        length = response.headers.get(b"content-length")
        if length is None:  # what it is tells: an event stream may never end
            return is_json(response.headers)
        return int(length) <= self._replay

    def _judge(
        self, outcome: Response | UpstreamError, request: Request, code: str | None = None
    ) -> Judgement:
        return judge(outcome, request, code=code, exceptions=self._retry.routes)

    def _another(self, request: Request, health: Health, attempt: Attempt, account: Account) -> float | None:
        """Return how long to sleep before the next attempt, or None if this one's outcome is the answer."""
        judgement = attempt.judgement
        if not judgement.transient:
            return None
        decision = decide(
            attempt=max(1, account.attempts - account.probes),  # a probe costs no try
            judgement=judgement,
            demanded=attempt.demanded,
            time_left=request.deadline - self._clock.now(),
            rules=self._retry,
            chance=self._chance(),
        )
        # What is held back by a pause or the breaker makes no storm.
        free = attempt.probe or judgement.error_class is ErrorClass.RATE_LIMITED
        if isinstance(decision, Again) and not free and not health.budget.withdraw(self._clock.now()):
            decision = Stop("retry_budget")
        if isinstance(decision, Stop):
            self._events(RetryStopped(request.route, judgement.error_class, decision.reason))
            return None
        self._events(RetryScheduled(request.route, judgement.error_class, decision.delay))
        # A pause does the waiting: the request keeps its place, at the head of those it holds.
        return 0.0 if attempt.held and self._admission.holds else decision.delay

    @asynccontextmanager
    async def _answer(self, request: Request, outcome: Response | UpstreamError) -> AsyncIterator[Response]:
        if isinstance(outcome, UpstreamError):
            raise UpstreamFailed(outcome) from outcome
        try:
            yield self._for_client(outcome)
        except (UpstreamError, UpstreamFailed) as error:
            # It broke while it was read. Told here, it is told once, however many share it.
            self._failed(request, outcome.status, error.error_class)
            raise
        finally:
            await outcome.body.close()

    def _for_client(self, response: Response) -> Response:
        headers = feedback.date_to_seconds(response.headers, wall=self._clock.wall())
        return replace(response, headers=headers)
