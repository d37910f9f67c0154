"""Requests go in turn, as early as all their limits allow, and those who leave cost nothing."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.adapters.local_ledger import LocalLedger
from proxy.admission import Admission
from proxy.config import Limit, Match, Pace, Queue
from proxy.errors import QueueFull, QueueTimeout, Refusal, ShuttingDown
from proxy.messages import Request
from proxy.pacing import Pacing
from proxy.policy.limits import LimitTable
from proxy.turn import NOTHING, Busy, LaneState, Turn
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import BURST, INFERENCE, STANDARD, UPLOADS, ThrottledUpstream, request


class Gate:
    """An admission over a local ledger, and who went through it when."""

    def __init__(self, limits: Sequence[Limit], queue: Queue | None = None) -> None:
        self.table = LimitTable(limits)
        self.clock = VirtualClock()
        self.ledger = LocalLedger(self.table, self.clock, transit=1.0, clock_drift=0.0, probe=False)
        self.pacing = Pacing(limits)
        self.admission = Admission(self.ledger, self.pacing, queue or Queue(), self.clock)
        self.went: list[tuple[int, float]] = []

    async def admit(self, made: Request, *, again: bool = False) -> Turn:
        turn = await self.admission.admit(made, self.table.lanes(made), again=again)
        assert isinstance(turn, Turn), "nobody asks for the same"
        self.went.append((made.ticket, round(self.clock.now(), 6)))
        return turn

    async def send(self, made: Request, seconds: float = 0.0) -> None:
        """Go through, take so long until the answer, and finish."""
        turn = await self.admit(made)
        try:
            turn.started()
            turn.sent()
            await asyncio.sleep(seconds)
            await turn.answered()
        finally:
            await turn.end()

    def sending(self, ticket: int, seconds: float = 0.0, target: str = "/api/v1/x/") -> "asyncio.Task[None]":
        return asyncio.create_task(self.send(request(target=target, ticket=ticket), seconds))


INVOKE = "/api/v1/inference/invoke/"


def test_requests_go_at_once_while_there_is_room_and_then_one_window_after_each_answer() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        await asyncio.gather(*(gate.sending(ticket, 0.5) for ticket in range(7)))
        assert gate.went == [*((ticket, 0.0) for ticket in range(5)), (5, 6.5), (6, 6.5)]

    run_virtual(main())


def test_a_turn_knows_how_long_it_took_and_for_which_limit() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, INFERENCE])
        turns = [await gate.admit(request(target=INVOKE, ticket=ticket)) for ticket in range(2)]
        waiting = asyncio.create_task(gate.admit(request(target=INVOKE, ticket=2)))
        await asyncio.sleep(1.5)
        await turns[0].end()
        turns.append(await waiting)
        assert [(turn.limit, turn.waited) for turn in turns] == [("none", 0), ("none", 0), ("inference", 1.5)]
        for turn in turns:
            await turn.end()

    run_virtual(main())


def test_all_limits_hold_at_the_same_time() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, BURST])
        await asyncio.gather(*(gate.sending(ticket) for ticket in range(8)))
        assert [at for _, at in gate.went] == [0, 0, 1, 1, 2, 6, 6, 7]

    run_virtual(main())


def test_a_narrow_limit_does_not_block_those_who_do_not_need_it() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, INFERENCE])
        inferences = [gate.sending(ticket, target=INVOKE) for ticket in range(4)]
        await asyncio.sleep(0)
        others = [gate.sending(ticket) for ticket in range(4, 7)]
        await asyncio.gather(*inferences, *others)
        assert dict(gate.went) == {0: 0.0, 1: 0.0, 4: 0.0, 5: 0.0, 6: 0.0, 2: 6.0, 3: 6.0}

    run_virtual(main())


def test_nothing_is_taken_from_one_limit_while_waiting_for_another() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(5)]
        await asyncio.sleep(0.1)
        remaining = {one.lane.limit: one.remaining for one in gate.ledger.lanes()}
        assert remaining == {"standard": 3, "inference": 0}
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_what_was_not_sent_is_given_back_at_once() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        turns = [await gate.admit(request(target=INVOKE, ticket=ticket)) for ticket in range(2)]
        waiting = gate.sending(2, target=INVOKE)
        await asyncio.sleep(3.0)
        await turns[0].end()
        await turns[0].end()
        await waiting
        assert gate.went[-1] == (2, 3.0)

    run_virtual(main())


def test_what_was_sent_in_part_is_held_as_if_it_had_arrived() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        for ticket in range(2):
            turn = await gate.admit(request(target=INVOKE, ticket=ticket))
            turn.started()
            await turn.end()
        await gate.sending(2, target=INVOKE)
        assert gate.went[-1] == (2, 7.0)

    run_virtual(main())


def test_an_at_once_limit_is_held_to_the_end_of_the_exchange() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        await asyncio.gather(*(gate.sending(ticket, 4.0, "/api/v1/uploads/") for ticket in range(3)))
        assert gate.went == [(0, 0.0), (1, 0.0), (2, 4.0)]

    run_virtual(main())


def test_an_answer_frees_the_next_turn_though_the_exchange_goes_on() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        turns = [await gate.admit(request(target=INVOKE, ticket=ticket)) for ticket in range(2)]
        for turn in turns:
            turn.started()
            turn.sent()
        waiting = gate.sending(2, target=INVOKE)
        await asyncio.sleep(0.25)
        await turns[0].answered()
        await waiting
        assert gate.went[-1] == (2, 6.25)
        for turn in turns:
            await turn.end()

    run_virtual(main())


def test_an_at_once_slot_comes_free_at_the_end_of_the_exchange_and_not_at_its_answer() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        turns = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        waiting = gate.sending(2, target="/api/v1/uploads/")
        for turn in turns:
            turn.started()
            turn.sent()
            await turn.answered()
        await asyncio.sleep(3.0)
        await turns[0].end()
        await waiting
        assert gate.went[-1] == (2, 3.0)
        await turns[1].end()

    run_virtual(main())


def test_a_request_under_no_limit_goes_at_once_whoever_waits() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(3)]
        await asyncio.sleep(1.0)
        await gate.send(request(ticket=9))
        assert gate.went[-1] == (9, 1.0)
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_a_newcomer_does_not_overtake_who_is_about_to_be_asked() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        holders = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        waiting = gate.sending(2, 5.0, "/api/v1/uploads/")
        await asyncio.sleep(1.0)
        await holders[0].end()
        newcomer = await gate.admit(request(target="/api/v1/uploads/", ticket=3))
        assert gate.went[2:] == [(2, 1.0), (3, 6.0)]
        await waiting
        for turn in (holders[1], newcomer):
            await turn.end()

    run_virtual(main())


def test_a_client_that_leaves_the_queue_is_gone_at_once_and_costs_nothing() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(5)]
        await asyncio.sleep(1.0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        assert len(gate.admission.line) == 2
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.went == [(0, 0.0), (1, 0.0), (3, 6.0), (4, 6.0)]

    run_virtual(main())


def test_a_client_that_leaves_in_the_moment_of_its_turn_gives_it_to_the_next() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        holder = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        tasks = [gate.sending(ticket, target="/api/v1/uploads/") for ticket in range(2, 5)]
        await asyncio.sleep(1.0)
        await holder[0].end()  # the dispatcher is woken, and ticket 2 will be granted ...
        tasks[2 - 2].cancel()  # ... or has left, whichever comes first
        await asyncio.sleep(0)
        tasks[3 - 2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.went[2:] == [(4, 1.0)]
        await holder[1].end()

    run_virtual(main())


def test_a_turn_granted_to_somebody_who_is_leaving_is_refunded() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        holders = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        leaving = gate.sending(2, target="/api/v1/uploads/")
        await asyncio.sleep(1.0)
        await holders[0].end()
        for _ in range(5):  # until the grant is there, but the request has not noticed
            await asyncio.sleep(0)
            leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert {one.remaining for one in gate.ledger.lanes()} == {1}
        await holders[1].end()

    run_virtual(main())


def test_a_request_whose_turn_comes_after_its_deadline_is_refused_at_once_with_a_true_retry_after() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(4)]
        await asyncio.sleep(1.0)
        # Two went at 0, two go at 6: the next at 12.
        with pytest.raises(QueueTimeout) as refusal:
            await gate.admit(request(target=INVOKE, ticket=9, deadline=5.0))
        assert gate.clock.now() == 1.0
        assert refusal.value.retry_after == 7
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_a_turn_under_several_limits_comes_as_late_as_under_the_worst_of_them() -> None:
    async def main() -> None:
        gate = Gate([BURST, INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(2)]
        await asyncio.sleep(0.5)
        with pytest.raises(QueueTimeout) as refusal:
            await gate.admit(request(target=INVOKE, ticket=9, deadline=2.0))
        assert refusal.value.retry_after == 4
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_a_long_wait_for_one_limit_refuses_nobody_who_does_not_need_it() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, INFERENCE])
        inferences = [gate.sending(ticket, target=INVOKE) for ticket in range(12)]
        await asyncio.sleep(0.5)
        # Ten wait for the inference limit, and at most two of them go in each of the next windows.
        turn = await gate.admit(request(ticket=20, deadline=1.0))
        assert gate.clock.now() == 0.5
        await turn.end()
        await asyncio.gather(*inferences)

    run_virtual(main())


def test_a_request_whose_wait_turns_out_longer_is_refused_at_its_deadline() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        holders = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        with pytest.raises(QueueTimeout):
            await gate.admit(request(target="/api/v1/uploads/", ticket=2, deadline=30.0))
        assert gate.clock.now() == 30.0
        assert len(gate.admission.line) == 0
        for holder in holders:
            await holder.end()

    run_virtual(main())


def test_a_request_is_refused_as_soon_as_it_is_known_that_its_turn_comes_too_late() -> None:
    limit = Limit(name="slow", requests=1, per=6.0)

    async def main() -> None:
        gate = Gate([limit])
        holder = await gate.admit(request(ticket=0))
        with pytest.raises(QueueTimeout) as refusal:
            await gate.admit(request(ticket=1, deadline=7.0))
        assert gate.clock.now() == 2.0, "if what is granted is sent now, the next goes at 8"
        assert refusal.value.retry_after == 1
        await holder.end()

    run_virtual(main())


def test_one_dispatcher_serves_all_who_wait() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        tasks = [gate.sending(ticket, 4.0, "/api/v1/uploads/") for ticket in range(3)]
        await asyncio.sleep(1.0)
        dispatcher = gate.admission._dispatcher
        tasks += [gate.sending(ticket, 4.0, "/api/v1/uploads/") for ticket in range(3, 9)]
        await asyncio.gather(*tasks)
        assert gate.admission._dispatcher is dispatcher
        assert dispatcher is not None
        assert not dispatcher.done()

    run_virtual(main())


def test_a_time_that_turned_out_too_late_is_forgotten_when_it_comes() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, 0.5, INVOKE) for ticket in range(3)]  # at first the third waits until 7
        await asyncio.gather(*tasks)
        assert gate.went[-1] == (2, 6.5)
        await asyncio.sleep(1.0)
        assert not gate.admission._due
        assert gate.admission._dispatcher is not None
        assert not gate.admission._dispatcher.done()

    run_virtual(main())


def test_a_full_queue_refuses_nobody_who_need_not_wait() -> None:
    async def main() -> None:
        gate = Gate([STANDARD, INFERENCE], Queue(size=1))
        inferences = [gate.sending(ticket, target=INVOKE) for ticket in range(3)]
        await asyncio.sleep(0.5)
        assert len(gate.admission.line) == 1
        await gate.send(request(ticket=10))
        await gate.send(request(ticket=11, target=INVOKE, credential="other"))
        assert gate.went[2:] == [(10, 0.5), (11, 0.5)]
        await asyncio.gather(*inferences)

    run_virtual(main())


@pytest.mark.parametrize("first", ["the client", "the deadline"])
def test_a_client_that_leaves_at_its_very_deadline_has_left(first: str) -> None:
    async def main() -> None:
        gate = Gate([UPLOADS])
        holders = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        waiting = asyncio.create_task(gate.admit(request(target="/api/v1/uploads/", ticket=2, deadline=30.0)))
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        if first == "the deadline":
            await asyncio.sleep(1.0)  # its timer is the older one
        asyncio.get_running_loop().call_at(30.0, waiting.cancel)
        (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)
        assert not complaints
        for holder in holders:
            await holder.end()

    run_virtual(main())


def test_a_full_queue_refuses_the_newcomer_but_not_a_retry() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE], Queue(size=1))
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(3)]
        await asyncio.sleep(0.5)
        with pytest.raises(QueueFull) as refusal:
            await gate.admit(request(target=INVOKE, ticket=9))
        assert refusal.value.detail == "1 requests are waiting already."
        assert refusal.value.retry_after == math.ceil(6.0 - 0.5)
        retry = asyncio.create_task(gate.admit(request(target=INVOKE, ticket=1), again=True))
        await asyncio.gather(*tasks, retry)
        assert gate.went[2:] == [(1, 6.0), (2, 6.0)], "the retry keeps its place before who came later"
        await retry.result().end()

    run_virtual(main())


def test_a_refusal_for_a_wait_of_unknown_length_asks_for_one_second() -> None:
    async def main() -> None:
        gate = Gate([UPLOADS], Queue(size=1))
        turns = [await gate.admit(request(target="/api/v1/uploads/", ticket=ticket)) for ticket in range(2)]
        waiting = asyncio.create_task(gate.admit(request(target="/api/v1/uploads/", ticket=2, deadline=8.0)))
        await asyncio.sleep(0.5)
        with pytest.raises(QueueFull) as full:
            await gate.admit(request(target="/api/v1/uploads/", ticket=3))
        with pytest.raises(QueueTimeout) as timeout:
            await waiting
        assert (full.value.retry_after, timeout.value.retry_after) == (1, 1)
        for turn in turns:
            await turn.end()

    run_virtual(main())


def probing(gate: Gate) -> None:
    """Begin with a ledger that knows nothing of what was spent before."""
    gate.ledger = LocalLedger(gate.table, gate.clock, transit=1.0, clock_drift=0.0, probe=True)
    gate.admission = Admission(gate.ledger, gate.pacing, Queue(), gate.clock)


def test_at_a_start_the_first_request_of_each_key_goes_alone() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        probing(gate)
        ours = [gate.sending(ticket, 0.5) for ticket in range(4)]
        theirs = asyncio.create_task(gate.send(request(ticket=4, credential="other")))
        await asyncio.gather(*ours, theirs)
        assert sorted(gate.went) == [(0, 0.0), (1, 0.5), (2, 0.5), (3, 0.5), (4, 0.0)]

    run_virtual(main())


def test_a_probe_that_never_left_makes_room_for_the_next() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        probing(gate)
        first = await gate.admit(request(ticket=0))
        second = gate.sending(1)
        await asyncio.sleep(2.0)
        await first.end()
        await second
        assert gate.went == [(0, 0.0), (1, 2.0)]

    run_virtual(main())


def test_if_the_first_has_no_answer_another_goes_when_it_is_certainly_counted() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        probing(gate)
        await asyncio.gather(*(gate.sending(ticket, 1.5) for ticket in range(5)))
        assert [at for _, at in gate.went] == [0.0, 1.0, 1.5, 1.5, 1.5]

    run_virtual(main())


def test_a_larger_limit_lets_go_at_once_who_waits_for_it() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        tasks = [gate.sending(ticket) for ticket in range(8)]
        await asyncio.sleep(2.0)
        wide = STANDARD.model_copy(update={"requests": 7})
        gate.ledger.configure(LimitTable([wide]), transit=1.0, clock_drift=0.0)
        await asyncio.gather(*tasks)
        assert [at for _, at in gate.went] == [0.0] * 5 + [2.0] * 2 + [6.0]

    run_virtual(main())


def test_a_smaller_limit_holds_those_who_come_by_what_was_spent_before() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        for ticket in range(3):
            await gate.send(request(ticket=ticket))
        narrow = STANDARD.model_copy(update={"requests": 2})
        gate.ledger.configure(LimitTable([narrow]), transit=1.0, clock_drift=0.0)
        await gate.sending(3)
        assert gate.went[-1] == (3, 6.0)

    run_virtual(main())


def test_who_waits_for_a_limit_that_is_gone_waits_on() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(3)]
        await asyncio.sleep(2.0)
        gate.ledger.configure(LimitTable([]), transit=1.0, clock_drift=0.0)
        await asyncio.gather(*tasks)
        assert gate.went[-1] == (2, 6.0)

    run_virtual(main())


AT_ONCE = Limit(name="inference", concurrent=2, match=INFERENCE.match)


@pytest.mark.parametrize(("before", "after"), [(INFERENCE, AT_ONCE), (AT_ONCE, INFERENCE)])
def test_nobody_is_lost_when_a_limit_becomes_one_of_the_other_kind(before: Limit, after: Limit) -> None:
    async def main() -> None:
        gate = Gate([before])
        tasks = [gate.sending(ticket, 3.0, target=INVOKE) for ticket in range(6)]
        await asyncio.sleep(0.5)
        gate.ledger.configure(LimitTable([after]), transit=1.0, clock_drift=0.0)
        await asyncio.gather(*tasks)
        assert [ticket for ticket, _ in gate.went] == [*range(6)]

    run_virtual(main())


def test_other_rules_of_the_line_apply_to_those_who_come_and_who_waits_stays() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        waiting = [gate.sending(ticket) for ticket in range(8)]
        await asyncio.sleep(1.0)
        gate.admission.configure(Queue(size=3), gate.pacing)
        with pytest.raises(QueueFull):
            await gate.send(request(ticket=8))
        gate.admission.configure(Queue(size=4), gate.pacing)
        await asyncio.gather(*waiting, gate.sending(8))
        assert len(gate.went) == 9

    run_virtual(main())


def test_a_pause_holds_one_credential_and_no_other() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        await gate.ledger.pause(gate.table.lanes(request())[0], 4.0)
        ours = asyncio.create_task(gate.send(request(ticket=1)))
        theirs = asyncio.create_task(gate.send(request(ticket=2, credential="other")))
        await asyncio.gather(ours, theirs)
        assert gate.went == [(2, 0.0), (1, 4.0)]

    run_virtual(main())


def test_the_ledger_tells_how_long_a_lane_is_still_paused() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        (lane,) = gate.table.lanes(request())
        await gate.ledger.pause(lane, 4.0)
        await asyncio.sleep(1.0)
        assert list(gate.ledger.lanes()) == [LaneState(lane, 5, 0, 0, 3.0)]
        await asyncio.sleep(4.0)
        assert list(gate.ledger.lanes()) == [LaneState(lane, 5, 5, 0, 0.0)]

    run_virtual(main())


def test_a_clock_that_may_drift_lengthens_each_window() -> None:
    async def main() -> None:
        table = LimitTable([INFERENCE])
        ledger = LocalLedger(table, VirtualClock(), transit=1.0, clock_drift=0.5, probe=False)
        lanes = table.lanes(request(target=INVOKE))
        for _ in range(2):
            grant = await ledger.take(lanes)
            assert not isinstance(grant, Busy)
            await ledger.settle(grant, NOTHING)
        assert await ledger.take(lanes) == Busy(lanes[0], 9.0)

    run_virtual(main())


def test_lanes_are_not_looked_through_again_before_they_have_doubled() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        lanes = [gate.table.lanes(request(target=INVOKE, credential=f"c{n}")) for n in range(1500)]
        for busy in lanes[:1024]:
            await gate.ledger.take(busy)
        for idle in lanes[1024:]:
            gate.ledger.outlook(idle[0])
        assert len(list(gate.ledger.lanes())) == 1500

    run_virtual(main())


def test_a_pace_spreads_what_a_window_frees_at_once() -> None:
    limit = Limit(name="burst", requests=10, per=10.0, pace=Pace(burst=2, rate=4.0))

    async def main() -> None:
        gate = Gate([limit])
        await asyncio.gather(*(gate.sending(ticket) for ticket in range(6)))
        assert [at for _, at in gate.went] == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1.0], abs=1e-4)
        assert [ticket for ticket, _ in gate.went] == list(range(6))

    run_virtual(main())


def test_a_newcomer_does_not_slip_in_before_who_is_paced_already() -> None:
    limit = Limit(name="burst", requests=10, per=10.0, pace=Pace(burst=1, rate=1.0))

    async def main() -> None:
        gate = Gate([limit])
        tasks = list[asyncio.Task[None]]()
        asyncio.get_running_loop().call_at(1.0, lambda: tasks.append(gate.sending(2)))
        tasks += [gate.sending(0), gate.sending(1)]
        await asyncio.sleep(2.5)
        assert gate.went == [(0, 0.0), (1, 1.0), (2, 2.0)]
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_a_pacer_is_remembered_while_it_matters() -> None:
    limit = Limit(name="burst", requests=2, per=1.0, pace=Pace(burst=1, rate=0.001))

    async def main() -> None:
        gate = Gate([limit])
        for number in range(1025):
            await gate.send(request(credential=f"c{number}"))
        await asyncio.sleep(10.0)
        await gate.send(request(credential="c0", ticket=1))
        assert gate.went[-1] == (1, 1000.0)

    run_virtual(main())


def test_who_leaves_while_it_is_paced_gives_its_slot_back() -> None:
    limit = Limit(name="burst", requests=2, per=10.0, pace=Pace(burst=1, rate=1.0))

    async def main() -> None:
        gate = Gate([limit])
        first, second = gate.sending(0), gate.sending(1)
        await asyncio.sleep(0.5)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert second.cancelled()
        assert gate.went == [(0, 0.0)]
        assert [one.remaining for one in gate.ledger.lanes()] == [1]

    run_virtual(main())


def test_pacers_and_windows_of_idle_credentials_are_forgotten() -> None:
    limit = Limit(
        name="burst", requests=2, per=1.0, match=Match(anonymous=False), pace=Pace(burst=1, rate=50.0)
    )

    async def main() -> None:
        gate = Gate([limit])
        for number in range(3000):
            await gate.send(request(ticket=number, credential=f"c{number}"))
            await asyncio.sleep(0.1)
            assert number >= 1024 or len(gate.pacing) == number + 1, "a few are not worth a clearing up"
        assert len(gate.pacing) <= 1024
        assert len(list(gate.ledger.lanes())) <= 1024

    run_virtual(main())


def test_closing_refuses_who_waits_and_who_comes() -> None:
    async def main() -> None:
        gate = Gate([INFERENCE])
        tasks = [gate.sending(ticket, target=INVOKE) for ticket in range(3)]
        await asyncio.sleep(0.5)
        await gate.admission.close()
        for refused in (tasks[2], gate.admit(request(ticket=9))):
            with pytest.raises(ShuttingDown) as refusal:
                await refused
            assert refusal.value.retry_after == 1
        await asyncio.gather(*tasks[:2])
        assert repr(gate.admission) == "<Admission <Line 0 waiting in 0 files, parked at {}>>"

    run_virtual(main())


def test_closing_an_admission_that_never_had_to_wait_is_nothing() -> None:
    async def main() -> None:
        await Gate([STANDARD]).admission.close()

    run_virtual(main())


KINDS = ["/api/v1/x/", INVOKE, "/api/v1/uploads/"]


def seconds(low: int, high: int) -> st.SearchStrategy[float]:
    """Draw times whose sums are exact, so that the upstream's count needs no tolerance."""
    return st.integers(low * 1024, high * 1024).map(lambda ticks: ticks / 1024)


