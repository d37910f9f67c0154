"""A request is sent as often as is needed, safe and allowed, and its last answer reaches the client."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from proxy.account import Account
from proxy.adapters.guard import Guard
from proxy.adapters.local_ledger import LocalLedger
from proxy.admission import Admission
from proxy.coalescing import Coalescing as Together
from proxy.config import Breaker, Coalescing, Group, Limit, Queue, Retry, RouteRepeat
from proxy.errors import CircuitOpen, ErrorClass, Fault, QueueTimeout, UpstreamError, UpstreamFailed
from proxy.events import (
    Admitted,
    AttemptEnded,
    Event,
    Events,
    Failed,
    ForeignSeen,
    LimitMoved,
    LimitPaused,
    Listener,
    Retried,
    RetryScheduled,
    RetryStopped,
)
from proxy.forwarder import Forwarder, Progress, Upstream
from proxy.messages import Bytes, Headers, Request, Response
from proxy.pacing import Pacing
from proxy.policy.alike import Alike
from proxy.policy.groups import Groups
from proxy.policy.limits import Lanes, LimitTable
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import STANDARD, UPLOADS, BrokenBody, ThrottledUpstream, headers, request, response


@dataclass
class Journey:
    """A forwarder over a scripted upstream, and all that is to be seen of it."""

    script: Sequence[Response | UpstreamError] = ()
    limits: Sequence[Limit] = (STANDARD,)
    retry: Retry = field(default_factory=Retry)
    chance: Callable[[], float] = lambda: 0.0
    queue: Queue = field(default_factory=Queue)
    coalescing: Coalescing = field(default_factory=lambda: Coalescing(enabled=False))
    breaker: Breaker = field(default_factory=Breaker)
    changes: list[tuple[str, str]] = field(default_factory=list)
    listeners: Sequence[Listener] = ()
    around: Callable[[Upstream], Upstream] = lambda upstream: upstream

    def __post_init__(self) -> None:
        clock = VirtualClock()
        self.table = table = LimitTable(self.limits)
        self.ledger = LocalLedger(table, clock, transit=1.0, clock_drift=0.0, probe=False)
        self.upstream = ThrottledUpstream(script=list(self.script))
        self.events: list[Event] = []
        self.tell = Events(self.events.append, *self.listeners)
        self.groups = groups = Groups(self.breaker, self.retry)
        guard = Guard(self.ledger, groups, clock, lambda group, state: self.changes.append((group, state)))
        self.admission = Admission(guard, Pacing(self.limits), self.queue, clock)
        self.forwarder = Forwarder(
            self.admission,
            self.around(self.upstream),
            table,
            groups,
            Together(Alike(self.coalescing, forwarded=False), self.coalescing.gather, clock),
            retry=self.retry,
            replay=1000,
            clock=clock,
            chance=self.chance,
            events=self.tell,
        )
        self.account = Account()

    def lanes(self, made: Request) -> Lanes:
        return (*self.table.lanes(made), self.groups.of(made).lane)

    async def go(self, made: Request | None = None) -> tuple[int, bytes, Headers]:
        made = made or request()
        async with self.forwarder.exchange(made, self.account) as answer:
            content = b"".join([chunk async for chunk in answer.body.chunks()])
            return answer.status, content, answer.headers

    def run(self, made: Request | None = None) -> tuple[int, bytes, Headers]:
        return run_virtual(self.go(made))

    @property
    def sent_at(self) -> list[float]:
        return [round(at, 6) for at, _ in self.upstream.arrivals]

    def seen(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def failed(error_class: ErrorClass, *, written: bool = True) -> UpstreamError:
    return UpstreamError(error_class, "It broke.", written=written)


class Stream:
    """A response body that can be read once, and a chunk at a time."""

    def __init__(self, *chunks: bytes, seconds: float = 0.0) -> None:
        self._chunks = list(chunks)
        self._seconds = seconds
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._chunks:
            await asyncio.sleep(self._seconds)
            yield self._chunks.pop(0)

    async def close(self) -> None:
        self.closed = True


def broken_off(made: Request) -> Failed:
    """Return what is told of an answer that broke off."""
    broken = ErrorClass.RESPONSE_INCOMPLETE
    return Failed(made.id, made.method, made.route, 200, broken, Fault.NETWORK, None)


RESET = failed(ErrorClass.CONNECTION_TERMINATED)
REFUSED = failed(ErrorClass.CONNECTION_REFUSED, written=False)


def test_a_success_is_one_attempt() -> None:
    journey = Journey([response(200, b"[1]")])
    assert journey.run()[:2] == (200, b"[1]")
    assert journey.sent_at == [0.0]
    assert journey.account.attempts == 1
    assert journey.account.error_class is ErrorClass.NONE


def test_an_exchange_that_has_not_begun_has_cost_nothing() -> None:
    assert Account() == Account(0, 0.0, 0.0, "none", ErrorClass.NONE, Fault.NONE)


def test_the_account_adds_up_what_all_attempts_cost() -> None:
    journey = Journey([response(500), failed(ErrorClass.CONNECTION_TERMINATED), response()])
    journey.upstream.work = lambda: 0.5

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.75, spent(journey, 4.0))  # the first retry waits until 4.75
        await journey.go()

    run_virtual(main())
    account = journey.account
    assert (account.attempts, account.waited, account.upstream) == (3, 3.25, 1.5)
    assert account.limit == "standard"
    route = request().route
    assert journey.seen(Admitted) == [
        Admitted(route, "none", 0.0),
        Admitted(route, "standard", 3.25),
        Admitted(route, "none", 0.0),
    ]
    ended = [event for event in journey.events if isinstance(event, AttemptEnded)]
    assert [event.seconds for event in ended] == [0.5, 0.5, 0.5]


def test_a_wait_that_ends_in_a_refusal_is_on_the_account() -> None:
    journey = Journey(limits=[UPLOADS])
    upload = request(target="/api/v1/uploads/", deadline=30.0)

    async def main() -> None:
        for _ in range(2):
            await journey.admission.admit(upload, journey.lanes(upload))
        await journey.go(upload)

    with pytest.raises(QueueTimeout):
        run_virtual(main())
    assert (journey.account.attempts, journey.account.waited) == (0, 30.0)


def test_an_attempt_lasts_until_its_head_however_long_its_body_takes() -> None:
    body = Stream(b"{", b"}", seconds=3.0)
    journey = Journey([Response(200, "", headers(content_length="2"), body)])
    journey.upstream.work = lambda: 0.5
    assert journey.run()[1] == b"{}"
    assert journey.account.upstream == 0.5


def test_a_small_answer_is_read_ahead_and_delivered_whole() -> None:
    body = Stream(b"one", b"two")
    journey = Journey([Response(200, "", headers(content_length="6"), body)])

    async def main() -> bytes:
        async with journey.forwarder.exchange(request(), journey.account) as answer:
            assert body.closed, "its connection is given back before the client reads"
            return b"".join([chunk async for chunk in answer.body.chunks()])

    assert run_virtual(main()) == b"onetwo"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 422, 418, 501, 302])
def test_a_permanent_answer_passes_at_once_after_one_attempt(status: int) -> None:
    journey = Journey([response(status, b"as it is", x_odd="1")])
    assert journey.run() == (status, b"as it is", headers(content_length="8", x_odd="1"))
    assert journey.sent_at == [0.0]
    assert not journey.seen(RetryStopped)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_transient_answer_is_tried_again_after_one_two_and_four_seconds(status: int) -> None:
    journey = Journey([response(status)] * 3 + [response(200, b"at last")])
    assert journey.run()[:2] == (200, b"at last")
    assert journey.sent_at == [0.0, 1.0, 3.0, 7.0]
    assert len(journey.seen(RetryScheduled)) == 3


def test_a_retry_is_one_when_its_turn_has_come_and_not_before() -> None:
    journey = Journey([response(503, retry_after="9"), response(500), response()])

    async def main() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(8.0):
                await journey.go()
        assert (len(journey.seen(RetryScheduled)), journey.seen(Retried)) == (1, [])
        await journey.go()

    run_virtual(main())
    assert journey.seen(Retried) == [Retried(request().route, ErrorClass.SERVER_ERROR)]


def test_what_is_left_of_the_deadline_shrinks_with_every_attempt() -> None:
    journey = Journey([response(503, retry_after="9")] * 2)
    assert journey.run(request(deadline=17.0))[0] == 503
    assert journey.sent_at == [0.0, 9.0]


def test_jitter_only_lengthens_a_wait() -> None:
    journey = Journey([response(500), response()], chance=lambda: 0.5)
    journey.run()
    assert journey.sent_at == [0.0, 1.25]


def test_when_tries_run_out_the_last_answer_is_delivered_unchanged() -> None:
    answers = [response(500, f"number {number}".encode()) for number in range(4)]
    journey = Journey(answers)
    assert journey.run()[:2] == (500, b"number 3")
    assert journey.sent_at == [0.0, 1.0, 3.0, 7.0]
    assert journey.account.error_class is ErrorClass.SERVER_ERROR
    route = request().route
    assert journey.seen(RetryScheduled) == [
        RetryScheduled(route, ErrorClass.SERVER_ERROR, delay) for delay in (1.0, 2.0, 4.0)
    ]
    assert journey.seen(RetryStopped) == [RetryStopped(route, ErrorClass.SERVER_ERROR, "attempts_exhausted")]


def test_retry_after_is_obeyed_instead_of_the_back_off() -> None:
    journey = Journey([response(503, retry_after="9"), response()])
    journey.run()
    assert journey.sent_at == [0.0, 9.0]


def test_a_retry_after_date_is_obeyed_and_reaches_the_client_in_seconds() -> None:
    date = "Mon, 21 Sep 2026 14:13:25 GMT"  # five seconds after the virtual epoch
    journey = Journey([response(503, retry_after=date)] * 2, retry=Retry(max_retries=1))
    status, _, fields = journey.run()
    assert status == 503
    assert journey.sent_at == [0.0, 5.0]
    assert fields.get(b"retry-after") == "0"


def test_a_demanded_wait_beyond_the_deadline_is_not_slept() -> None:
    journey = Journey([response(503, b"busy", retry_after="600")])
    status, content, fields = journey.run(request(deadline=60.0))
    assert (status, content, fields.get(b"retry-after")) == (503, b"busy", "600")
    assert journey.sent_at == [0.0]
    (stopped,) = journey.seen(RetryStopped)
    assert isinstance(stopped, RetryStopped)
    assert stopped.reason == "deadline"


@pytest.mark.parametrize("outcome", [response(500), response(503), RESET])
def test_a_post_that_may_have_been_done_is_not_sent_again(outcome: Response | UpstreamError) -> None:
    journey = Journey([outcome])
    if isinstance(outcome, UpstreamError):
        with pytest.raises(UpstreamFailed):
            journey.run(request("POST"))
    else:
        assert journey.run(request("POST"))[0] == outcome.status
    assert len(journey.sent_at) == 1


@pytest.mark.parametrize(
    ("outcome", "fields", "exceptions"),
    [
        (response(503, retry_after="1"), {}, ()),
        (response(429, retry_after="1"), {}, ()),
        (REFUSED, {}, ()),
        (response(500), {"idempotency_key": "k"}, ()),
        (response(500), {}, (RouteRepeat(paths=("/api/v1/datasets/",), repeat="always"),)),
    ],
)
def test_a_post_that_was_not_done_or_may_be_repeated_is_sent_again(
    outcome: Response | UpstreamError, fields: dict[str, str], exceptions: tuple[RouteRepeat, ...]
) -> None:
    journey = Journey([outcome, response(201)], retry=Retry(routes=exceptions))
    assert journey.run(request("POST", fields=headers(**fields)))[0] == 201


def test_a_get_survives_a_broken_connection() -> None:
    journey = Journey([RESET, response(200, b"whole")])
    assert journey.run()[1] == b"whole"
    assert journey.sent_at == [0.0, 1.0]


def test_when_no_answer_came_at_all_the_refusal_says_why() -> None:
    journey = Journey([REFUSED] * 4)
    with pytest.raises(UpstreamFailed) as refusal:
        journey.run()
    assert refusal.value.status == 502
    assert refusal.value.code == "proxy_connection_refused"
    assert journey.sent_at == []
    assert all(not event.written for event in journey.events if isinstance(event, AttemptEnded))


def test_a_small_answer_that_breaks_off_is_replaced() -> None:
    broken = Response(200, "OK", headers(content_length="10"), BrokenBody())
    journey = Journey([broken, response(200, b"whole")])
    assert journey.run()[1] == b"whole"
    first = journey.seen(AttemptEnded)[0]
    assert isinstance(first, AttemptEnded)
    assert (first.status, first.error_class) == (200, ErrorClass.RESPONSE_INCOMPLETE)


@pytest.mark.parametrize("length", ["1", "2000000"])
@pytest.mark.parametrize("chunks", [(b"x",), (b"x" * 1_000_000, b"x" * 1_000_000), ()])
def test_an_answer_that_is_not_delivered_gives_its_connection_back(
    length: str, chunks: tuple[bytes, ...]
) -> None:
    body = Stream(*chunks) if chunks else BrokenBody()
    journey = Journey([Response(500, "", headers(content_length=length), body)])
    assert journey.run()[0] == 200
    assert body.closed


def test_an_answer_of_just_the_size_that_is_replayed_is_replaced() -> None:
    broken = Response(200, "OK", headers(content_length="1000"), BrokenBody())
    assert Journey([broken, response(200, b"whole")]).run()[1] == b"whole"


def test_an_answer_that_stops_in_the_middle_was_not_read_in_time() -> None:
    class Stopped(BrokenBody):
        async def chunks(self) -> AsyncIterator[bytes]:
            yield b"{"
            raise UpstreamError(ErrorClass.READ_TIMEOUT, "The API stopped.", written=True)

    journey = Journey([Response(200, "OK", headers(content_length="10"), Stopped())])
    with pytest.raises(UpstreamFailed) as refusal:
        journey.run(request("POST"))
    assert (refusal.value.code, refusal.value.detail) == ("proxy_read_timeout", "The API stopped.")
    cause = refusal.value.__cause__
    assert isinstance(cause, UpstreamError)
    assert (cause.written, cause.status) == (True, 200)


def test_json_of_unknown_length_that_breaks_off_is_replaced() -> None:
    broken = Response(200, "OK", headers(content_type="application/json"), BrokenBody())
    assert Journey([broken, response(200, b"whole")]).run()[1] == b"whole"


def test_json_of_unknown_length_is_read_no_further_than_what_is_replayed() -> None:
    stream = Stream(b"x" * 600, b"x" * 600, b"y" * 600)
    journey = Journey([Response(200, "OK", headers(content_type="application/json"), stream)])
    assert journey.run()[1] == b"x" * 1200 + b"y" * 600
    assert stream.closed


def test_other_answers_of_unknown_length_are_not_waited_for() -> None:
    body = BrokenBody()
    journey = Journey([Response(200, "OK", headers(content_type="text/event-stream"), body)])
    with pytest.raises(UpstreamError):
        journey.run()
    assert journey.account.attempts == 1


def test_a_large_answer_is_streamed_and_its_break_is_the_clients_to_see() -> None:
    body = BrokenBody()
    journey = Journey([Response(200, "OK", headers(content_length="5000"), body)])
    with pytest.raises(UpstreamError):
        journey.run()
    assert body.closed
    assert journey.seen(Failed) == [broken_off(request())]


def test_an_answer_that_breaks_before_its_client_got_any_of_it_is_told_as_well() -> None:
    journey = Journey([Response(200, "OK", headers(content_length="5000"), BrokenBody())])

    async def main() -> None:
        async with journey.forwarder.exchange(request(), journey.account) as answer:
            try:
                _ = [chunk async for chunk in answer.body.chunks()]
            except UpstreamError as error:
                raise UpstreamFailed(error) from error

    with pytest.raises(UpstreamFailed):
        run_virtual(main())
    assert journey.seen(Failed) == [broken_off(request())]


def test_the_class_of_a_403_is_that_of_its_code() -> None:
    journey = Journey([response(403, b'{"detail":"No.","code":"scope_required"}')])
    assert journey.run()[:2] == (403, b'{"detail":"No.","code":"scope_required"}')
    assert journey.account.error_class is ErrorClass.SCOPE_REQUIRED


def test_the_body_of_an_answer_to_head_is_not_waited_for() -> None:
    body = BrokenBody()
    journey = Journey([Response(200, "OK", headers(content_length="10"), body)])

    async def main() -> int:
        async with journey.forwarder.exchange(request("HEAD"), journey.account) as answer:
            return answer.status

    assert run_virtual(main()) == 200
    assert journey.account.attempts == 1


def test_a_full_queue_does_not_keep_a_retry_from_its_place() -> None:
    journey = Journey([response(500)], queue=Queue(size=1))

    async def main() -> int:
        first = asyncio.create_task(journey.go(request(ticket=0)))
        await asyncio.sleep(0.5)
        others = [asyncio.create_task(journey.go(request(ticket=ticket))) for ticket in range(1, 6)]
        status, _, _ = await first
        await asyncio.gather(*others)
        return status

    assert run_virtual(main()) == 200
    assert [made.ticket for _, made in journey.upstream.arrivals] == [0, 1, 2, 3, 4, 0, 5]


def test_a_retry_pays_for_its_own_slot() -> None:
    journey = Journey([response(500)] * 2 + [response()] * 5)

    async def main() -> None:
        await journey.go()
        await journey.go()
        await journey.go()
        await journey.go()

    run_virtual(main())
    assert journey.sent_at == [0.0, 1.0, 3.0, 3.0, 3.0, 6.0]


def test_a_discarded_answer_holds_no_at_once_slot_while_it_backs_off() -> None:
    journey = Journey([response(503, retry_after="5")], limits=[UPLOADS])

    async def main() -> None:
        upload = asyncio.create_task(journey.go(request("PUT", "/api/v1/uploads/")))
        await asyncio.sleep(2.0)
        assert [one.remaining for one in journey.ledger.lanes()] == [2]
        await upload

    run_virtual(main())


def test_an_at_once_slot_is_held_while_the_answer_is_read() -> None:
    journey = Journey(limits=[UPLOADS])

    async def main() -> None:
        async with journey.forwarder.exchange(request(target="/api/v1/uploads/"), Account()):
            assert [one.remaining for one in journey.ledger.lanes()] == [1]
        assert [one.remaining for one in journey.ledger.lanes()] == [2]

    run_virtual(main())


def test_a_429_pauses_everybody_whom_it_concerns_and_the_refused_one_goes_first() -> None:
    journey = Journey([response(429, x_ratelimit_limit="5", x_ratelimit_remaining="0", retry_after="8")])

    async def main() -> None:
        first = asyncio.create_task(journey.go(request(ticket=1)))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(journey.go(request(ticket=2)))
        other = asyncio.create_task(journey.go(request(ticket=3, credential="other")))
        await asyncio.gather(first, second, other)

    run_virtual(main())
    assert [(at, made.ticket) for at, made in journey.upstream.arrivals] == [
        (0.0, 1),
        (0.5, 3),
        (8.0, 1),
        (8.0, 2),
    ]
    assert journey.seen(LimitPaused) == [LimitPaused("standard", 8.0, "team")]


def test_a_429_that_is_not_tried_again_pauses_the_others_all_the_same() -> None:
    journey = Journey([response(429, retry_after="8")], retry=Retry(max_retries=0))

    async def main() -> None:
        assert (await journey.go(request(ticket=1)))[0] == 429
        await journey.go(request(ticket=2))

    run_virtual(main())
    assert journey.sent_at == [0.0, 8.0]


def test_a_429_that_says_nothing_and_is_not_tried_again_pauses_for_one_back_off() -> None:
    journey = Journey([response(429)], retry=Retry(max_retries=0))

    async def main() -> None:
        assert (await journey.go(request(ticket=1)))[0] == 429
        await journey.go(request(ticket=2))

    run_virtual(main())
    assert journey.sent_at == [0.0, 1.0]


def test_the_refused_one_waits_in_line_so_that_the_first_slot_is_its_own() -> None:
    narrow = Limit(name="narrow", requests=1, per=6.0)
    journey = Journey([response(429, retry_after="8")], limits=[narrow])

    async def main() -> None:
        first = asyncio.create_task(journey.go(request(ticket=1)))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(journey.go(request(ticket=2)))
        await asyncio.sleep(1.0)
        assert len(journey.admission.line) == 2
        await asyncio.gather(first, second)

    run_virtual(main())
    assert [(at, made.ticket) for at, made in journey.upstream.arrivals] == [(0.0, 1), (8.0, 1), (14.0, 2)]


def test_a_429_without_a_word_on_when_pauses_for_the_back_off() -> None:
    journey = Journey([response(429), response(429), response()])
    journey.run()
    assert journey.sent_at == [0.0, 1.0, 3.0]


def test_a_429_that_names_its_reset_is_obeyed() -> None:
    reset = str(int(VirtualClock.epoch) + 4)
    journey = Journey([response(429, x_ratelimit_reset=reset), response()])
    journey.run()
    assert journey.sent_at == [0.0, 4.0]


def test_a_429_for_a_request_under_no_limit_is_waited_for_by_itself() -> None:
    journey = Journey([response(429, retry_after="3"), response()], limits=[])
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 3.0]
    assert not journey.seen(LimitPaused)


def spent(journey: Journey, seconds: float = 500.0) -> Callable[[], None]:
    """Return what takes all room of the journey's limit for a long time."""

    def spend() -> None:
        (lane,) = journey.table.lanes(request())
        asyncio.get_running_loop().create_task(journey.ledger.pause(lane, seconds))

    return spend


