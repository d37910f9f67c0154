"""Who waits for which limit, and in what order: as all replicas know it, by what they write down.

Whoever began to wait first goes first, and after a grant is behind all others. So two replicas that wait for
the same limits stand in the same order for each of them: they cannot wait for each other.
"""

import math
from collections.abc import Iterable

Place = tuple[float, str]


class Lines:
    """A line for each limit, of replicas by name; times are the store's (seconds)."""

    def __init__(self) -> None:
        self._lines: dict[str, set[str]] = {}
        self._since: dict[str, float] = {}
        self._served: dict[str, dict[str, float]] = {}

    def joins(self, replica: str, limit: str, at: float) -> None:
        """Have one wait for a limit."""
        self._lines.setdefault(limit, set()).add(replica)
        self._since.setdefault(replica, at)

    def served(self, replica: str, limits: Iterable[str], at: float) -> None:
        """Put one that was granted a slot behind the others."""
        if replica in self._since:
            self._served.setdefault(replica, {}).update(dict.fromkeys(limits, at))

    def leaves(self, replica: str) -> None:
        """Have one wait for nothing any more."""
        self._since.pop(replica, None)
        self._served.pop(replica, None)
        for line in self._lines.values():
            line.discard(replica)

    def waits(self, replica: str) -> bool:
        """Tell whether one is in any line."""
        return replica in self._since

    def limits(self, replica: str | None = None) -> list[str]:
        """Return for which limits there is a line, or for which one is in line."""
        return [
            limit for limit, line in self._lines.items() if (line if replica is None else replica in line)
        ]

    def length(self, limit: str) -> int:
        """Return how many wait for a limit."""
        return len(self._lines.get(limit, ()))

    def ahead(self, limit: str, replica: str) -> int | None:
        """Return how many go before one; None if it is not in line."""
        line = self._lines.get(limit, set())
        if replica not in line:
            return None
        mine = self._place(limit, replica)
        return sum(self._place(limit, other) < mine for other in line)

    def first(self, limit: str, count: int) -> list[str]:
        """Return who goes first, so many at the most."""
        return sorted(self._lines.get(limit, ()), key=lambda replica: self._place(limit, replica))[:count]

    def _place(self, limit: str, replica: str) -> Place:
        served = self._served.get(replica, {}).get(limit, -math.inf)
        return max(self._since[replica], served), replica
