"""What the proxy does and did lately, all in one object: the content of `/status` and of the live page.

The only place that puts it together. The fields are those of `state`, `recent` and `policy.verdict`.
"""

from collections.abc import Callable
from dataclasses import asdict

from proxy.clock import Clock
from proxy.policy.verdict import verdict
from proxy.recent import Recent
from proxy.state import CallerState, State


class Overview:
    """Look at everything at once; the functions are called on the event loop."""

    def __init__(
        self,
        *,
        version: str,
        clock: Clock,
        ready: Callable[[], tuple[bool, str]],
        state: Callable[[], State],
        callers: Callable[[], tuple[CallerState, ...]],
        recent: Callable[[], Recent],
    ) -> None:
        self._version = version
        self._clock = clock
        self._started = clock.now()
        self._ready = ready
        self._state = state
        self._callers = callers
        self._recent = recent

    def now(self) -> dict[str, object]:
        """Return all of it, as JSON has it."""
        ready, reason = self._ready()
        state, callers, recent = self._state(), self._callers(), self._recent()
        return {
            "version": self._version,
            "uptime": round(self._clock.now() - self._started, 3),
            "now": round(self._clock.wall(), 3),
            "ready": ready,
            "reason": reason,
            "verdict": asdict(verdict((ready, reason), state, callers, recent)),
            "state": asdict(state),
            "callers": [asdict(one) for one in callers],
            "recent": asdict(recent),
        }