def test_a_retry_that_gets_no_turn_in_time_delivers_the_answer_it_had() -> None:
    journey = Journey([response(500, b"mine")])

    async def main() -> tuple[int, bytes, Headers]:
        asyncio.get_running_loop().call_later(0.5, spent(journey))
        return await journey.go(request(deadline=60.0))

    assert run_virtual(main())[:2] == (500, b"mine")


def test_an_answer_of_a_mebibyte_is_kept_and_given_back_its_connection() -> None:
    body = Stream(b"x" * 1024 * 1024)
    journey = Journey([Response(500, "", headers(), body)])

    async def main() -> tuple[int, bytes, Headers]:
        asyncio.get_running_loop().call_later(0.5, spent(journey))
        return await journey.go(request(deadline=60.0))

    assert len(run_virtual(main())[1]) == 1024 * 1024
    assert body.closed


@pytest.mark.parametrize(
    "outcome",
    [
        RESET,
        Response(500, "", headers(), Bytes(b"x" * (1024 * 1024 + 1))),
        Response(500, "", headers(), BrokenBody()),
    ],
    ids=["no answer", "an answer too large to keep", "an answer that broke off"],
)
def test_a_retry_that_gets_no_turn_and_has_no_answer_is_refused(outcome: Response | UpstreamError) -> None:
    journey = Journey([outcome])

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.5, spent(journey))
        await journey.go(request(deadline=60.0))

    with pytest.raises(QueueTimeout):
        run_virtual(main())


