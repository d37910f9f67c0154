"""Whatever happens, in whatever order: no slot is lost or spent twice, nobody is lost, nobody gone is served.

The machine enqueues, cancels, grants, settles, refunds, releases, pauses, resumes and lets time make requests
more urgent. Another ledger runs it by deriving from it and making its own: here one that begins with a probe,
and one behind a breaker, which failures open, and hands open and close.
"""

import asyncio
import math
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.account import Account
from proxy.adapters.guard import Guard
from proxy.adapters.local_ledger import LocalLedger
from proxy.adapters.redis_ledger import RedisLedger
from proxy.admission import Admission
from proxy.config import Breaker, Caller, Limit, Queue, Retry
from proxy.errors import CircuitOpen, QueueTimeout, Refusal
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.party import Abandoned, Party
from proxy.policy.groups import Groups
from proxy.policy.limits import Lanes, LimitTable
from proxy.turn import Ledger, Turn
from proxy.virtual import VirtualClock, VirtualLoop
from tests.fakes import BURST, INFERENCE, STANDARD, UPLOADS, applies, request
from tests.servers import StoreServer
from tests.stores import VirtualStore, replica

LIMITS = [STANDARD, BURST, INFERENCE, UPLOADS]
TARGETS = ["/api/v1/x/", "/api/v1/inference/invoke/", "/api/v1/uploads/"]
LONGEST = 60.0


