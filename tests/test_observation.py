"""Observing delays nobody, and sees what the real line would have done to the same requests."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from proxy.account import Account
from proxy.coalescing import Coalescing as Together
from proxy.config import DOCUMENTED_LIMITS, Breaker, Coalescing, Limit, Pace, Queue, Retry
from proxy.errors import ErrorClass, Refusal, UpstreamError
from proxy.events import Event, Events, LimitPaused, Observed
from proxy.forwarder import Forwarder
from proxy.messages import Request, Response
from proxy.observation import Observation
from proxy.policy.alike import Alike
from proxy.policy.groups import Groups
from proxy.turn import Turn
from proxy.virtual import run_virtual
from tests.fakes import BURST, INFERENCE, STANDARD, UPLOADS, ThrottledUpstream, request, response
from tests.test_admission import Gate

LIST, INVOKE, UPLOAD = "/api/v1/x/", "/api/v1/inference/invoke/", "/api/v1/uploads/"
ONE = Limit(name="one", requests=1, per=6.0)
LONG = 1e5
"""Seconds after which every ghost has gone its way."""

Fate = Literal["answered", "never written", "fails", "body", "departs"]


@dataclass(frozen=True)
class Call:
    """A request that comes at a time, and what becomes of it when it goes (seconds from then on).

    `body`: it is large, so that its last byte is not known to have left. `departs`: its client does, then.
    """

    at: float
    seconds: float = 0.2
    target: str = LIST
    fate: Fate = "answered"
    tail: float = 0.0
    """From the response head to the end of the exchange."""
    patience: float = 1e6
    caller: str = "a"
    urgency: int = 3
    again: bool = False

    @property
    def ends(self) -> float:
        """When it is over, if nothing delays it."""
        return self.at + self.seconds + (self.tail if self.fate in ("answered", "body") else 0.0)


@dataclass
class Seen:
    """What was met, by the number of the call: seconds in line and by which limit, or why it was refused."""

    waited: dict[int, tuple[float, str]] = field(default_factory=dict)
    refused: dict[int, ErrorClass] = field(default_factory=dict)


Admit = Callable[[Request, bool], Awaitable[Turn]]


async def happen(calls: Sequence[Call], admit: Admit) -> Seen:
    """Let calls come and go; a turn tells what it was held for."""
    seen = Seen()

    async def one(number: int, call: Call) -> None:
        await asyncio.sleep(call.at)
        made = request(
            target=call.target,
            ticket=number,
            caller=call.caller,
            urgency=call.urgency,
            arrived=call.at,
            deadline=call.at + call.patience,
        )
        try:
            turn = await admit(replace(made, route=str(number)), call.again)
        except Refusal as refusal:
            seen.refused[number] = refusal.error_class
            return
        seen.waited[number] = turn.waited, turn.limit
        try:
            await live(turn, call)
        finally:
            await turn.end()

    await asyncio.gather(*(one(number, call) for number, call in enumerate(calls)))
    return seen


async def live(turn: Turn, call: Call) -> None:
    """Do with a turn what the forwarder does, up to its end."""
    if call.fate != "never written":
        turn.started()
    if call.fate not in ("never written", "body"):
        turn.sent()
    await asyncio.sleep(call.seconds)
    if call.fate in ("answered", "body"):
        await turn.answered()
        await asyncio.sleep(call.tail)


@dataclass
class Watch:
    """An observation over a gate's ledger, and what it told."""

    gate: Gate
    queue: Queue = field(default_factory=Queue)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.observation = Observation(
            self.gate.ledger, self.gate.pacing, self.queue, self.gate.clock, Events(self.events.append)
        )

    async def admit(self, made: Request, again: bool = False) -> Turn:
        return await self.observation.admit(made, self.gate.table.lanes(made), again=again)

    @property
    def ghosts(self) -> Seen:
        seen = Seen()
        for event in self.events:
            assert isinstance(event, Observed)
            if event.refused is None:
                seen.waited[int(event.route)] = event.waited, event.limit
            else:
                seen.refused[int(event.route)] = event.refused
        return seen


