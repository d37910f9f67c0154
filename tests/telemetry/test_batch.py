"""Note-takers are told a little later of what happens to requests, and as if it were at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy.errors import ErrorClass
from proxy.events import Admitted, Event, LifecycleChanged, LimitPaused, Rejected
from proxy.telemetry.batch import DELAY, ENOUGH, Batch, Moment
from proxy.virtual import VirtualClock, run_virtual

REFUSED = Rejected("other", ErrorClass.QUEUE_FULL)
DRAINING = LifecycleChanged("draining", "")


class Notes:
    """Who notes what it is told, and when; it hears of refusals and of the process."""

    def __init__(self) -> None:
        self.trace: str | None = None
        self.complaints = list[str]()
        self.moment = Moment(VirtualClock(), lambda: self.trace)
        self.taken = list[tuple[Event, float, float, str | None]]()
        self.told_at = list[float]()
        self.hears: dict[type, Callable[[Any], None]] = {Rejected: self.take, LifecycleChanged: self.take}

    def take(self, event: Event) -> None:
        moment = self.moment
        self.told_at.append(VirtualClock().now())
        self.taken.append((event, moment.now(), moment.wall() - VirtualClock.epoch, moment.trace_id()))

    def batch(self) -> Batch:
        return Batch(self.moment, self, complain=self.complaints.append)


def notes_of(life: Callable[[Notes, Callable[[Event], None]], Coroutine[Any, Any, None]]) -> Notes:
    """Let events happen while a batch is on; return what was noted."""
    notes = Notes()

    async def whole() -> None:
        batch = notes.batch()
        batch.start()
        await life(notes, lambda event: batch.hears[type(event)](event))
        batch.close()

    run_virtual(whole())
    return notes


def test_what_happens_to_requests_is_told_together_and_each_as_of_its_moment() -> None:
    async def life(notes: Notes, tell: Callable[[Event], None]) -> None:
        await asyncio.sleep(10)
        notes.trace = "first"
        tell(REFUSED)
        await asyncio.sleep(DELAY / 2)
        notes.trace = "second"
        tell(REFUSED)
        notes.trace = None
        assert notes.taken == []
        await asyncio.sleep(DELAY)
        assert len(notes.taken) == 2
        await asyncio.sleep(10)
        tell(REFUSED)
        await asyncio.sleep(2 * DELAY)

    notes = notes_of(life)
    _, now, wall, trace = zip(*notes.taken, strict=True)
    for times in (now, wall):
        assert times == pytest.approx((10.0, 10 + DELAY / 2, 20 + 1.5 * DELAY), abs=1e-6)
    assert trace == ("first", "second", None)
    assert notes.told_at == pytest.approx([10 + DELAY, 10 + DELAY, 20 + 2.5 * DELAY])


def test_what_is_rare_is_told_at_once_and_takes_along_what_waits() -> None:
    async def life(notes: Notes, tell: Callable[[Event], None]) -> None:
        tell(REFUSED)
        await asyncio.sleep(DELAY / 2)
        tell(DRAINING)
        assert [(event, now) for event, now, _, _ in notes.taken] == [(REFUSED, 0.0), (DRAINING, DELAY / 2)]
        await asyncio.sleep(1)
        assert len(notes.taken) == 2

    notes_of(life)


def test_many_are_not_kept_waiting() -> None:
    async def life(notes: Notes, tell: Callable[[Event], None]) -> None:
        for _ in range(ENOUGH + 1):
            tell(REFUSED)
        assert notes.taken == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(notes.taken) == ENOUGH + 1
        await asyncio.sleep(2 * DELAY)
        assert notes.told_at == [0.0] * (ENOUGH + 1)

    notes_of(life)


def test_what_waits_at_the_end_is_told_and_afterwards_all_is_told_at_once() -> None:
    notes = Notes()

    async def life() -> None:
        batch = notes.batch()
        batch.hears[Rejected](REFUSED)
        assert len(notes.taken) == 1, "it has not started"
        batch.start()
        batch.hears[Rejected](REFUSED)
        assert len(notes.taken) == 1
        batch.close()
        assert len(notes.taken) == 2
        batch.hears[Rejected](REFUSED)
        assert len(notes.taken) == 3

    run_virtual(life())


def test_it_hears_of_what_its_listeners_hear_of() -> None:
    assert Notes().batch().hears.keys() == {Rejected, LifecycleChanged}
    assert not {Admitted, LimitPaused} & Notes().batch().hears.keys()


def test_a_listener_that_fails_is_reported_and_harms_nobody() -> None:
    class Broken:
        def __init__(self) -> None:
            self.hears: dict[type, Callable[[Any], None]] = {Rejected: self.fail}

        def fail(self, event: Event) -> None:
            raise ZeroDivisionError

    notes = Notes()

    async def life() -> None:
        batch = Batch(notes.moment, Broken(), notes, complain=notes.complaints.append)
        batch.start()
        for _ in range(3):
            batch.hears[Rejected](REFUSED)
        batch.flush()

    run_virtual(life())
    assert len(notes.taken) == 3
    assert len(notes.complaints) == 1
    assert "ZeroDivisionError" in notes.complaints[0]
