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

    @classmethod
    def of(
        cls,
        limits: Iterable[Limit],
        lanes: Iterable[tuple[str, int, int, int, float]],
        waiting: Iterable[tuple[str, int]],
        breakers: Iterable[tuple[str, str, bool]],
        *,
        in_flight: int,
        queued: int,
        draining: bool,
        ledger_up: bool = True,
        replicas: int = 1,
    ) -> Self:
        """Sum up over all credentials, the worst of which is shown.

        `lanes` are, of each by the name of its limit, its size, what is left, what others have of it, and for
        how long it is paused (seconds); `waiting` is how many of each wait for it; `breakers` are of groups.
        """
        sizes: dict[str, int] = {}
        left: dict[str, int] = {}
        others: dict[str, int] = {}
        paused: dict[str, float] = {}
        for name, capacity, remaining, foreign, pause in lanes:
            sizes[name] = min(capacity, sizes.get(name, capacity))
            left[name] = min(remaining, left.get(name, remaining))
            others[name] = max(foreign, others.get(name, 0))
            paused[name] = max(pause, paused.get(name, 0.0))
        depths: dict[str, int] = {}
        for name, count in waiting:
            depths[name] = depths.get(name, 0) + count
        states = tuple(
            LimitState(
                name=limit.name,
                capacity=sizes.get(limit.name, limit.size),
                window=limit.per or 0.0,
                reserve=limit.reserve,
                remaining=left.get(limit.name, limit.size - limit.reserve),
                foreign=others.get(limit.name, 0),
                queued=depths.get(limit.name, 0),
                paused=paused.get(limit.name, 0.0) > 0,
            )
            for limit in limits
        )
        pauses = {name: round(seconds, 3) for name, seconds in paused.items() if seconds > 0}
        return cls(
            limits=states,
            in_flight=in_flight,
            queued=queued,
            draining=draining,
            pauses=pauses,
            breakers=tuple(BreakerState(*breaker) for breaker in breakers),
            ledger_up=ledger_up,
            replicas=replicas,
        )