def test_a_429_that_demands_a_year_does_not_stop_a_key_for_one() -> None:
    journey = Journey([response(429, retry_after="31000000")])

    async def main() -> None:
        assert (await journey.go(request(ticket=1, deadline=300.0)))[0] == 429
        await journey.go(request(ticket=2))

    run_virtual(main())
    assert journey.sent_at == [0.0, 900.0]


def test_when_the_proxy_stops_a_request_that_backs_off_gets_the_answer_it_had() -> None:
    journey = Journey([response(503, b"mine", retry_after="20")])

    async def main() -> tuple[int, bytes, Headers]:
        asking = asyncio.create_task(journey.go())
        await asyncio.sleep(5.0)
        await journey.admission.close()
        answer = await asking
        assert asyncio.get_running_loop().time() == 5.0
        return answer

    assert run_virtual(main())[:2] == (503, b"mine")


def test_a_client_that_leaves_during_the_call_is_recorded_and_its_slot_runs_out() -> None:
    journey = Journey()
    journey.upstream.work = lambda: 30.0

    async def main() -> None:
        task = asyncio.create_task(journey.go())
        await asyncio.sleep(2.0)
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError)
        assert [one.remaining for one in journey.ledger.lanes()] == [4]
        await asyncio.sleep(5.0)
        assert [one.remaining for one in journey.ledger.lanes()] == [5]

    run_virtual(main())
    (ended,) = journey.seen(AttemptEnded)
    assert isinstance(ended, AttemptEnded)
    assert (ended.status, ended.error_class, ended.written) == (None, ErrorClass.CLIENT_DISCONNECTED, True)


