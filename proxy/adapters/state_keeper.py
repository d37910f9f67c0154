"""Keeps the state file up to date: it knows of all that may have been sent, whenever the process ends."""

import asyncio
from collections.abc import Callable

from proxy.adapters.state_file import Saved, StateFile
from proxy.clock import Clock
from proxy.policy.limits import Lanes

_LEAST = 0.002
_SHARE = 50.0
"""Seconds, and multiples of what saving took, between two savings: a fiftieth of the processor."""


class StateKeeper:
    """Save what `saved` returns whenever it was `changed`; add what is `taken` before it can be sent."""

    def __init__(self, file: StateFile, saved: Callable[[], Saved], clock: Clock) -> None:
        self._file = file
        self._saved = saved
        self._clock = clock
        self._changed = asyncio.Event()
        self._begun = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def changed(self) -> None:
        """Note that there is something new."""
        self._changed.set()

    def taken(self, lanes: Lanes, counted_in: float) -> None:
        """Note what is taken; the upstream has counted it in so many seconds."""
        if self._begun:
            self._file.add(lanes, counted_in)
        else:
            self._save()
        self.changed()

    def _save(self) -> None:
        self._begun = True
        self._file.save(self._saved())

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = self._clock.now()
            self._save()
            await asyncio.sleep(max(_LEAST, _SHARE * (self._clock.now() - began)))

    async def close(self) -> None:
        """Write for the last time, and give the file up."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._file.save(self._saved())
        self._file.close()
