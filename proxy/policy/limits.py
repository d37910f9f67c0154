"""Which limits a request falls under, and which of them a refusal speaks of.

A lane is one limit for one key: the unit in which room is counted and requests wait.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.config import Limit
from proxy.messages import Request
from proxy.policy.feedback import Feedback
from proxy.policy.headers import accepts_stream
from proxy.policy.paths import compile_paths


class Lane(NamedTuple):
    """One limit (by name) for one key (a credential's hash, or a constant)."""

    limit: str
    key: str


Lanes = tuple[Lane, ...]


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

    def lanes(self, request: Request) -> Lanes:
        """Return every lane in which the request needs room, in the order of the configuration."""
        streaming = accepts_stream(request.headers)
        return tuple(rule.lane(request) for rule in self._rules if rule.applies(request, streaming))

    def refused(self, lanes: Lanes, feedback: Feedback) -> Lane | None:
        """Return the lane that a 429 speaks of; None if the request was under no limit.

        It is the one whose size equals X-RateLimit-Limit, unless X-RateLimit-Remaining says that this one
        has room; else the narrowest.
        """
        if not lanes:
            return None
        if not feedback.remaining:
            for lane in lanes:
                if self.by_name[lane.limit].size == feedback.limit:
                    return lane
        return min(lanes, key=lambda lane: self.by_name[lane.limit].size)
