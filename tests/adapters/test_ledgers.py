"""What every ledger promises, wherever it keeps its count: one suite, unchanged, over each of them."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from proxy.adapters.local_ledger import LocalLedger
from proxy.policy.feedback import Quota
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.turn import NOTHING, Busy, Grant, Ledger, News
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import BURST, INFERENCE, STANDARD, UPLOADS, jitter
from tests.servers import StoreServer
from tests.stores import VirtualStore, replica

Test = Callable[[Ledger], Awaitable[None]]

TABLE = LimitTable([STANDARD.model_copy(update={"floor": 2, "ceiling": 9}), BURST, INFERENCE, UPLOADS])
PLAIN = (Lane("standard", "team"),)
BOTH = (Lane("standard", "team"), Lane("inference", "team"))
UPLOAD = (Lane("uploads", "team"),)
OTHER = (Lane("standard", "other"),)
WITHIN = 0.05
"""Seconds by which a time may be later where it goes over a network."""

ROUNDED = 1e-6
"""Seconds to which times since 1970 are written down."""


@pytest.fixture(params=["local", "store", "store over a network"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a test in virtual time, before a ledger of each kind; with `probe`, nothing is known at first."""
    kind = request.param

    @asynccontextmanager
    async def ledger(probe: bool) -> AsyncIterator[Ledger]:
        clock = VirtualClock()
        if kind == "local":
            yield LocalLedger(TABLE, clock, transit=1.0, clock_drift=0.0, probe=probe)
            return
        server: StoreServer = request.getfixturevalue("valkey")
        way = jitter(0.0005, 0.003, 1) if kind == "store over a network" else lambda: 0.0
        store = VirtualStore(server.url, way)
        shared = replica(store, TABLE, clock, "me", probe=probe, assumed=1)

        async def tend() -> None:
            while True:
                await asyncio.sleep(0.1)
                await shared.tend()

        tending = asyncio.create_task(tend())
        try:
            yield shared
        finally:
            tending.cancel()
            await shared.close()
            store.close()

    def run(test: Test, *, probe: bool = False) -> None:
        async def main() -> None:
            async with ledger(probe) as made:
                await test(made)

        run_virtual(main())

    return run


async def granted(ledger: Ledger, lanes: Lanes) -> Grant:
    outcome = await ledger.take(lanes)
    assert not isinstance(outcome, Busy), outcome
    return outcome


async def busy(ledger: Ledger, lanes: Lanes) -> Busy:
    outcome = await ledger.take(lanes)
    assert isinstance(outcome, Busy), outcome
    return outcome


async def sent(ledger: Ledger, lanes: Lanes) -> Grant:
    """Take, and send."""
    grant = await granted(ledger, lanes)
    ledger.began(grant)
    ledger.sent(grant)
    return grant


async def done(ledger: Ledger, lanes: Lanes, news: News = NOTHING) -> None:
    grant = await sent(ledger, lanes)
    await ledger.settle(grant, news)
    await ledger.release(grant)


async def patient(ledger: Ledger, lanes: Lanes, *, at_most: float) -> tuple[Grant, float]:
    """Ask again whenever it was said that there may be room; return the grant, and when it came."""
    clock, woken = VirtualClock(), asyncio.Event()
    ledger.on_freed(lambda lanes: woken.set())
    until = clock.now() + at_most
    while clock.now() <= until:
        woken.clear()
        outcome = await ledger.take(lanes)
        if not isinstance(outcome, Busy):
            return outcome, clock.now()
        wait = max(0.0, min(outcome.at, until + 1) - clock.now())
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await woken.wait()
    raise AssertionError("no grant in time")


