"""What the proxy is doing now, as plain values: a snapshot for the metrics page and the admin listener.

Nothing here is kept up to date. Whoever holds the truth makes one of these on the event loop when asked;
being frozen, it may then be read in any thread.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from proxy.config import Limit


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit: its size, what the credential with the least has left, and how many wait for it.

    `paused` while a refusal of the API holds everybody of some credential back.
    """

    name: str
    capacity: int
    remaining: int
    queued: int
    paused: bool


@dataclass(frozen=True, slots=True)
class State:
    """The whole proxy; `queued` requests wait in all, `pauses` are the seconds left by limit's name."""

    limits: tuple[LimitState, ...] = ()
    in_flight: int = 0
    queued: int = 0
    draining: bool = False
    pauses: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        limits: Iterable[Limit],
        lanes: Iterable[tuple[str, int, float]],
        waiting: Iterable[tuple[str, int]],
        *,
        in_flight: int,
        queued: int,
        draining: bool,
    ) -> Self:
        """Sum up over all credentials, the worst of which is shown.

        `lanes` are what each has left of a limit, by its name, and for how long it is paused (seconds);
        `waiting` is how many of each wait for it.
        """
        left: dict[str, int] = {}
        paused: dict[str, float] = {}
        for name, remaining, pause in lanes:
            left[name] = min(remaining, left.get(name, remaining))
            paused[name] = max(pause, paused.get(name, 0.0))
        depths: dict[str, int] = {}
        for name, count in waiting:
            depths[name] = depths.get(name, 0) + count
        states = tuple(
            LimitState(
                name=limit.name,
                capacity=limit.size,
                remaining=left.get(limit.name, limit.size),
                queued=depths.get(limit.name, 0),
                paused=paused.get(limit.name, 0.0) > 0,
            )
            for limit in limits
        )
        pauses = {name: round(seconds, 3) for name, seconds in paused.items() if seconds > 0}
        return cls(states, in_flight, queued, draining, pauses)
