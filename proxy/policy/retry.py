"""The only place where it is decided whether a failed attempt is followed by another, and after how long.

What failed, and whether a repeat is safe, has been judged by `classify.py`; how long the upstream asked
us to wait is read by `feedback.py`. The wait for a turn under the limits comes on top and is admission's.
"""

from dataclasses import dataclass
from typing import Literal

from proxy.config import Retry
from proxy.policy.classify import Judgement

Reason = Literal["not_transient", "not_repeatable", "attempts_exhausted", "deadline", "retry_budget"]

_DOUBLINGS = 64  # beyond any `max_retries`, and far from where a float overflows


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Give the client what there is. `not_transient` is the ordinary end and worth no event."""

    reason: Reason


def decide(
    *,
    attempt: int,
    judgement: Judgement,
    demanded: float | None,
    time_left: float,
    rules: Retry,
    chance: float,
) -> Again | Stop:
    """Decide what follows attempt number `attempt` (1 is the first).

    `demanded` is what the upstream asked for and `time_left` what the deadline leaves, both in seconds;
    `chance` is uniform in [0, 1). A wait may end exactly at the deadline, not after it.
    """
    if not judgement.transient:
        return Stop("not_transient")
    if not judgement.repeatable:
        return Stop("not_repeatable")
    if attempt > rules.max_retries:
        return Stop("attempts_exhausted")
    delay = _delay(attempt, demanded, rules, chance)
    return Again(delay) if delay <= time_left else Stop("deadline")


def _delay(attempt: int, demanded: float | None, rules: Retry, chance: float) -> float:
    """Obey a demanded wait to the letter; a demand for none at all gets the back-off all the same.

    Otherwise an upstream that answers 503 with `Retry-After: 0` would be hit with every retry at once.
    """
    if demanded is not None and demanded > 0:
        return demanded
    return _backoff(attempt, rules) * (1 + rules.jitter * chance)


def _backoff(attempt: int, rules: Retry) -> float:
    return min(rules.base * 2.0 ** min(attempt - 1, _DOUBLINGS), rules.cap)
