"""Which limits a request falls under, and which of them a response speaks of.

A lane is one limit for one key: the unit in which room is counted and requests wait.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.config import Limit
from proxy.messages import Request
from proxy.policy.feedback import Feedback, Quota
from proxy.policy.headers import accepts_stream
from proxy.policy.paths import compile_paths

_NOWHERE = (math.inf, -math.inf, 0.0)
"""The bounds of what cannot move."""


class Lane(NamedTuple):
    """One limit (by name) for one key (a credential's hash, or a constant)."""

    limit: str
    key: str


Lanes = tuple[Lane, ...]

_ROUNDED = 2.0
"""Seconds by which a reset may seem to lie beyond its window: it is rounded up, and two clocks read it."""


@dataclass(frozen=True, slots=True)
class _Rule:
    limit: Limit
    methods: frozenset[str]
    path_matches: Callable[[str], bool]

    def applies(self, request: Request, streaming: bool) -> bool:
        match = self.limit.match
        return (
            match.anonymous in (None, request.credential is None)
            and match.streaming in (None, streaming)
            and (not self.methods or request.method in self.methods)
            and self.path_matches(request.path)
        )

    def lane(self, request: Request) -> Lane:
        if self.limit.key == "credential":
            return Lane(self.limit.name, request.credential or "anonymous")
        return Lane(self.limit.name, self.limit.key)


class LimitTable:
    """Know all limits; tell those of a request."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._rules = [
            _Rule(limit, frozenset(limit.match.methods), compile_paths(limit.match.paths)) for limit in limits
        ]
        self.by_name = {limit.name: limit for limit in limits}
        self._bounds = {limit.name: (*limit.bounds, limit.per) for limit in limits if limit.per is not None}

    def lanes(self, request: Request) -> Lanes:
        """Return every lane in which the request needs room, in the order of the configuration."""
        streaming = accepts_stream(request.headers)
        return tuple(rule.lane(request) for rule in self._rules if rule.applies(request, streaming))

    def spoken_of(
        self, lanes: Lanes, feedback: Feedback, capacity: Callable[[Lane], int]
    ) -> tuple[tuple[Lane, Quota], ...]:
        """Return the lanes that a response speaks of, with what it says; `capacity` is what is known of each.

        It names none. The one that is meant has the size that is told; else it is the first whose size may
        have moved there. The window, where it is told, must be the lane's own, and no limit takes longer to
        reset than its window (but for the second to which that time is rounded). What has the size of an "at
        once" limit is that one's, of which nothing is to be learned.
        """
        found: dict[Lane, Quota] = {}
        for quota in feedback.quotas:
            fitting = [lane for lane in lanes if lane not in found and self._fits(lane, quota)]
            same = [lane for lane in fitting if capacity(lane) == quota.limit]
            moved = () if any(self._is_at_once(lane, quota) for lane in lanes) else fitting
            for lane in (*same, *moved)[:1]:
                found[lane] = quota
        return tuple(found.items())

    def _is_at_once(self, lane: Lane, quota: Quota) -> bool:
        limit = self.by_name.get(lane.limit)
        return limit is not None and limit.concurrent == quota.limit

    def _fits(self, lane: Lane, quota: Quota) -> bool:
        least, most, per = self._bounds.get(lane.limit, _NOWHERE)
        if quota.limit is None or not least <= quota.limit <= most:
            return False
        if quota.window is not None and not math.isclose(quota.window, per, rel_tol=0.01):
            return False
        return quota.reset_in is None or quota.reset_in <= per + _ROUNDED

    def refused(self, lanes: Lanes, feedback: Feedback, capacity: Callable[[Lane], int]) -> Lane | None:
        """Return the lane that a 429 speaks of; None if the request was under no limit.

        It is the one that is spoken of as having nothing left; else the narrowest.
        """
        spent = tuple(quota for quota in feedback.quotas if quota.limit is not None and not quota.remaining)
        for quota in spent:
            for lane in lanes:
                if self._is_at_once(lane, quota):
                    return lane
        for lane, _ in self.spoken_of(lanes, Feedback(quotas=spent), capacity):
            return lane
        ours = (lane for lane in lanes if lane.limit in self.by_name)
        return min(ours, key=capacity, default=None)
