"""The only place where what the upstream says about time and limits is read from its headers.

Nothing here raises: a value that cannot be meant is absent. Where a field comes twice and the two
differ, the more cautious one counts. What is done with the knowledge is decided elsewhere.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from proxy.messages import Headers

_Value = TypeVar("_Value", int, float)

LONGEST = 366 * 86400.0
"""Seconds. A longer wait is a mistake of the sender (milliseconds, or a point in time sent as a duration)
and counts as absent: obeyed, it would stop a credential for good."""

EARLIEST_RESET = 1e6
"""A smaller `X-RateLimit-Reset` is no point in unix time, and whether it is a duration is a guess: absent."""

_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
_COUNT = re.compile(r"[0-9]{1,18}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-5][0-9]|60)"
_DATES = (  # RFC 9110 section 5.6.7: IMF-fixdate and RFC 850, then asctime
    re.compile(
        rf"[a-z]{{3,9}}, (?P<day>[0-9]{{2}})(?P<dash>[ -])(?P<month>[a-z]{{3}})(?P=dash)"
        rf"(?P<year>[0-9]{{4}}|[0-9]{{2}}) {_TIME} GMT",
        re.IGNORECASE,
    ),
    re.compile(
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})", re.IGNORECASE
    ),
)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a response says: waits in seconds from now, counts in requests; None is unsaid."""

    retry_after: float | None = None
    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None


def parse(headers: Headers, *, wall: float) -> Feedback:
    """Read `Retry-After` (RFC 9110 section 10.2.3) and `X-RateLimit-*`; `wall` is unix time in seconds.

    Of differing fields the longest wait and the smallest remainder count; differing limits are none.
    """
    limits = set(_read(headers, b"x-ratelimit-limit", _count))
    return Feedback(
        retry_after=_longest(_read(headers, b"retry-after", lambda text: _wait(text, wall))),
        limit=limits.pop() if len(limits) == 1 else None,
        remaining=min(_read(headers, b"x-ratelimit-remaining", _count), default=None),
        reset_in=_longest(_read(headers, b"x-ratelimit-reset", lambda text: _reset(text, wall))),
    )


def demanded_wait(feedback: Feedback, status: int) -> float | None:
    """Return the seconds that the upstream asked us to wait; its window's reset is a demand on a 429 only."""
    if feedback.retry_after is not None:
        return feedback.retry_after
    return feedback.reset_in if status == 429 else None


def date_to_seconds(headers: Headers, *, wall: float) -> Headers:
    """Turn a `Retry-After` date into whole seconds, rounded up: clients in the field crash on dates.

    It is the one change made to a last answer; with nothing to do, the same object comes back.
    """
    fields = tuple(_dateless(name, value, wall) for name, value in headers)
    return headers if fields == headers.raw else Headers(fields)


def _dateless(name: bytes, value: bytes, wall: float) -> tuple[bytes, bytes]:
    if name.lower() != b"retry-after" or (date := _date(_text(value), wall)) is None:
        return name, value
    return name, str(max(0, math.ceil(date - wall))).encode()


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \t")


def _read(headers: Headers, name: bytes, reader: Callable[[str], _Value | None]) -> list[_Value]:
    """Return the values of a field that can be meant."""
    return [value for text in headers.all(name) if (value := reader(text.strip(" \t"))) is not None]


def _count(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _wait(text: str, wall: float) -> float | None:
    if _DECIMAL.fullmatch(text):
        return float(text)
    date = _date(text, wall)
    return None if date is None else max(0.0, date - wall)


def _reset(text: str, wall: float) -> float | None:
    if not _DECIMAL.fullmatch(text) or float(text) < EARLIEST_RESET:
        return None
    return max(0.0, float(text) - wall)


def _longest(waits: Iterable[float]) -> float | None:
    return max((wait for wait in waits if wait <= LONGEST), default=None)


def _date(text: str, wall: float) -> float | None:
    """Read an HTTP-date as unix time; the name of the weekday is not checked against the date."""
    match = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if match is None or (month := match["month"].lower()) not in _MONTHS:
        return None
    year = int(match["year"]) if len(match["year"]) == 4 else _year(int(match["year"]), wall)
    day, hour, minute = int(match["day"]), int(match["hour"]), int(match["minute"])
    try:
        moment = datetime(year, _MONTHS.index(month) + 1, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() + int(match["second"])  # apart, because a leap second is 60


def _year(two_digits: int, wall: float) -> int:
    """Complete a year to the one at most 50 years ahead (RFC 9110 section 5.6.7)."""
    first = datetime.fromtimestamp(wall, UTC).year - 49
    return first + (two_digits - first) % 100