def test_a_fault_of_our_own_is_not_taken_for_the_upstreams() -> None:
    class Faulty(ThrottledUpstream):
        async def send(self, request: Request, progress: Progress) -> Response:
            raise ZeroDivisionError

    journey = Journey()
    journey.forwarder._upstream = Faulty()

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await journey.go()
        assert [one.remaining for one in journey.ledger.lanes()] == [5], "nothing was written: it is refunded"

    run_virtual(main())
    assert (journey.account.error_class, journey.account.fault) == (ErrorClass.INTERNAL_ERROR, Fault.PROXY)
    assert journey.seen(Failed) == [], "it is told once, by who answers"


# What the API says of its limits, on the way.


def told(limit: int, remaining: int) -> Response:
    return response(x_ratelimit_limit=str(limit), x_ratelimit_remaining=str(remaining))


def test_a_limit_that_the_api_says_is_another_one_is_that_from_then_on() -> None:
    journey = Journey([told(3, 2)])

    async def main() -> None:
        await journey.go()
        await asyncio.gather(*(journey.go() for _ in range(3)))

    run_virtual(main())
    assert journey.seen(LimitMoved) == [LimitMoved("standard", 3)]
    assert journey.sent_at == [0.0, 0.0, 0.0, 6.0]


def test_what_the_api_has_counted_beyond_ours_is_others() -> None:
    journey = Journey([told(5, 1)])

    async def main() -> None:
        await journey.go()
        assert [(one.remaining, one.foreign) for one in journey.ledger.lanes()] == [(1, 3)]

    run_virtual(main())
    assert journey.seen(ForeignSeen) == [ForeignSeen("standard", 3)]