def held(calls: Sequence[Call], limits: Sequence[Limit], queue: Queue | None = None) -> Seen:
    """Return what the real line does to these calls."""

    async def main() -> Seen:
        gate = Gate(limits, queue)

        async def admit(made: Request, again: bool) -> Turn:
            return await gate.admit(made, again=again)

        seen = await happen(calls, admit)
        await gate.admission.close()
        return seen

    return run_virtual(main())


def observed(calls: Sequence[Call], limits: Sequence[Limit], queue: Queue | None = None) -> Seen:
    """Return what the ghosts of these calls meet; the calls themselves must not be delayed."""

    async def main() -> Seen:
        watch = Watch(Gate(limits), queue or Queue())
        real = await happen(calls, watch.admit)
        assert real == Seen(dict.fromkeys(range(len(calls)), (0.0, "none")))
        assert watch.gate.clock.now() == pytest.approx(max(call.ends for call in calls))
        await asyncio.sleep(LONG)
        assert not watch.observation._ghosts
        await watch.observation.close()
        return watch.ghosts

    return run_virtual(main())


def compare(calls: Sequence[Call], limits: Sequence[Limit], queue: Queue | None = None) -> Seen:
    """Demand that ghosts meet what the requests would have met; return that."""
    expected, seen = held(calls, limits, queue), observed(calls, limits, queue)
    assert seen.refused == expected.refused
    assert seen.waited.keys() == expected.waited.keys()
    for number, (waited, limit) in expected.waited.items():
        assert seen.waited[number][0] == pytest.approx(waited, abs=1e-6), calls[number]
        assert seen.waited[number][1] == limit, calls[number]
    return seen


def waits(seen: Seen) -> list[float]:
    return [round(waited, 6) for _, (waited, _) in sorted(seen.waited.items())]


# Ghosts against the real line.


def test_ghosts_wait_for_a_window_as_requests_do() -> None:
    seen = compare([Call(0.1 * number) for number in range(12)], [STANDARD])
    assert waits(seen) == [0.0] * 5 + [5.7] * 5 + [11.4] * 2  # a window after the answer to the one before
    assert {limit for _, limit in list(seen.waited.values())[5:]} == {"standard"}


def test_ghosts_come_in_the_order_in_which_requests_come_in_one_moment() -> None:
    calls = [Call(0.0, seconds=0.1 * number, caller="abc"[number % 3]) for number in range(9)]
    compare(calls, [STANDARD, BURST])


def test_ghosts_are_paced_as_requests_are() -> None:
    paced = Limit(name="paced", requests=10, per=6.0, pace=Pace(burst=2, rate=4.0))
    seen = compare([Call(0.0) for _ in range(14)], [paced])
    assert waits(seen)[:4] == [0.0, 0.0, 0.25, 0.5]


def test_ghosts_hold_an_at_once_limit_for_as_long_as_requests_do() -> None:
    calls = [Call(0.1 * number, 0.5, UPLOAD, tail=float(number)) for number in range(6)]
    seen = compare(calls, [UPLOADS])
    assert waits(seen)[:3] == [0.0, 0.0, 0.3]
    assert waits(seen)[3] == pytest.approx(1.6 - 0.3)


def test_a_request_of_which_nothing_was_written_costs_its_ghost_nothing_but_the_time() -> None:
    calls = [Call(0.0, 2.0, fate="never written"), Call(0.5), Call(0.6)]
    assert waits(compare(calls, [ONE])) == [0.0, 1.5, 7.6]
    calls = [Call(0.0, 2.0, UPLOAD, fate="never written") for _ in range(2)] + [Call(0.5, 0.2, UPLOAD)]
    assert waits(compare(calls, [UPLOADS])) == [0.0, 0.0, 1.5]


