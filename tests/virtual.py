"""An event loop whose time jumps when everybody waits, so that tests of minutes take milliseconds.

Whatever waits on the loop (sleeps, timeouts, aiolimiter) becomes virtual. A program in which everybody
waits for ever is a failure, not a hang.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Float rounding can leave a timer a hair in the future for ever (aiolimiter, at some rates): each jump
# makes at least this many seconds.
_TICK = 1e-7


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            if timeout > 0:
                self.now += max(timeout, _TICK)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never really waits."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """The proxy's clock on a virtual loop; the wall clock began at a date of its own."""

    epoch = 1_790_000_000.0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return self.epoch + self.now()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a new virtual loop, and cancel what is left over."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