def ticks(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw times whose sums are exact."""
    return st.integers(int(low * 1024), int(high * 1024)).map(lambda count: count / 1024)


@dataclass
class Client:
    """One request, and what became of it."""

    made: Request
    task: "asyncio.Task[Turn | Party]"
    transit: float
    left: bool = False
    turn: Turn | None = None
    arrived: float | None = None
    granted: float | None = None
    outcome: str = "waits"


class Waiting(RuleBasedStateMachine):
    """Clients of one key, and of another that must not matter."""

    refusals: tuple[type[Refusal], ...] = (QueueTimeout,)
    rounds = 8
    """Of the loop, in which everybody has done what can be done at a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.clients: list[Client] = []
        self.table = LimitTable(LIMITS)
        self.clock = VirtualClock()
        self.complaints: list[object] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.run(self.begin())

    def make_ledger(self) -> Ledger:
        return LocalLedger(self.table, self.clock, transit=1.0, clock_drift=0.0, probe=False)

    def lanes(self, made: Request) -> Lanes:
        return self.table.lanes(made)

    async def begin(self) -> None:
        self.ledger = self.make_ledger()
        queue = Queue(size=1000, ageing=2.0, callers=(Caller(name="b", weight=3.0),))
        self.admission = Admission(self.ledger, Pacing(LIMITS), queue, self.clock)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    async def settle_down(self, seconds: float = 0.0) -> None:
        """Let time pass, and everybody do what can be done; take note of who was granted."""
        until = self.clock.now() + seconds
        while True:
            for _ in range(self.rounds):
                await asyncio.sleep(0)
            self.take_note()
            if self.clock.now() >= until:
                return
            await asyncio.sleep(min(0.125, until - self.clock.now()))

    def take_note(self) -> None:
        for client in self.clients:
            if client.outcome != "waits" or not client.task.done():
                continue
            if client.task.cancelled():
                client.outcome = "left"
                continue
            if client.task.exception() is not None:
                assert isinstance(client.task.exception(), self.refusals)
                assert self.clock.now() <= client.made.deadline + 0.125
                client.outcome = "refused"
                continue
            turn = client.task.result()
            assert not client.left, "no grant to the departed"
            client.granted = self.clock.now()
            assert client.granted <= client.made.deadline + 0.125
            if isinstance(turn, Party):
                client.outcome = "goes along"
            else:
                client.turn, client.outcome = turn, "granted"

    @rule(
        path=st.sampled_from(TARGETS),
        credential=st.sampled_from(["team", "team", "other"]),
        caller=st.sampled_from(["a", "a", "b", "c"]),
        urgency=st.sampled_from([3, 3, 0, 1, 7]),
        patience=ticks(0.5, LONGEST),
        transit=ticks(0, 1),
        key=st.sampled_from([None, None, None, "same"]),
        back=st.booleans(),
    )
    def enqueue(
        self,
        path: str,
        credential: str,
        caller: str,
        urgency: int,
        patience: float,
        transit: float,
        key: str | None,
        back: bool,
    ) -> None:
        """A request comes, or comes back for another try with its old ticket."""

        async def enqueue() -> None:
            now = self.clock.now()
            made = request(
                target=path,
                credential=credential,
                caller=caller,
                urgency=urgency,
                arrived=now,
                deadline=now + patience,
                ticket=len(self.clients) // 2 if back else len(self.clients),
            )
            lanes = self.lanes(made)
            whole = None if key is None else (key, path, credential)
            task = asyncio.ensure_future(self.admission.admit(made, lanes, again=back, key=whole))
            self.clients.append(Client(made, task, transit))
            await self.settle_down()

        self.run(enqueue())

    def those(self, *outcomes: str) -> list[Client]:
        return [client for client in self.clients if client.outcome in outcomes]

    @precondition(lambda self: self.those("waits"))
    @rule(number=st.integers(0, 1000))
    def cancel(self, number: int) -> None:
        waiting = self.those("waits")
        client = waiting[number % len(waiting)]
        client.left = True
        client.task.cancel()
        self.run(self.settle_down())
        assert client.outcome == "left"

    @precondition(lambda self: self.those("granted"))
    @rule(number=st.integers(0, 1000))
    def send(self, number: int) -> None:
        """The request is written; it arrives, and is counted, within the transit time."""
        granted = self.those("granted")
        client = granted[number % len(granted)]

        async def send() -> None:
            self.sends(client)

        self.run(send())

    def sends(self, client: Client) -> None:
        assert client.turn is not None
        client.turn.started()
        client.turn.sent()
        client.outcome, client.arrived = "sent", self.clock.now() + client.transit

    @precondition(lambda self: self.those("granted"))
    @rule(number=st.integers(0, 1000))
    def refund(self, number: int) -> None:
        """No connection, or the client left before a byte was written."""
        granted = self.those("granted")
        client = granted[number % len(granted)]

        async def end() -> None:
            assert client.turn is not None
            await client.turn.end()
            client.outcome = "refunded"
            await self.settle_down()

        self.run(end())

    @precondition(lambda self: self.those("sent"))
    @rule(number=st.integers(0, 1000), ends=st.booleans(), failed=st.booleans())
    def answer(self, number: int, ends: bool, failed: bool) -> None:
        sent = self.those("sent")
        client = sent[number % len(sent)]

        async def answer() -> None:
            assert client.turn is not None
            assert client.arrived is not None
            await self.settle_down(max(0.0, client.arrived - self.clock.now()))
            await client.turn.answered()
            client.turn.judged(failed=failed)
            client.outcome = "answered"
            if ends:
                await client.turn.end()
                client.outcome = "ended"
            await self.settle_down()

        self.run(answer())

    @precondition(lambda self: self.those("answered", "sent"))
    @rule(number=st.integers(0, 1000))
    def end(self, number: int) -> None:
        """The body is through, or the client left in the middle of it, or of the call."""
        under_way = self.those("answered", "sent")
        client = under_way[number % len(under_way)]

        async def end() -> None:
            assert client.turn is not None
            await client.turn.end()
            client.outcome = "ended"
            await self.settle_down()

        self.run(end())

    @rule(limit=st.sampled_from(LIMITS), seconds=ticks(0.5, 8))
    def pause(self, limit: Limit, seconds: float) -> None:
        async def pause() -> None:
            for lane in self.table.lanes(request(target=TARGETS[1])):
                if lane.limit == limit.name:
                    await self.ledger.pause(lane, seconds)
                    self.admission.review()
            await self.settle_down()

        self.run(pause())

    @rule(seconds=ticks(0.125, 8))
    def time_passes(self, seconds: float) -> None:
        """Windows free slots, pauses end, waits make requests more urgent, deadlines come."""
        self.run(self.settle_down(seconds))

    @invariant()
    def nothing_is_spent_twice(self) -> None:
        for limit in LIMITS:
            for credential in ("team", "other"):
                ours = [
                    client
                    for client in self.clients
                    if client.turn is not None
                    and client.made.credential == credential
                    and applies(limit, client.made)
                ]
                if limit.per is None:
                    held = [c for c in ours if c.outcome in ("granted", "sent", "answered")]
                    assert len(held) <= limit.size
                    continue
                counted = sorted(client.arrived for client in ours if client.arrived is not None)
                for first, beyond in zip(counted, counted[limit.size :], strict=False):
                    assert beyond - first >= limit.per, (limit.name, counted)

    @invariant()
    def nobody_is_lost(self) -> None:
        assert not self.complaints
        assert len(self.admission.line) == len(self.those("waits"))

    @invariant()
    def slots_are_conserved(self) -> None:
        """What is left of a lane and what is held of it are its size."""

        async def left() -> None:
            for state in self.ledger.lanes():
                lane, remaining, paused = state.lane, state.remaining, state.paused
                limit = self.table.by_name[lane.limit]
                held = [
                    client
                    for client in self.clients
                    if client.turn is not None
                    and lane in self.table.lanes(client.made)
                    and client.outcome in ("granted", "sent", "answered")
                ]
                assert remaining >= 0
                if limit.per is None and not paused:
                    assert remaining == limit.size - len(held)

        self.run(left())

    def teardown(self) -> None:
        async def finish() -> None:
            # Everything ends well: then everybody has an outcome, and all room is back.
            for _ in range(200):
                for client in self.those("granted"):
                    client.transit = 0.0
                    self.sends(client)
                for client in self.those("sent", "answered"):
                    assert client.turn is not None
                    await client.turn.answered()
                    client.turn.judged(failed=False)
                    await client.turn.end()
                    client.outcome = "ended"
                if not self.those("waits", "granted"):
                    break
                await self.settle_down(1.0)
            assert not self.those("waits", "granted", "sent", "answered")
            await asyncio.sleep(20.0)
            for state in self.ledger.lanes():
                assert state.remaining == self.table.by_name[state.lane.limit].size
            assert not self.complaints
            await self.admission.close()
            for client in self.those("goes along"):
                party = client.task.result()
                assert isinstance(party, Party)
                with suppress(Abandoned):
                    async with party.answer(Account()):
                        raise AssertionError("nobody led it")

        self.run(finish())
        self.loop.close()


class FromAStart(Waiting):
    """Nothing is known of what was spent before: the first request of each lane goes alone."""

    def make_ledger(self) -> Ledger:
        return LocalLedger(self.table, self.clock, transit=1.0, clock_drift=0.0, probe=True)


class AtAStore(Waiting):
    """The budget is kept in a store, where others may share it."""

    rounds = 60
    probe = False
    server: StoreServer

    def make_ledger(self) -> Ledger:
        self.store = VirtualStore(self.server.url)
        ledger = replica(self.store, self.table, self.clock, "me", probe=self.probe)
        self.tending = self.loop.create_task(self.tend(ledger))
        return ledger

    async def tend(self, ledger: RedisLedger) -> None:
        while True:
            await asyncio.sleep(0.1)
            await ledger.tend()

    def teardown(self) -> None:
        super().teardown()
        self.store.close()


class AtAStoreFromAStart(AtAStore):
    """The first request of each lane goes alone."""

    probe = True


RULES = Breaker(failures=2, interval=1.0, longest_interval=4.0)


class BehindABreaker(FromAStart):
    """An upstream may fail, and is left alone then."""

    refusals = (QueueTimeout, CircuitOpen)
    opened_at = math.inf

    def make_inner(self) -> Ledger:
        return super().make_ledger()

    def make_ledger(self) -> Ledger:
        self.groups = Groups(RULES, Retry())
        self.guard = Guard(
            self.make_inner(), self.groups, self.clock, lambda group, state: self.admission.review()
        )
        return self.guard

    def lanes(self, made: Request) -> Lanes:
        return (*self.table.lanes(made), self.groups.of(made).lane)

    @rule(opened=st.sampled_from([True, False, False]))
    def force(self, opened: bool) -> None:
        """Somebody opens or closes the breaker by hand."""

        async def force() -> None:
            self.guard.force("upstream", opened=opened)
            self.opened_at = self.clock.now() if opened else math.inf
            await self.settle_down()

        self.run(force())

    @invariant()
    def one_probe_goes_at_a_time(self) -> None:
        """Another one only when the one before has ended, or does not come back."""
        young = [
            client
            for client in self.those("granted", "sent")
            if client.turn is not None
            and client.turn.probe
            and client.granted is not None
            and self.loop.time() < client.granted + RULES.interval
        ]
        assert len(young) <= 1

    @invariant()
    def nobody_goes_while_it_is_open_by_hand(self) -> None:
        assert not [one for one in self.clients if (one.granted or 0.0) > self.opened_at]

    def teardown(self) -> None:
        self.force(opened=False)
        super().teardown()


class AtAStoreBehindABreaker(BehindABreaker, AtAStoreFromAStart):
    """All of it together."""

    def make_inner(self) -> Ledger:
        return AtAStore.make_ledger(self)


TestWaiting = Waiting.TestCase
TestFromAStart = FromAStart.TestCase
TestBehindABreaker = BehindABreaker.TestCase
TestWaiting.settings = TestFromAStart.settings = TestBehindABreaker.settings = settings(
    max_examples=150, stateful_step_count=50
)


@pytest.mark.parametrize("machine", [AtAStore, AtAStoreFromAStart, AtAStoreBehindABreaker])
def test_at_a_store(valkey: StoreServer, machine: type[AtAStore]) -> None:
    machine.server = valkey
    run_state_machine_as_test(machine, settings=settings(max_examples=50, stateful_step_count=50))
