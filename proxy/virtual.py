"""An event loop whose time jumps when everybody waits, so that minutes take milliseconds.

Whatever waits on the loop (sleeps, timeouts, aiolimiter) becomes virtual. A program in which everybody
waits for ever is a failure, not a hang.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Float rounding can leave a timer a hair in the future for ever (aiolimiter, at some rates): each jump
# makes at least this many seconds, and so many rounds at one moment make one.
_TICK = 1e-7
_ROUNDS = 1000


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing will ever happen")
            self._rounds = 0 if timeout > 0 else self._rounds + 1
            if timeout > 0 or self._rounds > _ROUNDS:
                self.now += max(timeout, _TICK)
                self._rounds = 0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that never really waits."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that have passed, none of them really."""
        return self._jumping.now


class VirtualClock:
    """The proxy's clock on a virtual loop; the wall clock began at a date of its own."""

    epoch = 1_790_000_000.0

    def now(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Return seconds since 1970."""
        return self.epoch + self.now()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a new virtual loop, and cancel what is left over."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
