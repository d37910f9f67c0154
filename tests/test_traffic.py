"""Who is being answered is counted, and can be waited for or cut off."""

import asyncio

import pytest

from proxy.traffic import Retiring, Traffic


async def answers(traffic: Traffic, gate: asyncio.Event) -> None:
    with traffic.passing():
        await gate.wait()


async def test_those_who_are_being_answered_are_counted_until_the_last_one_is() -> None:
    traffic, gate = Traffic(), asyncio.Event()
    tasks = [asyncio.create_task(answers(traffic, gate)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (len(traffic), traffic.idle.is_set()) == (3, False)
    gate.set()
    await asyncio.gather(*tasks)
    assert (len(traffic), traffic.idle.is_set()) == (0, True)


async def test_those_who_are_here_are_waited_for_and_those_who_come_later_are_not() -> None:
    traffic, first, second = Traffic(), asyncio.Event(), asyncio.Event()
    await traffic.those_here_have_left()
    early = asyncio.create_task(answers(traffic, first))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(traffic.those_here_have_left())
    await asyncio.sleep(0)
    late = asyncio.create_task(answers(traffic, second))
    await asyncio.sleep(0)
    first.set()
    await asyncio.gather(early, waiting)
    assert len(traffic) == 1
    second.set()
    await late


async def test_to_cut_off_ends_everybody() -> None:
    traffic = Traffic()
    tasks = [asyncio.create_task(answers(traffic, asyncio.Event())) for _ in range(3)]
    await asyncio.sleep(0)
    traffic.cut_off()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    assert traffic.cutting


@pytest.mark.parametrize("in_time", [True, False])
async def test_what_those_who_are_here_use_is_closed_when_they_have_left_or_at_the_end(in_time: bool) -> None:
    traffic, gate, closed = Traffic(), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(answers(traffic, gate))
    await asyncio.sleep(0)

    async def close() -> None:
        closed.set()

    retiring = Retiring(traffic)
    retiring.retire(close)
    await asyncio.sleep(0)
    assert not closed.is_set()
    if in_time:
        gate.set()
        await closed.wait()
    await retiring.end()
    assert closed.is_set()
    gate.set()
    await task
