"""What others spend from the same limit: the only place where their requests are counted.

They are never seen, only missed: what the upstream has counted beyond ours is theirs. Of each it is known
between which two of our requests it came, and so from when to when it leaves, one window later; of those
that were there when we first looked, only the latter.

Between two answers nothing is known. Who was seen to come will have come again: `unseen` is how many that
are, with the chance of more being `RISK` (they are taken to come independently of each other, so that their
number is Poisson's). Without others it is 0 and costs nothing.
"""

import math
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

RISK = 0.04
"""The chance that more of others' requests came than are allowed for: a request of ours is then refused."""

CAUTIOUS = 0.005
"""That chance for a request that was refused before: to be refused twice is one time too many."""

NEVER = 0.0001
"""The chance that more of others' requests come within a window than there is room for, where room for them
is demanded."""

_USUAL = 5
"""Windows over which what others usually take is averaged."""

_STEPS = 64
"""Means are rounded up to this fraction, so that few are worked out."""

_LARGE = 500.0
"""Beyond this mean, e to its power leaves the floats, and the distribution is as good as normal."""


class _One(NamedTuple):
    """A request of others: the upstream counted it within these times."""

    earliest: float
    latest: float


class Foreign:
    """The requests of others in one window of `per` seconds."""

    def __init__(self, per: float) -> None:
        self.per = per
        self._ones: deque[_One] = deque()  # ascending
        self._seen = 0  # of those, came while we looked
        self._looked = -math.inf  # when the last request left whose answer told
        self._usual = 0.0
        self.regular = 0
        """How many were seen to come within a window, at the last answer: they can be expected to go on."""

    def __len__(self) -> int:
        return len(self._ones)

    def __repr__(self) -> str:
        return f"<Foreign {len(self._ones)} counted, {self._seen} seen to come>"

    def ages(self, now: float) -> tuple[float, ...]:
        """Return how long ago each was counted at the latest."""
        return tuple(now - one.latest for one in self._ones)

    def remember(self, ages: Iterable[float], now: float) -> None:
        """Take over what was known before a restart."""
        self._ones.extend(_One(-math.inf, now - max(age, 0.0)) for age in sorted(ages, reverse=True))

    def advance(self, now: float) -> None:
        """Forget those who have left."""
        while self._ones and self._ones[0].latest + self.per <= now:
            self._forget(self._ones.popleft())

    def releases(self) -> list[float]:
        """Return when each leaves at the latest, in order."""
        return [one.latest + self.per for one in self._ones]

    def count(self, least: int, most: int, now: float, asked: float) -> None:
        """Note that there were so many when a request arrived that left at `asked`, and is answered now."""
        new, since = least - len(self._ones), self._looked
        for number in range(1, new + 1):
            latest = now if since == -math.inf else since + (now - since) * number / new
            self._ones.append(_One(since, latest))
            self._seen += since > -math.inf
        for _ in range(len(self._ones) - max(most, 0)):
            # It has left, if it can have; else it was none.
            may_have_left = self._ones[0].earliest + self.per <= now
            self._forget(self._ones.popleft() if may_have_left else self._ones.pop())
        if since > -math.inf:
            self._average(max(new, 0), asked - since)
        self._looked, self.regular = asked, self._seen

    def _average(self, new: int, seconds: float) -> None:
        """Average what comes in a window, exponentially."""
        kept = math.exp(-seconds / (_USUAL * self.per))
        self._usual = kept * self._usual + new / _USUAL

    def at_most(self) -> int:
        """Return how many there can be within a window, as far as one can tell by what they usually are."""
        return _quantile(math.ceil(max(self._usual, len(self._ones)) * _STEPS), NEVER)

    def _forget(self, one: _One) -> None:
        self._seen -= one.earliest > -math.inf

    def first_leaves(self, at: float) -> None:
        """Note that the oldest of them leaves at that time."""
        if self._ones and at < self._ones[0].latest + self.per:
            self._ones[0] = self._ones[0]._replace(latest=at - self.per)

    def unseen(self, now: float, risk: float = RISK) -> int:
        """Return how many may have come since the last answer."""
        if not self.regular:
            return 0
        mean = self.regular * min((now - self._looked) / self.per, 1.0)
        return _quantile(math.ceil(mean * _STEPS), risk)


def most_likely(mean: float) -> int:
    """Return what a Poisson variable of that mean exceeds almost never (`NEVER`)."""
    return _quantile(math.ceil(mean * _STEPS), NEVER)


@lru_cache(maxsize=4096)
def _quantile(steps: int, risk: float) -> int:
    """Return what a Poisson variable of so many steps of mean exceeds with that chance at the most."""
    mean = steps / _STEPS
    if mean > _LARGE:
        return math.ceil(mean + 3 * math.sqrt(mean))
    probability = below = math.exp(-mean)
    count = 0
    while below < 1 - risk:
        count += 1
        probability *= mean / count
        below += probability
    return count