arrivals = st.lists(
    st.tuples(
        seconds(0, 4),  # until the next request comes
        st.sampled_from(KINDS),
        st.sampled_from(["team", "other"]),
        seconds(0, 1),  # until it arrives upstream
        seconds(0, 3),  # until it is answered
        st.one_of(st.none(), seconds(0, 20)),  # when its client leaves
        seconds(1, 40),  # how long it would wait
    ),
    min_size=1,
    max_size=40,
)
LIMITS = [STANDARD, BURST, INFERENCE, UPLOADS]


@settings(max_examples=300)
@given(plan=arrivals)
def test_no_window_overflows_nothing_is_lost_and_like_requests_keep_their_order(
    plan: list[tuple[float, str, str, float, float, float | None, float]],
) -> None:
    """For any arrivals, latencies, cancellations and deadlines; the upstream counts on arrival."""

    async def main() -> None:
        gate = Gate(LIMITS)
        upstreams = {name: ThrottledUpstream(LIMITS) for name in ("team", "other")}
        ended: dict[int, str] = {}

        async def client(made: Request, up: float, work: float) -> None:
            ended[made.ticket] = "left"
            try:
                turn = await gate.admit(made)
            except Refusal as refusal:
                ended[made.ticket] = refusal.code
                return
            upstream = upstreams[made.credential or ""]
            upstream.up, upstream.work = lambda: up, lambda: work
            try:
                await upstream.send(made, turn)
                await turn.answered()
                ended[made.ticket] = "answered"
            finally:
                await turn.end()

        tasks = []
        for ticket, (gap, target, credential, up, work, leaves, patience) in enumerate(plan):
            await asyncio.sleep(gap)
            made = request(
                target=target, credential=credential, ticket=ticket, deadline=gate.clock.now() + patience
            )
            task = asyncio.create_task(client(made, up, work))
            tasks.append(task)
            if leaves is not None:
                asyncio.get_running_loop().call_later(leaves, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        left = {ticket for ticket, (*_, leaves, _) in enumerate(plan) if leaves is not None}

        assert all(upstream.refused == 0 for upstream in upstreams.values())
        assert all(upstream.peak[KINDS[2]] <= 2 for upstream in upstreams.values())
        assert len(ended) == len(plan)
        assert {ticket for ticket, how in ended.items() if how == "left"} <= left
        assert len(gate.admission.line) == 0
        for _, kind, credential, *_ in plan:
            tickets = [t for t, _ in gate.went if plan[t][1:3] == (kind, credential)]
            assert tickets == sorted(tickets)
        await asyncio.sleep(60.0)
        assert all(one.remaining == gate.table.by_name[one.lane.limit].size for one in gate.ledger.lanes())

    run_virtual(main())


def test_who_waits_is_shown_by_caller_with_when_they_go() -> None:
    async def main() -> None:
        gate = Gate([STANDARD])
        await asyncio.gather(*(gate.sending(ticket) for ticket in range(5)))
        made = [
            request(target="/api/v1/x/", ticket=ticket, caller=caller)
            for ticket, caller in enumerate(["ci", *["nightly"] * 6], 5)
        ]
        tasks = [asyncio.create_task(gate.send(one)) for one in made]
        await asyncio.sleep(1.0)
        nightly, ci = gate.admission.callers()
        assert (nightly.caller, nightly.queued, nightly.first, nightly.last) == ("nightly", 6, 5.0, 11.0)
        assert (ci.caller, ci.queued, ci.first, ci.last) == ("ci", 1, 5.0, 5.0)
        assert ci.credential == made[0].credential
        await asyncio.gather(*tasks)
        assert gate.admission.callers() == ()

    run_virtual(main())
