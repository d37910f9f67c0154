"""What replicas write down for each other in the shared store, and what they ask it.

An entry is a JSON array: its id, its kind, a time by the store's clock, and what the kind needs. Entries are
never changed; to hear one twice, or in another order, changes nothing.

    t  limits           a slot was taken in each         f  take          refunded
    s  take, News       settled                          r  take          released
    n  take             sent; not answered yet           w  limit         waits for it
    p  limit, seconds   paused                           l                waits no more
    x  replica, among   was silent for its lease         b                is back
    c                   learned something by what it settled
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.policy.feedback import Quota
from proxy.policy.limits import Lane
from proxy.turn import News


def replica_of(id_: str) -> str:
    """Return who wrote the entry of that id."""
    return id_.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened; `rest` is what its kind needs."""

    id: str
    kind: str
    at: float
    rest: tuple[Any, ...] = ()

    @property
    def replica(self) -> str:
        """Who wrote it."""
        return replica_of(self.id)

    @classmethod
    def read(cls, payload: str) -> "Entry":
        """Read one."""
        id_, kind, at, *rest = json.loads(payload)
        return cls(id_, kind, at, tuple(rest))

    def payload(self) -> str:
        """Write it down; its id, kind and time stand first, where the script reads them."""
        return json.dumps([self.id, self.kind, round(self.at, 6), *self.rest], separators=(",", ":"))


@dataclass(slots=True)
class Writing:
    """An entry on its way to the store: when which slots come free by it ("": now), and whom to wake,
    as far as is known when that is asked. One that is `critical` makes what others know of room wrong.
    """

    entry: Entry
    critical: bool = False
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    wake: Callable[[], frozenset[str]] = frozenset
    number: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the store answers to a call."""

    status: str
    at: float
    now: float
    position: int
    last: str
    critical: int
    skew: str
    replicas: int
    lane: int
    entries: tuple[str, ...]

    @classmethod
    def read(cls, content: bytes) -> "Reply":
        """Read one. Raises ValueError on what is none."""
        status, at, now, position, last, critical, skew, replicas, lane, entries = json.loads(content)
        # An empty Lua table is written as an object.
        return cls(
            status, float(at), float(now), position, last, critical, skew, replicas, lane, tuple(entries)
        )


def write_news(news: News) -> list[Any]:
    """Write down what an answer said."""
    quotas = {lane.limit: [q.limit, q.remaining, q.reset_in, q.window] for lane, q in news.quotas}
    return [quotas, news.refused.limit if news.refused else None, news.pause, news.longest]


def read_news(written: list[Any], key: str) -> News:
    """Read what an answer said of the lanes of a key."""
    quotas, refused, pause, longest = written
    return News(
        tuple((Lane(limit, key), Quota(*quota)) for limit, quota in quotas.items()),
        None if refused is None else Lane(refused, key),
        pause,
        longest,
    )