def test_a_429_may_tell_its_wait_in_words_which_the_client_gets_whole() -> None:
    words = b'{"detail":"Request was throttled. Expected available in 5 seconds."}'
    journey = Journey([response(429, words), response()])
    journey.run()
    assert journey.sent_at == [0.0, 5.0]
    journey = Journey([response(429, words)], retry=Retry(max_retries=0))
    assert journey.run()[:2] == (429, words)


def test_a_429_whose_body_breaks_off_has_told_nothing() -> None:
    broken = Response(429, "", headers(content_length="10"), BrokenBody())
    journey = Journey([broken, response(200, b"whole")])
    assert journey.run()[1] == b"whole"
    assert not journey.seen(LimitPaused)


def test_who_is_refused_again_waits_twice_as_long() -> None:
    journey = Journey([response(429, retry_after="4")] * 3)
    journey.run()
    assert journey.sent_at == [0.0, 4.0, 12.0, 28.0]
    assert journey.seen(LimitPaused) == [
        LimitPaused("standard", seconds, "team") for seconds in (4.0, 8.0, 16.0)
    ]


def test_after_a_pause_one_goes_as_a_probe_and_one_more_with_each_answer() -> None:
    wide = Limit(name="standard", requests=100, per=6.0)
    journey = Journey([response(429, retry_after="8")] * 8, [wide])
    journey.upstream.work = lambda: 0.5

    async def one(ticket: int) -> None:
        async with journey.forwarder.exchange(request(ticket=ticket), Account()):
            pass

    async def main() -> None:
        await asyncio.gather(*(one(ticket) for ticket in range(8)))

    run_virtual(main())
    assert journey.sent_at == [0.0] * 8 + [8.5] + [9.0] * 2 + [9.5] * 4 + [10.0]


