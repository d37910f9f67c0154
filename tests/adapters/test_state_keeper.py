"""The state file is written as soon as something was spent, and as often as costs little."""

import asyncio
from typing import cast

from proxy.adapters.state_file import Saved, StateFile
from proxy.adapters.state_keeper import StateKeeper
from proxy.policy.limits import Lane, Lanes
from proxy.virtual import VirtualClock, run_virtual


class File:
    """A state file that takes its time, on a clock that goes on only by that."""

    def __init__(self, cost: float = 0.0) -> None:
        self.cost = cost
        self.written: list[tuple[float, bytes]] = []
        self.closed = False
        self.added: list[tuple[float, Lanes, float]] = []

    def add(self, lanes: Lanes, counted_in: float) -> None:
        self.added.append((asyncio.get_running_loop().time(), lanes, counted_in))

    def save(self, saved: Saved) -> None:
        self.written.append((asyncio.get_running_loop().time(), saved.secret))

    def close(self) -> None:
        self.closed = True


class Slow(VirtualClock):
    """Time of which each second look costs something, as a writing lies before it."""

    def __init__(self, cost: float) -> None:
        self._cost = cost
        self._looks = 0

    def now(self) -> float:
        self._looks += 1
        return super().now() + self._cost * (self._looks // 2)


def keeper(file: File, clock: VirtualClock) -> StateKeeper:
    return StateKeeper(cast(StateFile, file), lambda: Saved(b"s" * 32, {}), clock)


def test_a_change_is_written_at_once_and_many_of_one_moment_together() -> None:
    file = File()

    async def main() -> None:
        keeping = keeper(file, VirtualClock())
        await asyncio.sleep(1.0)
        assert file.written == []
        for _ in range(5):
            keeping.changed()
        await asyncio.sleep(1.0)
        assert [at for at, _ in file.written] == [1.0]
        await keeping.close()

    run_virtual(main())


def test_what_is_taken_is_written_before_it_can_be_sent() -> None:
    file = File()

    async def main() -> None:
        keeping = keeper(file, VirtualClock())
        lanes = (Lane("standard", "team"),)
        keeping.taken(lanes, 1.0)
        assert [at for at, _ in file.written] == [0.0], "there was nothing yet to add it to"
        keeping.taken(lanes, 1.0)
        assert file.added == [(0.0, lanes, 1.0)]
        await asyncio.sleep(1.0)
        assert [at for at, _ in file.written] == [0.0, 0.0], "and then all together"
        await keeping.close()

    run_virtual(main())


def test_writing_takes_a_fiftieth_of_the_time_at_the_most() -> None:
    file = File()

    async def main() -> None:
        keeping = keeper(file, Slow(0.01))
        for _ in range(200):
            keeping.changed()
            await asyncio.sleep(0.01)
        assert 2 <= len(file.written) <= 5
        gaps = [later[0] - earlier[0] for earlier, later in zip(file.written, file.written[1:], strict=False)]
        assert min(gaps) >= 0.49
        await keeping.close()

    run_virtual(main())


def test_at_the_end_it_is_written_for_the_last_time_and_given_up() -> None:
    file = File()

    async def main() -> None:
        keeping = keeper(file, VirtualClock())
        await keeping.close()
        assert (len(file.written), file.closed) == (1, True)

    run_virtual(main())