@pytest.mark.parametrize("fate", ["answered", "fails", "departs"])
def test_a_call_that_takes_long_or_has_no_answer_is_counted_when_it_arrived_at_the_latest(
    fate: Fate,
) -> None:
    for seconds in (0.3, 5.0):
        seen = compare([Call(0.0, seconds, fate=fate), Call(0.5)], [ONE])
        within = min(seconds, 1.0) if fate == "answered" else 1.0  # upstream.transit
        assert waits(seen) == [0.0, 5.5 + within]


def test_a_large_body_has_arrived_when_it_is_answered() -> None:
    assert waits(compare([Call(0.0, 5.0, fate="body"), Call(0.5)], [ONE])) == [0.0, 10.5]


@pytest.mark.parametrize("fate", ["fails", "departs"])
def test_a_failure_or_a_client_that_leaves_gives_back_the_ghosts_at_once_slot(fate: Fate) -> None:
    calls = [Call(0.0, 2.0, UPLOAD, fate=fate) for _ in range(2)] + [Call(0.5, 0.2, UPLOAD)]
    assert waits(compare(calls, [UPLOADS])) == [0.0, 0.0, 1.5]


def test_ghosts_are_refused_as_requests_are() -> None:
    calls = [Call(0.0), *(Call(0.1, patience=13.0) for _ in range(4)), Call(0.2, patience=1.0)]
    seen = compare(calls, [ONE])
    assert seen.refused == dict.fromkeys((3, 4, 5), ErrorClass.QUEUE_TIMEOUT)
    seen = compare([Call(0.0) for _ in range(5)] + [Call(0.0, again=True)], [ONE], Queue(size=2))
    assert seen.refused == dict.fromkeys((3, 4), ErrorClass.QUEUE_FULL)


def test_ghosts_take_turns_and_go_before_each_other_as_requests_do() -> None:
    calls = [Call(0.01 * number, caller="aaab"[number % 4], urgency=number % 8) for number in range(24)]
    compare(calls, [ONE])


def at_random(seed: int, fates: Sequence[Fate], longest: float) -> list[Call]:
    """Make calls of all kinds, in a crowd that comes and goes."""
    chance = random.Random(seed)
    calls, at = [], 0.0
    for _ in range(chance.randrange(20, 80)):
        at += chance.expovariate(chance.choice([0.3, 3.0, 30.0]))
        calls.append(
            Call(
                at,
                chance.uniform(0.0, longest),
                chance.choice([LIST, LIST, INVOKE, UPLOAD]),
                chance.choice(fates),
                chance.choice([0.0, chance.uniform(0.0, 5.0)]),
                patience=chance.choice([1e6, 60.0, 10.0]),
                caller=chance.choice("aaabc"),
                urgency=chance.choice([1, 3, 3, 3, 7]),
            )
        )
    return calls


ALL = [STANDARD, BURST, INFERENCE, UPLOADS]


@pytest.mark.parametrize("seed", range(25))
def test_whatever_comes_ghosts_meet_what_it_would_have_met(seed: int) -> None:
    calls = at_random(seed, ["answered", "never written", "body"], longest=1.0)
    seen = compare(calls, ALL, Queue(size=15))
    assert any(waited > 0 for waited, _ in seen.waited.values())


def test_whatever_becomes_of_it_ghosts_meet_what_it_would_have_met() -> None:
    fates: list[Fate] = ["answered", "answered", "never written", "fails", "body", "departs"]
    for seed in range(25):
        compare(at_random(seed, fates, longest=6.0), ALL, Queue(size=15))


def test_under_the_documented_limits_ghosts_meet_what_requests_would_have_met() -> None:
    chance = random.Random(7)
    calls = [
        Call(chance.uniform(0, 90), chance.uniform(0.05, 0.9), chance.choice([LIST] * 9 + [INVOKE]))
        for _ in range(400)
    ]
    seen = compare(sorted(calls, key=lambda call: call.at), DOCUMENTED_LIMITS)
    assert max(waits(seen)) > 60


