"""What the proxy is doing now, as plain values: a snapshot for the metrics page and the admin listener.

Nothing here is kept up to date. Whoever holds the truth makes one of these on the event loop when asked;
being frozen, it may then be read in any thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
