"""The only place where it is read what the upstream says about time and limits.

It says so in header fields, and in one sentence of a refusal's body. Nothing here raises: a value that
cannot be meant is absent. Where something is said twice and the two differ, the more cautious one counts.
What is done with the knowledge is decided elsewhere.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, cast

import http_sf

from proxy.messages import Headers

_Value = TypeVar("_Value", int, float)
_Items = dict[str, list[Mapping[str, object]]]
"""The parameters of a list's items, by the names of these; a name may come more than once."""

LONGEST = 366 * 86400.0
"""Seconds. A longer wait is a mistake of the sender (milliseconds, or a point in time sent as a duration)
and counts as absent: obeyed, it would stop a credential for good."""

EARLIEST_RESET = 1e6
"""A smaller `X-RateLimit-Reset` is no point in unix time, and whether it is a duration is a guess: absent."""

_MOST_NAMES = 16
"""Of the limits that a response names, so many are read: no service has that many for one request."""

_LONGEST_LIST = 4096
"""Bytes. A longer list is not read, because every answer's is."""

_BEGINNING = 4096
"""Bytes of a refusal's body in which its sentence is looked for."""

_UNIT = "requests"

_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
_COUNT = re.compile(r"[0-9]{1,18}")
_SENTENCE = re.compile(rb"Expected available in (?P<wait>%b) seconds?\." % _DECIMAL.pattern.encode())
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
class Quota:
    """What a response says of one limit, in requests and seconds; None is unsaid.

    `window` is the limit's length; `reset_in` counts from now.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    window: float | None = None


_UNSAID = Quota()


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a response says: a wait in seconds from now (None is unsaid), and of which limits it speaks."""

    retry_after: float | None = None
    quotas: tuple[Quota, ...] = ()


def parse(headers: Headers, *, wall: float, content: bytes = b"") -> Feedback:
    """Read `Retry-After` (RFC 9110 section 10.2.3), `X-RateLimit-*`, `RateLimit` and `RateLimit-Policy`.

    `wall` is unix time in seconds; `content` the body of a 429, whose sentence (that of Django REST
    Framework) stands in for a `Retry-After` that is not there or cannot be meant.
    """
    retry_after = None
    if b"retry-after" in headers:
        retry_after = _longest(_read(headers, b"retry-after", lambda text: _wait(text, wall)))
    if retry_after is None and content:
        retry_after = _longest(float(said["wait"]) for said in _SENTENCE.finditer(content, 0, _BEGINNING))
    unnamed = _unnamed(headers, wall)
    named = _named(headers) if b"ratelimit" in headers or b"ratelimit-policy" in headers else ()
    return Feedback(retry_after, tuple(quota for quota in (unnamed, *named) if quota != _UNSAID))


def demanded_wait(feedback: Feedback, status: int) -> float | None:
    """Return the seconds that the upstream asked us to wait; a limit's reset is a demand on a 429 only.

    It is that of the limits that have nothing left; if none says so, of those that do not say what is left.
    A limit with room demands no wait.
    """
    if feedback.retry_after is not None:
        return feedback.retry_after
    if status != 429:
        return None
    spent = [quota for quota in feedback.quotas if quota.remaining == 0]
    spent = spent or [quota for quota in feedback.quotas if quota.remaining is None]
    return max((quota.reset_in for quota in spent if quota.reset_in is not None), default=None)


def date_to_seconds(headers: Headers, *, wall: float) -> Headers:
    """Turn a `Retry-After` date into whole seconds, rounded up: clients in the field crash on dates.

    It is the one change made to a last answer; with nothing to do, the same object comes back.
    """
    fields = tuple(_dateless(name, value, wall) for name, value in headers)
    return headers if fields == headers.raw else Headers(fields)


def made_at(headers: Headers, *, wall: float) -> float | None:
    """Read `Date` (RFC 9110 section 6.6.1): when the response was made, in whole seconds of unix time.

    Of several the earliest counts; None if there is none that can be meant.
    """
    return min(_read(headers, b"date", lambda text: _date(text, wall)), default=None)


def _dateless(name: bytes, value: bytes, wall: float) -> tuple[bytes, bytes]:
    if name.lower() != b"retry-after" or (date := _date(_text(value), wall)) is None:
        return name, value
    return name, str(max(0, math.ceil(date - wall))).encode()


def _unnamed(headers: Headers, wall: float) -> Quota:
    """Read `X-RateLimit-*`: one limit, whose reset is a point in unix time."""
    return Quota(
        limit=_undisputed(_read(headers, b"x-ratelimit-limit", _count)),
        remaining=min(_read(headers, b"x-ratelimit-remaining", _count), default=None),
        reset_in=_longest(_read(headers, b"x-ratelimit-reset", lambda text: _reset(text, wall))),
    )


def _named(headers: Headers) -> list[Quota]:
    """Read `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4).

    Their items pair by name; the partition key is of no matter. A name whose policy counts something else
    than requests is left out: what remains of it is no number of requests either.
    """
    rooms, policies = _items(headers, b"ratelimit"), _items(headers, b"ratelimit-policy")
    return [
        Quota(
            limit=_undisputed(_integers(policies, name, "q")),
            remaining=min(_integers(rooms, name, "r"), default=None),
            reset_in=_longest(map(float, _integers(rooms, name, "t"))),
            window=_undisputed(float(w) for w in _integers(policies, name, "w") if 0 < w <= LONGEST),
        )
        for name in list(dict.fromkeys((*rooms, *policies)))[:_MOST_NAMES]
        if all(item.get("qu", _UNIT) == _UNIT for item in policies.get(name, ()))
    ]


def _items(headers: Headers, field: bytes) -> _Items:
    """Read a List of Strings or Tokens (RFC 9651 section 3.1); of what is no such list, nothing."""
    found: _Items = {}
    value = ", ".join(line.strip(" \t") for line in headers.all(field)).encode("latin-1")
    if len(value) > _LONGEST_LIST:
        return found
    try:
        members = http_sf.parse(value, tltype="list")
    except ValueError:
        return found
    for name, parameters in cast("list[tuple[object, Mapping[str, object]]]", members):
        if isinstance(name, str | http_sf.Token):
            found.setdefault(str(name), []).append(parameters)
    return found


def _integers(items: _Items, name: str, key: str) -> list[int]:
    """Return what a parameter says that can be meant. An Integer has 15 digits at most; a Boolean is none."""
    said = [parameters.get(key) for parameters in items.get(name, ())]
    return [value for value in said if type(value) is int and value >= 0]


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


def _undisputed(values: Iterable[_Value]) -> _Value | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None


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