# How many retries there are.


def test_when_the_budget_is_spent_a_failure_goes_to_its_client_as_it_is() -> None:
    journey = Journey([response(500, b"mine")] * 4, retry=Retry(budget=0.0, budget_floor=2))

    async def main() -> None:
        assert (await journey.go())[:2] == (500, b"mine")

    run_virtual(main())
    assert journey.sent_at == [0.0, 1.0, 3.0]
    route = request().route
    assert journey.seen(RetryStopped) == [RetryStopped(route, ErrorClass.SERVER_ERROR, "retry_budget")]


def test_a_budget_is_a_share_of_those_who_ask_and_grows_again_with_time() -> None:
    fails = [response(), response(), response(500), response(), response(500), response(500), response()]
    many = Limit(name="standard", requests=100, per=6.0)
    journey = Journey(fails, [many], retry=Retry(budget=0.34, budget_floor=0))

    async def main() -> list[int]:
        statuses = [(await journey.go())[0] for _ in range(4)]
        await asyncio.sleep(62.0)
        return [*statuses, (await journey.go())[0]]

    # Of three, one may be tried again; of four that is still one. A minute later one alone may not.
    assert run_virtual(main()) == [200, 200, 200, 500, 500]


def test_the_retry_of_a_429_costs_no_budget_as_its_pause_holds_it_back() -> None:
    journey = Journey([response(429, retry_after="1")] * 2, retry=Retry(budget=0.0, budget_floor=0))
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 1.0, 3.0]


