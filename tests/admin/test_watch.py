"""What all who watch are shown, each second: in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy.admin.watch import MOST, PATIENCE, Full, Look, Watch
from proxy.virtual import VirtualClock, run_virtual

Write = Callable[[bytes], Awaitable[None]]


class World:
    """A watch, and what it looks at: the number of the look."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.looked: list[float] = []
        self.configuration = b"{c}"
        self.watch = Watch(self._look, clock=self.clock, sleep=asyncio.sleep)

    def _look(self) -> Look:
        self.looked.append(self.clock.now())
        return Look(b"%d" % len(self.looked), self.configuration)

    async def watches(self, write: Write) -> None:
        with self.watch.place():
            await self.watch.show(write)


class Watcher:
    """Somebody who keeps what they are shown, and when; each time it takes so many seconds."""

    def __init__(self, world: World, takes: float = 0.0) -> None:
        self.clock = world.clock
        self.takes = takes
        self.shown: list[tuple[float, bytes]] = []
        self.task = asyncio.ensure_future(world.watches(self.write))

    async def write(self, told: bytes) -> None:
        self.shown.append((round(self.clock.now(), 3), told))
        await asyncio.sleep(self.takes)

    async def leaves(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_there_is_one_look_a_second_for_all_and_one_at_once() -> None:
    async def main() -> None:
        world = World()
        early = Watcher(world)
        await asyncio.sleep(0.5)
        late = Watcher(world)
        await asyncio.sleep(2)
        assert early.shown == [(0, b"{c}1"), (1, b"2"), (2, b"3")]
        assert late.shown == [(0.5, b"{c}1"), (1, b"2"), (2, b"3")]
        assert world.looked == [0, 1, 2]
        assert repr(world.watch) == "<Watch of 2>"

    run_virtual(main())


def test_nothing_is_looked_at_while_nobody_watches() -> None:
    async def main() -> None:
        world = World()
        await asyncio.sleep(60)
        assert world.looked == []
        first = Watcher(world)
        await asyncio.sleep(1.5)
        await first.leaves()
        await asyncio.sleep(60)
        assert world.looked == [60, 61]
        again = Watcher(world)
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert again.shown == [(121.5, b"{c}3")]

    run_virtual(main())


def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    async def main() -> None:
        world = World()
        one, other = Watcher(world), Watcher(world)
        await asyncio.sleep(0.5)
        await one.leaves()
        await asyncio.sleep(1)
        assert [told for _, told in other.shown] == [b"{c}1", b"2"]

    run_virtual(main())


def test_one_who_comes_when_the_last_one_leaves_is_shown_the_same_look() -> None:
    async def main() -> None:
        world = World()
        gone = Watcher(world)
        await asyncio.sleep(0.5)
        await gone.leaves()
        here = Watcher(world)
        await asyncio.sleep(1)
        assert [told for _, told in here.shown] == [b"{c}1", b"2"]
        assert world.looked == [0, 1]

    run_virtual(main())


def test_the_configuration_is_told_again_when_it_has_changed() -> None:
    async def main() -> None:
        world = World()
        watcher = Watcher(world)
        await asyncio.sleep(0.5)
        world.configuration = b"{d}"
        await asyncio.sleep(2)
        assert [told for _, told in watcher.shown] == [b"{c}1", b"{d}2", b"3"]

    run_virtual(main())


def test_who_is_slow_misses_what_came_meanwhile_and_keeps_nobody_waiting() -> None:
    async def main() -> None:
        world = World()
        slow, quick = Watcher(world, takes=2.5), Watcher(world)
        await asyncio.sleep(5.1)
        assert slow.shown == [(0, b"{c}1"), (2.5, b"3"), (5, b"6")]
        assert [told for _, told in quick.shown] == [b"{c}1", b"2", b"3", b"4", b"5", b"6"]

    run_virtual(main())


def test_who_takes_nothing_has_to_go() -> None:
    async def main() -> None:
        world = World()
        stuck = Watcher(world, takes=60)
        with pytest.raises(TimeoutError):
            await stuck.task
        assert world.clock.now() == pytest.approx(PATIENCE)
        assert repr(world.watch) == "<Watch of 0>"

    run_virtual(main())


def test_no_more_watch_than_may_until_one_leaves() -> None:
    async def main() -> None:
        world = World()
        watchers = [Watcher(world) for _ in range(MOST)]
        await asyncio.sleep(0.1)
        with pytest.raises(Full):
            await world.watches(watchers[0].write)
        await watchers[0].leaves()
        late = Watcher(world)
        await asyncio.sleep(0.1)
        assert late.shown

    run_virtual(main())


def test_when_it_closes_all_go_at_once_those_too_who_take_nothing() -> None:
    async def main() -> None:
        world = World()
        waiting, stuck = Watcher(world), Watcher(world, takes=60)
        await asyncio.sleep(0.5)
        world.watch.close()
        await waiting.task
        with pytest.raises(TimeoutError):
            await stuck.task
        assert world.clock.now() == pytest.approx(0.5)
        await world.watches(waiting.write)  # returns at once
        assert len(waiting.shown) == 1

    run_virtual(main())


def test_who_is_being_cut_off_when_it_closes_is_cut_off_once() -> None:
    async def main() -> None:
        world = World()
        stuck = Watcher(world, takes=60)
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_at(PATIENCE, world.watch.close)
        with pytest.raises(TimeoutError):
            await stuck.task

    run_virtual(main())


def test_a_look_that_fails_ends_it_for_those_who_watch_and_is_tried_again_for_others() -> None:
    async def main() -> None:
        world = World()
        fail = [True]

        def look() -> Look:
            if fail.pop():
                raise ValueError("broken")
            return Look(b"1", b"")

        world.watch = Watch(look, clock=world.clock)
        one, other = Watcher(world), Watcher(world)
        for watcher in (one, other):
            with pytest.raises(ValueError, match="broken"):
                await watcher.task
        fail.append(False)
        late = Watcher(world)
        await asyncio.sleep(1.1)
        assert [told for _, told in late.shown] == [b"1"]
        await late.leaves()

    run_virtual(main())
