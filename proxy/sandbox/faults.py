"""Which faults there are, how they are asked for, and which request gets one. Not what a fault answers.

There are three kinds, by what they do to the operation:
- never executed: 503, 429, every 4xx, and hang, which answers nothing either;
- executed or not (`after`): 500, 502, 504 and reset, whose client cannot know which;
- always executed, answered badly: slow, truncated.

A request that hangs is read to its end and holds its places until its client leaves, the server stops or,
with `seconds`, the connection is reset.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

EITHER_SIDE = frozenset({"500", "502", "504", "reset"})
"""Faults that can strike before the operation or after it."""
ALWAYS_EXECUTED = frozenset({"slow", "truncated"})
"""Faults that never keep the operation from being done."""
UNANSWERED = frozenset({"hang", "reset"})
"""Faults that send no answer: all there is to see of them is the end of the connection."""
CODES = ("plan_insufficient", "scope_required")

_OPTIONS: Mapping[str, frozenset[str]] = {
    "500": frozenset({"after"}),
    "502": frozenset({"after"}),
    "503": frozenset({"retry-after", "in"}),
    "504": frozenset({"after"}),
    "429": frozenset({"retry-after", "in", "reset"}),
    "reset": frozenset({"after"}),
    "truncated": frozenset(),
    "slow": frozenset({"seconds"}),
    "hang": frozenset({"seconds"}),
    "400": frozenset(),
    "401": frozenset(),
    "403": frozenset({"code"}),
    "404": frozenset(),
    "405": frozenset(),
    "409": frozenset(),
    "413": frozenset(),
    "422": frozenset(),
}
FAULT_NAMES = tuple(_OPTIONS)
"""Every fault, by the name it is asked for."""

MOST_KEYS = 10_000
"""Different `X-Sandbox-Key` values whose attempts are remembered; the longest unseen is forgotten first."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, as asked for or drawn. A figure left None is the settings' to fill in, or the plan's."""

    name: str
    after: bool = False
    """Whether it strikes after the operation was done."""
    retry_after: float | None = None
    """Seconds `Retry-After` asks for."""
    as_date: bool = False
    """Whether `Retry-After` is an HTTP date instead of seconds."""
    reset: float | None = None
    """Seconds ahead that `X-RateLimit-Reset` points, with no `Retry-After`."""
    seconds: float | None = None
    """How long `slow` waits, and after how long `hang` gives the connection up (None: never)."""
    code: str | None = None
    """Which of the structured 403 answers."""
    times: int | None = None
    """How many attempts of one `X-Sandbox-Key` get it; None for all."""

    @property
    def executes(self) -> bool:
        """Whether the operation is done in spite of it."""
        return self.after or self.name in ALWAYS_EXECUTED


def parse_fault(text: str) -> Fault:
    """Read `NAME[;key=value…]`, the header `X-Sandbox-Fault`; raises ValueError saying what is allowed."""
    name, *parts = (part.strip() for part in text.split(";"))
    if name not in _OPTIONS:
        raise ValueError(f"Unknown fault {name!r}. Allowed are {', '.join(FAULT_NAMES)}.")
    options: dict[str, str] = {}
    for part in filter(None, parts):
        key, _, value = (half.strip() for half in part.partition("="))
        if key not in _OPTIONS[name] | {"times"}:
            allowed = ", ".join(sorted(_OPTIONS[name] | {"times"}))
            raise ValueError(f"The fault {name!r} has no option {key!r}. Allowed are {allowed}.")
        options[key] = value
    return _build(name, options)


def _build(name: str, options: Mapping[str, str]) -> Fault:
    as_date = options.get("retry-after") == "date"
    code = options.get("code")
    if code is not None and code not in CODES:
        raise ValueError(f"Unknown code {code!r}. Allowed are {', '.join(CODES)}.")
    if options.get("after"):
        raise ValueError("The option 'after' takes no value.")
    if "in" in options and not as_date:
        raise ValueError("The option 'in' belongs to 'retry-after=date'.")
    times = _number("times", options.get("times"))
    ahead = (
        _number("in", options.get("in", "1"))
        if as_date
        else _number("retry-after", options.get("retry-after"))
    )
    return Fault(
        name,
        after="after" in options,
        retry_after=ahead,
        as_date=as_date,
        reset=_number("reset", options.get("reset")),
        seconds=_number("seconds", options.get("seconds")),
        code=code,
        times=None if times is None else int(times),
    )


def _number(key: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number >= 0 and math.isfinite(number)):
        raise ValueError(f"The option {key!r} takes a number that is not negative, not {text!r}.")
    return number


def parse_fault_rates(texts: Iterable[str]) -> dict[str, float]:
    """Read shares such as `500=0.2`; raises ValueError with a sentence that says what is allowed."""
    rates: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        try:
            rates[name.strip()] = float(share)
        except ValueError:
            raise ValueError(
                f"{text!r}: a fault is NAME=SHARE with a share from 0 to 1, such as 500=0.2."
            ) from None
    check_fault_rates(rates)
    return rates


def check_fault_rates(rates: Mapping[str, float]) -> None:
    """Raise ValueError unless every name is a fault's and the shares can be shares of the same whole."""
    for name, share in rates.items():
        if name not in _OPTIONS:
            raise ValueError(f"Unknown fault {name!r}. Allowed are {', '.join(FAULT_NAMES)}.")
        if not 0 <= share <= 1:
            raise ValueError(f"The share of {name!r} must lie between 0 and 1, not {share:g}.")
    # A sum of shares such as ten times 0.1 lands a hair beside 1.
    if (total := math.fsum(rates.values())) > 1 + 1e-9:
        raise ValueError(f"The shares of all faults together must not pass 1, and these make {total:g}.")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults are drawn for requests that ask for none; raises ValueError for what cannot be."""

    rates: Mapping[str, float] = field(default_factory=dict)
    """Share of requests, 0 to 1, that get each fault, by name."""
    retry_after: float | None = None
    """Seconds any 503 asks to wait that was not asked for with its own; None: it does not say."""

    def __post_init__(self) -> None:
        check_fault_rates(self.rates)
        if self.retry_after is not None and not 0 <= self.retry_after < math.inf:
            raise ValueError(f"retry_after must be seconds, not negative, and not {self.retry_after:g}.")


class FaultChooser:
    """Decide for each request which fault it gets: the one it asks for, else perhaps one that is drawn."""

    def __init__(self, plan: FaultPlan, after_share: float, rng: random.Random) -> None:
        self.plan = plan
        """May be exchanged at any time; what has been chosen stays, and so do the attempts counted."""
        self._after_share = after_share
        self._rng = rng
        self._attempts: OrderedDict[str, int] = OrderedDict()

    def choose(self, asked: Fault | None, key: str | None) -> Fault | None:
        """Give the fault of this request. A request that asks for one is never drawn another."""
        if asked is None:
            return self._draw()
        if asked.times is None or key is None or self._attempt(key) <= asked.times:
            return asked
        return None

    def _attempt(self, key: str) -> int:
        attempt = self._attempts.pop(key, 0) + 1
        self._attempts[key] = attempt
        if len(self._attempts) > MOST_KEYS:
            self._attempts.popitem(last=False)
        return attempt

    def _draw(self) -> Fault | None:
        if not any(self.plan.rates.values()):
            return None
        point = self._rng.random()
        for name, share in self.plan.rates.items():
            if point < share:
                after = name in EITHER_SIDE and self._rng.random() < self._after_share
                return Fault(name, after=after)
            point -= share
        return None