def test_groups_have_budgets_of_their_own() -> None:
    groups = (Group(name="exports", paths=("/api/v1/exports/",)),)
    journey = Journey(
        [response(500), response(500), response(500), response()],
        retry=Retry(budget=0.0, budget_floor=1),
        breaker=Breaker(groups=groups),
    )

    async def main() -> list[int]:
        return [
            (await journey.go(request(target="/api/v1/exports/")))[0],
            (await journey.go())[0],
        ]

    assert run_virtual(main()) == [500, 200]


# When the API fails.

QUICK = Breaker(failures=2, interval=5.0, longest_interval=30.0, maintenance=30.0)


def test_an_api_that_fails_is_left_alone_and_a_probe_costs_its_request_none_of_its_tries() -> None:
    journey = Journey([response(500)] * 4, retry=Retry(max_retries=2), breaker=QUICK)

    async def main() -> None:
        first = asyncio.create_task(journey.go(request(ticket=1)))
        await asyncio.sleep(2.0)
        account = Account()
        async with journey.forwarder.exchange(request(ticket=2), account):
            pass
        assert (await first)[0] == 200
        assert (account.limit, account.attempts) == ("breaker", 1)

    run_virtual(main())
    assert [(at, made.ticket) for at, made in journey.upstream.arrivals] == [
        (0.0, 1),
        (1.0, 1),
        (6.0, 1),
        (16.0, 1),
        (36.0, 1),
        (36.0, 2),
    ]
    assert (journey.account.attempts, journey.account.probes) == (5, 3)
    assert [state for _, state in journey.changes] == [
        "open",
        *["half_open", "open"] * 2,
        "half_open",
        "closed",
    ]


