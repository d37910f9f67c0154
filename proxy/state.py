"""What the proxy is doing now, as plain values: a snapshot for the metrics page and the admin listener.

Nothing here is kept up to date. Whoever holds the truth makes one of these on the event loop when asked;
being frozen, it may then be read in any thread.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.config import Limit


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit: its size as known, what the credential with the least has left, and how many wait for it.

    It is so large in any `window` of seconds (0: at once), of which a `reserve` is left to others. Of several
    credentials the smallest size is shown, and the most that `foreign` requests, those of others, take of it.
    `paused` while a refusal of the API holds everybody of some credential back.
    """

    name: str
    capacity: int
    window: float
    reserve: int
    remaining: int
    foreign: int
    queued: int
    paused: bool


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The breaker of a group of routes: `closed`, `open` or `half_open`; `forced` if opened by hand."""

    name: str
    state: str
    forced: bool


@dataclass(frozen=True, slots=True)
class CallerState:
    """One caller of a credential (its hash) that waits: how many requests, and in how many seconds the first
    and the last of them go, as far as that can be foreseen.
    """

    credential: str | None
    caller: str
    queued: int
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class State:
    """The whole proxy; `queued` requests wait in all, of `queue_size` that may; `pauses` are the seconds left
    by limit's name.

    So many `replicas` have a `shared` budget; `ledger_up` unless the store that it is shared through is gone.
    """

    limits: tuple[LimitState, ...] = ()
    in_flight: int = 0
    queued: int = 0
    queue_size: int = 0
    draining: bool = False
    pauses: Mapping[str, float] = field(default_factory=dict)
    breakers: tuple[BreakerState, ...] = ()
    ledger_up: bool = True
    replicas: int = 1
    shared: bool = False


class LaneUse(NamedTuple):
    """One lane in use: the name of its limit, its size, what is left, what others have of it, and for how
    long it is paused (seconds).
    """

    limit: str
    capacity: int
    remaining: int
    foreign: int
    paused: float


def limit_states(
    limits: Iterable[Limit], lanes: Iterable[LaneUse], waiting: Iterable[tuple[str, int]]
) -> tuple[LimitState, ...]:
    """Sum up over all credentials, the worst of which is shown; `waiting` is how many wait for a lane of
    which limit.
    """
    worst: dict[str, LaneUse] = {}
    for lane in lanes:
        worst[lane.limit] = _worse(lane, worst.get(lane.limit, lane))
    depths: dict[str, int] = {}
    for name, count in waiting:
        depths[name] = depths.get(name, 0) + count
    return tuple(
        _limit_state(
            limit,
            worst.get(limit.name, LaneUse(limit.name, limit.size, limit.size - limit.reserve, 0, 0.0)),
            depths.get(limit.name, 0),
        )
        for limit in limits
    )


def pauses(lanes: Iterable[LaneUse]) -> dict[str, float]:
    """Return the seconds for which each limit that is paused stays so."""
    longest: dict[str, float] = {}
    for lane in lanes:
        if lane.paused > 0:
            longest[lane.limit] = round(max(lane.paused, longest.get(lane.limit, 0.0)), 3)
    return longest


def _worse(one: LaneUse, other: LaneUse) -> LaneUse:
    return LaneUse(
        one.limit,
        min(one.capacity, other.capacity),
        min(one.remaining, other.remaining),
        max(one.foreign, other.foreign),
        max(one.paused, other.paused),
    )


def _limit_state(limit: Limit, use: LaneUse, queued: int) -> LimitState:
    return LimitState(
        name=limit.name,
        capacity=use.capacity,
        window=limit.per or 0.0,
        reserve=limit.reserve,
        remaining=use.remaining,
        foreign=use.foreign,
        queued=queued,
        paused=use.paused > 0,
    )
