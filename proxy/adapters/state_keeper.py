"""Keeps the state file up to date: written as soon as something was spent, and as often as costs little."""

import asyncio
from collections.abc import Callable

from proxy.adapters.state_file import Saved, StateFile
from proxy.clock import Clock

_LEAST = 0.002
_SHARE = 50.0
"""Seconds, and multiples of what writing took, between two writings: a fiftieth of the processor."""


class StateKeeper:
    """Write what `saved` returns whenever it was `changed`."""

    def __init__(self, file: StateFile, saved: Callable[[], Saved], clock: Clock) -> None:
        self._file = file
        self._saved = saved
        self._clock = clock
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def changed(self) -> None:
        """Note that there is something new."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = self._clock.now()
            self._file.save(self._saved())
            await asyncio.sleep(max(_LEAST, _SHARE * (self._clock.now() - began)))

    async def close(self) -> None:
        """Write for the last time, and give the file up."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._file.save(self._saved())
        self._file.close()