def test_probes_cost_no_budget() -> None:
    journey = Journey([response(500)] * 5, retry=Retry(budget=0.0, budget_floor=2), breaker=QUICK)
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 1.0, 6.0, 16.0, 36.0, 66.0]


def test_who_would_wait_for_the_api_beyond_its_deadline_is_told_at_once() -> None:
    journey = Journey([response(500)] * 2, retry=Retry(max_retries=1), breaker=QUICK)

    async def main() -> None:
        assert (await journey.go())[0] == 500
        with pytest.raises(CircuitOpen) as refusal:
            await journey.go(request(arrived=1.0, deadline=4.0))
        assert asyncio.get_running_loop().time() == 1.0
        assert (refusal.value.status, refusal.value.retry_after) == (503, 2)
        assert refusal.value.code == "proxy_circuit_open"

    run_virtual(main())
    assert journey.sent_at == [0.0, 1.0]


def test_a_503_that_demands_a_long_wait_is_for_everybody() -> None:
    journey = Journey([response(503, retry_after="60")], breaker=QUICK)

    async def main() -> None:
        first = asyncio.create_task(journey.go(request(ticket=1)))
        await asyncio.sleep(0.5)
        await asyncio.gather(first, journey.go(request(ticket=2)))

    run_virtual(main())
    assert [at for at, _ in journey.upstream.arrivals] == [0.0, 60.0, 60.0]


@pytest.mark.parametrize("outcome", [response(404), response(429, retry_after="0.5"), response(403)])
def test_what_is_no_failure_opens_no_breaker(outcome: Response) -> None:
    journey = Journey([outcome], retry=Retry(max_retries=0), breaker=Breaker(failures=1))
    journey.run()
    assert journey.changes == []


@pytest.mark.parametrize("outcome", [response(501), RESET, REFUSED])
def test_what_is_one_opens_it_though_it_is_not_tried_again(outcome: Response | UpstreamError) -> None:
    journey = Journey([outcome], retry=Retry(max_retries=0), breaker=Breaker(failures=1))
    if isinstance(outcome, UpstreamError):
        with pytest.raises(UpstreamFailed):
            journey.run()
    else:
        journey.run()
    assert journey.changes == [("upstream", "open")]


def test_a_breaker_that_is_not_wanted_holds_nobody() -> None:
    journey = Journey([RESET] * 3, breaker=Breaker(enabled=False, failures=1))
    journey.run()
    assert journey.sent_at == [0.0, 1.0, 3.0, 7.0]
    assert journey.changes == []


def test_a_client_that_leaves_while_it_is_the_probe_makes_room_for_another() -> None:
    journey = Journey([response(500)] * 2, retry=Retry(max_retries=1), breaker=QUICK)

    async def main() -> None:
        await journey.go(request(ticket=0))
        journey.upstream.work = lambda: 3.0
        probing = asyncio.create_task(journey.go(request(ticket=1)))
        waiting = asyncio.create_task(journey.go(request(ticket=2)))
        await asyncio.sleep(7.0)
        probing.cancel()
        await asyncio.gather(probing, waiting, return_exceptions=True)

    run_virtual(main())
    assert [(at, made.ticket) for at, made in journey.upstream.arrivals][2:] == [(6.0, 1), (8.0, 2)]


def test_routes_that_fail_apart_hold_nobody_else() -> None:
    groups = (Group(name="exports", paths=("/api/v1/exports/",)),)
    breaker = QUICK.model_copy(update={"groups": groups, "failures": 1})
    journey = Journey([response(500)], retry=Retry(max_retries=0), breaker=breaker)

    async def main() -> None:
        exports = request(target="/api/v1/exports/")
        assert (await journey.go(exports))[0] == 500
        await asyncio.gather(journey.go(exports), journey.go())

    run_virtual(main())
    assert [(at, made.path) for at, made in journey.upstream.arrivals] == [
        (0.0, "/api/v1/exports/"),
        (0.0, "/api/v1/datasets/"),
        (5.0, "/api/v1/exports/"),
    ]
    assert {group for group, _ in journey.changes} == {"exports"}
