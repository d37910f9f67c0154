"""What is typed: the only keys that mean something are those by which one leaves."""

import re
from collections.abc import Callable
from typing import Protocol

_SEQUENCE = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~]|[^\x1b\[O])")
"""What a keyboard sends for arrows and the like (ECMA-48 section 5.4), and for a key together with Alt."""
_SOON = 0.05
"""Seconds within which the rest of such a sequence comes: an Esc that stays alone is the key itself."""


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> object:
        """Let it not happen."""


class Keys:
    """Call `leave` on `q` and Esc; `later` calls a function after so many seconds."""

    def __init__(
        self, leave: Callable[[], object], later: Callable[[float, Callable[[], object]], Timer]
    ) -> None:
        self._leave = leave
        self._later = later
        self._begun = b""
        self._timer: Timer | None = None

    def typed(self, data: bytes) -> None:
        """Take what was read."""
        if self._timer is not None:
            self._timer.cancel()
        rest = _SEQUENCE.sub(b"", self._begun + data)
        self._begun = rest[rest.index(b"\x1b") :] if b"\x1b" in rest else b""
        if b"q" in rest.lower():
            self._leave()
        elif self._begun:
            self._timer = self._later(_SOON, self._leave)
