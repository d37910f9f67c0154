"""The level of the log, shown and set while the proxy runs: what one path of the admin listener does.

It lasts until the next reload or start. Who may set it is decided as for everything that can be changed.
"""

import re
from collections.abc import Callable
from typing import get_args

from proxy.config import Level

LEVEL_PAGE = "/log"
LEVELS: tuple[Level, ...] = get_args(Level)

LEVEL_SET = re.compile(rf"{LEVEL_PAGE}/(?P<level>[^/]+)")


class LogLevel:
    """Show and set a level; `now` returns the one in force, `change` sets another."""

    def __init__(self, now: Callable[[], Level], change: Callable[[Level], None]) -> None:
        self._now = now
        self._change = change

    def shown(self) -> dict[str, str]:
        """Return the level in force, as it is answered."""
        return {"level": self._now()}

    def set(self, name: str) -> bool:
        """Set the level of this name; tell whether there is one."""
        for level in LEVELS:
            if level == name:
                self._change(level)
                return True
        return False
