"""The only place that judges how the proxy is; the live page and `avala-proxy top` show what it says.

What there is to be said is in `findings.py`. Here it is put in order, and the worst of it is the headline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import ErrorClass, Fault
from proxy.policy.findings import MINOR, NAMES, Finding, Level, Where, findings
from proxy.policy.situation import Situation
from proxy.policy.words import many
from proxy.recent import LATELY, Recent
from proxy.state import CallerState, State

_SEVERITY: dict[Level, int] = {"bad": 3, "warn": 2, "note": 1, "ok": 0}
_SERVING = Finding("proxy", "ok", "fine", "serving", "Serving", "Serving")
_FAULTS: dict[Where, Fault] = {
    "client": Fault.CLIENT,
    "proxy": Fault.PROXY,
    "network": Fault.NETWORK,
    "api": Fault.UPSTREAM,
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a request passes: how it is there, by the worst that was found, and its errors lately."""

    where: Where
    name: str
    level: Level
    word: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What matters most, what `also` is to be known (the worst first), and the places on a request's way."""

    headline: Finding
    also: tuple[Finding, ...]
    places: tuple[Place, ...]


def verdict(ready: tuple[bool, str], state: State, callers: Sequence[CallerState], recent: Recent) -> Verdict:
    """Judge. Where nothing is wrong it serves, and what was found is only to be known."""
    now = Situation(ready, state, callers, recent)
    found = _worth_telling(now)
    places = tuple(_place(where, found, now) for where in NAMES)
    if not found or found[0].level == "note":
        return Verdict(_SERVING, found, places)
    return Verdict(found[0], found[1:], places)


def _worth_telling(now: Situation) -> tuple[Finding, ...]:
    """Put the worst first, and leave out that there is some trouble in a place where there is worse."""
    found = sorted(findings(now), key=lambda finding: -_SEVERITY[finding.level])
    worst: dict[Where, Finding] = {}
    for finding in found:
        worst.setdefault(finding.where, finding)
    return tuple(one for one in found if one.key not in MINOR or worst[one.where] is one)


def _place(where: Where, found: Sequence[Finding], now: Situation) -> Place:
    worst = next((finding for finding in found if finding.where == where), None)
    errors = now.of_fault[_FAULTS[where]]
    if where == "api":  # its 429s are no trouble, but they are errors
        errors += now.of_class[ErrorClass.RATE_LIMITED]
    return Place(
        where=where,
        name=NAMES[where],
        level=worst.level if worst else "ok",
        word=worst.word if worst else "fine",
        detail=f"{many(errors, 'error')} in {LATELY} s" if errors else "no errors",
    )
