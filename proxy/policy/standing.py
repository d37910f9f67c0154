"""Who waits, by caller, and when each will be served: the queue as people look at it."""

from collections.abc import Iterable, Mapping

from proxy.policy.turns import Place
from proxy.state import CallerState

MOST = 20
"""Callers that are shown: those with the longest queues."""


def by_caller(places: Iterable[Place], starts: Mapping[Place, float], now: float) -> tuple[CallerState, ...]:
    """Sum up who waits; `starts` says when some of them go."""
    queues: dict[tuple[str | None, str], list[Place]] = {}
    for place in places:
        queues.setdefault((place.credential, place.caller), []).append(place)
    longest = sorted(queues.items(), key=lambda queue: -len(queue[1]))[:MOST]
    return tuple(_state(*of, queue, starts, now) for of, queue in longest)


def _state(
    credential: str | None, caller: str, queue: list[Place], starts: Mapping[Place, float], now: float
) -> CallerState:
    known = [starts[place] for place in queue if place in starts]
    first, last = (min(known), max(known)) if known else (None, None)
    return CallerState(credential, caller, len(queue), _within(first, now), _within(last, now))


def _within(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(at - now, 0.0), 1)
