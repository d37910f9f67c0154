"""How much the API allows: limits as values, their documented sizes, and how they are written as text.

Only sizes live here; the counting is in `throttle.py`, and which request falls under which scope is told by
`endpoints.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in any window of so many seconds."""

    requests: int
    """Accepted requests one window holds."""
    per: float
    """Length of the sliding window, seconds."""

    def __post_init__(self) -> None:
        if self.requests < 1 or not (self.per > 0 and math.isfinite(self.per)):
            raise ValueError(f"A rate needs at least 1 request and more than 0 seconds, not {self}.")

    def __str__(self) -> str:
        return f"{self.requests}/{self.per:g}"


@dataclass(frozen=True, slots=True)
class Concurrent:
    """So many at once."""

    at_once: int
    """Requests (or export jobs) that may run at the same time."""

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ValueError(f"A concurrent limit needs at least 1, not {self.at_once}.")

    def __str__(self) -> str:
        return str(self.at_once)


Limit = Rate | Concurrent

DOCUMENTED_LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "standard": Rate(100, 60.0),
        "burst": Rate(20, 1.0),
        "anonymous": Rate(30, 60.0),
        "signup": Rate(5, 60.0),
        "inference": Rate(10, 60.0),
        "uploads": Concurrent(10),
        "exports": Concurrent(5),
        "streams": Concurrent(20),
    }
)
"""The limits of the API's documentation, by scope."""


def parse_limits(texts: Iterable[str]) -> dict[str, Limit]:
    """Read limits such as `standard=100/6` or `exports=5`; scopes not named keep their documented size.

    Raises ValueError with a sentence that says what is allowed.
    """
    return {**DOCUMENTED_LIMITS, **parse_named_limits(texts)}


def parse_named_limits(texts: Iterable[str]) -> dict[str, Limit]:
    """Read limits as `parse_limits` does, and give only those that are named."""
    limits: dict[str, Limit] = {}
    for text in texts:
        scope, _, size = text.partition("=")
        limits[scope.strip()] = _parse_limit(text, scope.strip(), size.strip())
    return limits


def check_limits(limits: Mapping[str, Limit]) -> None:
    """Raise ValueError unless every scope is the API's, and its limit of the documented one's kind."""
    for scope, limit in limits.items():
        documented = DOCUMENTED_LIMITS.get(scope)
        if type(limit) is not type(documented):
            raise ValueError(
                f"{limit!r} is no limit for the scope {scope!r}; the documented one is {documented!r}."
            )


def scaled(limits: Mapping[str, Limit], time_scale: float) -> dict[str, Limit]:
    """Give limits as they are enforced: windows divided by `time_scale`."""
    return {
        scope: limit if isinstance(limit, Concurrent) else Rate(limit.requests, limit.per / time_scale)
        for scope, limit in limits.items()
    }


def _parse_limit(text: str, scope: str, size: str) -> Limit:
    documented = DOCUMENTED_LIMITS.get(scope)
    if documented is None:
        raise ValueError(f"{text!r}: there is no limit {scope!r}; there are {', '.join(DOCUMENTED_LIMITS)}.")
    try:
        if isinstance(documented, Concurrent):
            return Concurrent(int(size))
        requests, slash, seconds = size.partition("/")
        return Rate(int(requests), float(seconds) if slash else documented.per)
    except ValueError:
        raise ValueError(f"{text!r}: {_grammar(scope, documented)}.") from None


def _grammar(scope: str, documented: Limit) -> str:
    if isinstance(documented, Concurrent):
        return f"{scope} is a whole number at once, at least 1, such as {scope}={documented}"
    return f"{scope} is requests/seconds, both above 0, such as {scope}={documented}"