# What is told on arrival.


def told(calls: Sequence[Call], limits: Sequence[Limit]) -> list[float]:
    """Return the `would_wait` of each."""

    async def main() -> list[float]:
        watch, wait = Watch(Gate(limits)), list[float]()

        async def admit(made: Request, again: bool) -> Turn:
            turn = await watch.admit(made, again)
            assert turn.would_wait is not None
            wait.append(round(turn.would_wait, 6))
            return turn

        await happen(calls, admit)
        await watch.observation.close()
        return wait

    return run_virtual(main())


def test_a_request_is_told_what_it_would_wait() -> None:
    calls = [Call(0.0, 0.0), Call(1.0, 0.0), Call(2.0, 0.0), Call(7.5, 0.0)]
    assert told(calls, [ONE]) == [0.0, 5.0, 10.0, 10.5]


def test_under_no_limit_nobody_would_wait() -> None:
    assert told([Call(0.0)] * 20, []) == [0.0] * 20


def test_the_first_that_would_wait_is_told_so() -> None:
    assert told([Call(0.01 * number, 0.0) for number in range(7)], [STANDARD])[:6] == [*[0.0] * 5, 5.95]


def test_those_who_come_in_one_moment_are_told_of_each_other() -> None:
    assert told([Call(0.0, 0.0)] * 12, [STANDARD]) == [*[0.0] * 5, *[6.0] * 5, *[12.0] * 2]


# Nothing is left over.


def test_no_ghost_outlives_the_observation() -> None:
    async def main() -> None:
        watch = Watch(Gate([ONE]))
        turns = [await watch.admit(request(ticket=ticket)) for ticket in range(3)]
        turns[0].started()  # one ghost is under way with its request, the others wait
        await asyncio.sleep(1.0)
        assert len(watch.observation.line) == 2
        await watch.observation.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not watch.observation._ghosts
        assert len(watch.observation.line) == 0
        for turn in turns:
            await turn.end()
        assert len(watch.events) == 1, "who was still in line met nothing"

    run_virtual(main())


def test_ghosts_are_forgotten_one_by_one() -> None:
    async def main() -> None:
        watch = Watch(Gate([STANDARD]))
        for ticket in range(50):
            turn = await watch.admit(request(ticket=ticket))
            turn.started()
            turn.sent()
            await turn.answered()
            await turn.answered()
            await turn.end()
            await turn.end()
            await asyncio.sleep(2.0)
            assert not watch.observation._ghosts
        await watch.observation.close()

    run_virtual(main())


# With the forwarder.


@dataclass
class Observing:
    """A forwarder that holds nothing back, over a scripted upstream."""

    script: list[Response | UpstreamError]
    limits: Sequence[Limit] = (ONE,)
    retry: Retry = field(default_factory=lambda: Retry(jitter=0.0))

    def __post_init__(self) -> None:
        self.events: list[Event] = []
        self.watch = Watch(Gate(self.limits))
        self.upstream = ThrottledUpstream(script=self.script)
        off = Coalescing(enabled=False)  # as `App` does it
        self.forwarder = Forwarder(
            self.watch.observation,
            self.upstream,
            self.watch.gate.table,
            Groups(Breaker(), Retry()),
            Together(Alike(off, forwarded=False), off.gather, self.watch.gate.clock),
            retry=self.retry,
            replay=1000,
            clock=self.watch.gate.clock,
            chance=lambda: 0.0,
            events=Events(self.events.append),
        )

    @asynccontextmanager
    async def asked(self, made: Request, account: Account) -> AsyncIterator[Response]:
        async with self.forwarder.exchange(made, account) as answer:
            yield answer

    async def ask(self, ticket: int) -> tuple[int, Account]:
        account = Account()
        now = self.watch.gate.clock.now()
        made = replace(request(ticket=ticket, arrived=now), route=str(ticket))
        async with self.asked(made, account) as answer:
            return answer.status, account

    @property
    def sent_at(self) -> list[tuple[int, float]]:
        return [(made.ticket, round(at, 3)) for at, made in self.upstream.arrivals]