def test_a_window_holds_its_size_and_no_more(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        for _ in range(5):
            await done(ledger, PLAIN)
        settled = VirtualClock().now()
        answer = await busy(ledger, PLAIN)
        assert answer.lane == PLAIN[0]
        _, at = await patient(ledger, PLAIN, at_most=7.0)
        assert 6.0 - ROUNDED <= at <= settled + 6.0 + WITHIN

    run(test)


def test_what_is_sent_comes_back_without_an_answer(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        for _ in range(5):
            await sent(ledger, PLAIN)
        _, at = await patient(ledger, PLAIN, at_most=10.0)
        assert 7.0 <= round(at, 6) <= 7.0 + 0.5

    run(test)


def test_a_slot_is_taken_in_all_lanes_or_in_none(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        for _ in range(2):
            await done(ledger, BOTH)
        for _ in range(3):
            assert (await busy(ledger, BOTH)).lane.limit == "inference"
        for _ in range(3):
            await done(ledger, PLAIN)
        assert (await busy(ledger, PLAIN)).lane.limit == "standard"

    run(test)


def test_what_was_not_written_is_given_back_at_once(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        freed: list[Lanes] = []
        grants = [await granted(ledger, PLAIN) for _ in range(5)]
        await busy(ledger, PLAIN)
        ledger.on_freed(freed.append)
        await ledger.refund(grants[0])
        await ledger.refund(grants[0])
        assert any(PLAIN[0] in lanes for lanes in freed)
        await granted(ledger, PLAIN)
        await busy(ledger, PLAIN)

    run(test)


def test_to_note_the_same_twice_changes_nothing(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        grant = await sent(ledger, PLAIN)
        await asyncio.sleep(0.5)
        await ledger.settle(grant, NOTHING)
        await asyncio.sleep(3.0)
        ledger.sent(grant)
        await ledger.settle(grant, NOTHING)
        await ledger.release(grant)
        await ledger.release(grant)
        for _ in range(4):
            await done(ledger, PLAIN)
        _, at = await patient(ledger, PLAIN, at_most=7.0)
        assert 6.5 - ROUNDED <= at <= 6.5 + WITHIN

    run(test)


def test_at_once_is_held_until_the_exchange_is_over(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        first, _ = [await sent(ledger, UPLOAD) for _ in range(2)]
        await ledger.settle(first, NOTHING)
        await asyncio.sleep(20.0)
        assert (await busy(ledger, UPLOAD)).lane == UPLOAD[0]
        waiting = asyncio.create_task(patient(ledger, UPLOAD, at_most=5.0))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        before = VirtualClock().now()
        await ledger.release(first)
        _, at = await waiting
        assert at <= before + WITHIN

    run(test)


def test_a_pause_holds_everybody_and_is_not_shortened(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        await done(ledger, PLAIN)
        before = VirtualClock().now()
        await ledger.pause(PLAIN[0], 4.0)
        await ledger.pause(PLAIN[0], 1.0)
        await granted(ledger, OTHER)
        assert (await busy(ledger, PLAIN)).lane == PLAIN[0]
        _, at = await patient(ledger, PLAIN, at_most=6.0)
        assert before + 4.0 <= at <= before + 4.0 + WITHIN

    run(test)


def test_after_a_pause_one_goes_and_then_the_others(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        await done(ledger, PLAIN)
        await ledger.pause(PLAIN[0], 1.0)
        probe, _ = await patient(ledger, PLAIN, at_most=3.0)
        ledger.began(probe)
        await busy(ledger, PLAIN)
        ledger.sent(probe)
        await ledger.settle(probe, NOTHING)
        await granted(ledger, PLAIN)
        await granted(ledger, PLAIN)
        await busy(ledger, PLAIN)

    run(test)


def test_a_refusal_pauses_the_lane_and_costs_no_slot(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        grant = await sent(ledger, BOTH)
        before = VirtualClock().now()
        learned = await ledger.settle(grant, News(refused=BOTH[1], pause=3.0, longest=60.0))
        assert learned.paused == pytest.approx(3.0, abs=WITHIN)
        await ledger.release(grant)
        (state,) = (one for one in ledger.lanes() if one.lane == BOTH[1])
        assert state.paused > 2.9
        await granted(ledger, PLAIN)
        _, at = await patient(ledger, BOTH, at_most=5.0)
        assert before + 3.0 <= at <= before + 3.0 + WITHIN
        assert ledger.outlook(BOTH[1]).ready() < math.inf

    run(test)


def test_a_pause_begins_once_and_is_over_when_one_that_began_after_it_is_not_refused(
    run: Callable[..., None],
) -> None:
    async def test(ledger: Ledger) -> None:
        refused = News(refused=PLAIN[0], pause=1.0, longest=60.0)
        first, second, third = [await sent(ledger, PLAIN) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert (await ledger.settle(first, refused)).anew
        assert not (await ledger.settle(second, refused)).anew
        assert (await ledger.settle(third, NOTHING)).resumed == ()
        probe, _ = await patient(ledger, PLAIN, at_most=3.0)
        ledger.began(probe)
        ledger.sent(probe)
        assert (await ledger.settle(probe, refused)).anew
        probe, _ = await patient(ledger, PLAIN, at_most=6.0)
        ledger.began(probe)
        ledger.sent(probe)
        assert (await ledger.settle(probe, NOTHING)).resumed == PLAIN
        assert (await ledger.settle(await sent(ledger, PLAIN), NOTHING)).resumed == ()

    run(test)


def test_what_the_api_says_moves_the_size(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        grant = await sent(ledger, PLAIN)
        await asyncio.sleep(0.01)
        learned = await ledger.settle(grant, News(((PLAIN[0], Quota(3, 2)),)))
        assert learned.moved == ((PLAIN[0], 3),)
        assert ledger.capacity(PLAIN[0]) == 3
        await done(ledger, PLAIN)
        await done(ledger, PLAIN)
        await busy(ledger, PLAIN)

    run(test)


def test_what_the_api_counts_beyond_ours_is_others(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        grant = await sent(ledger, PLAIN)
        await asyncio.sleep(0.01)
        learned = await ledger.settle(grant, News(((PLAIN[0], Quota(5, 1)),)))
        assert learned.foreign == ((PLAIN[0], 3),)
        await done(ledger, PLAIN)
        await busy(ledger, PLAIN)
        (state,) = (one for one in ledger.lanes() if one.lane == PLAIN[0])
        assert (state.capacity, state.remaining, state.foreign) == (5, 0, 3)

    run(test)


def test_at_a_start_one_goes_first(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        probe = await granted(ledger, PLAIN)
        await busy(ledger, PLAIN)
        waiting = asyncio.create_task(patient(ledger, PLAIN, at_most=5.0))
        await asyncio.sleep(0.2)
        ledger.began(probe)
        ledger.sent(probe)
        await ledger.settle(probe, NOTHING)
        _, at = await waiting
        assert at <= 0.2 + WITHIN
        await granted(ledger, PLAIN)

    run(test, probe=True)


def test_keys_have_nothing_to_do_with_each_other(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        for _ in range(5):
            await done(ledger, PLAIN)
        await busy(ledger, PLAIN)
        await granted(ledger, OTHER)
        await busy(ledger, (*OTHER, *PLAIN))
        for _ in range(4):
            await granted(ledger, OTHER)
        await busy(ledger, OTHER)

    run(test)


def test_nothing_is_refused_that_falls_under_no_limit(run: Callable[..., None]) -> None:
    async def test(ledger: Ledger) -> None:
        await done(ledger, ())
        assert not ledger.is_broken(())
        assert not ledger.probes(await granted(ledger, ()))

    run(test)
