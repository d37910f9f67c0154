"""Something that is done once a second, for as long as the proxy runs."""

import asyncio
from collections.abc import Callable

_EVERY = 1.0


class Pulse:
    """Call `beat` each second, on the event loop."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._next: asyncio.TimerHandle | None = None
        self._at = 0.0

    def start(self) -> None:
        """Begin; seconds that the loop missed are made up for, so that none is left out."""
        self._at = asyncio.get_running_loop().time()
        self._wait()

    def _wait(self) -> None:
        self._at += _EVERY
        self._next = asyncio.get_running_loop().call_at(self._at, self._due)

    def _due(self) -> None:
        self._beat()
        self._wait()

    def stop(self) -> None:
        """Call it no more."""
        if self._next is not None:
            self._next.cancel()