def test_a_refusal_of_the_api_pauses_nobody_but_the_ghosts() -> None:
    observing = Observing([response(429, retry_after="20"), *[response()] * 3])

    async def main() -> None:
        first = asyncio.create_task(observing.ask(0))
        await asyncio.sleep(1.0)
        status, account = await observing.ask(1)
        assert (status, account.waited, account.limit) == (200, 0.0, "none")
        assert account.would_wait == pytest.approx(19.0, abs=6.5)
        await asyncio.sleep(100.0)
        assert (await first)[0] == 200
        assert observing.watch.ghosts.waited[1][0] >= 19.0
        await observing.watch.observation.close()

    run_virtual(main())
    assert (1, 1.0) in observing.sent_at


def test_a_request_that_the_api_refused_is_sent_again_when_the_api_said() -> None:
    observing = Observing([response(429, retry_after="20"), response()])

    async def main() -> None:
        status, account = await observing.ask(0)
        assert (status, account.attempts) == (200, 2)
        await observing.watch.observation.close()

    run_virtual(main())
    assert observing.sent_at == [(0, 0.0), (0, 20.0)]


def test_failures_are_tried_again_as_always() -> None:
    observing = Observing([response(500), response(500), response()])

    async def main() -> None:
        assert (await observing.ask(0))[0] == 200
        await observing.watch.observation.close()

    run_virtual(main())
    assert observing.sent_at == [(0, 0.0), (0, 1.0), (0, 3.0)]


def test_what_a_request_would_wait_is_told_for_all_its_attempts() -> None:
    observing = Observing([response(), response(500), response()])

    async def main() -> float | None:
        await observing.ask(0)
        _, account = await observing.ask(1)  # 6 s in line, and a second later 11 s more
        await observing.watch.observation.close()
        return account.would_wait

    assert run_virtual(main()) == pytest.approx(17.0)


def test_a_client_that_leaves_leaves_no_ghost_behind() -> None:
    observing = Observing([response(), response()])
    observing.upstream.work = lambda: 3.0

    async def main() -> None:
        asking = [asyncio.create_task(observing.ask(ticket)) for ticket in range(2)]
        await asyncio.sleep(1.0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(100.0)
        assert not observing.watch.observation._ghosts
        assert [one.remaining for one in observing.watch.gate.ledger.lanes()] == [1]
        await observing.watch.observation.close()

    run_virtual(main())
    assert observing.watch.ghosts.waited.keys() == {0, 1}


def test_a_client_that_leaves_in_the_moment_in_which_it_came_leaves_no_ghost_behind() -> None:
    async def main() -> None:
        for ticks in range(5):
            watch = Watch(Gate([ONE]))

            async def one(watch: Watch = watch) -> None:
                turn = await watch.admit(request())
                try:
                    await asyncio.sleep(1.0)
                finally:
                    await turn.end()

            task = asyncio.create_task(one())
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(10.0)
            assert not watch.observation._ghosts
            assert [one.remaining for one in watch.gate.ledger.lanes()] in ([], [1])
            await watch.observation.close()

    run_virtual(main())


def test_while_nothing_is_held_a_pause_that_there_would_have_been_is_told_once() -> None:
    observing = Observing([response(429, retry_after="20")] * 3, retry=Retry(max_retries=0))

    async def main() -> None:
        for ticket in range(3):
            await observing.ask(ticket)
        await observing.watch.observation.close()

    run_virtual(main())
    told = [event.anew for event in observing.events if isinstance(event, LimitPaused)]
    assert told == [True, False, False]
