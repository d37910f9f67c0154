"""What happened lately, as plain values: what people look at, beside the state of this moment.

Nothing here is kept up to date, as in `state`. All times are seconds, `at` and `until` since 1970.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One request that an error befell; `status`, `code` and `request_id` as far as there were any."""

    at: float
    method: str
    route: str
    status: int | None
    code: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often an error of one class occurred since the start, whose fault it is, and the last one."""

    error_class: str
    fault: str
    count: int
    last: Example


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long the last `count` took; None where there were none."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One number for each of the last seconds, oldest first; the last is of second `until`.

    Requests `sent` to the API, those `queued` at the end of that second, those that the proxy `refused`,
    and the answers of the API that they were `rate_limited`.
    """

    until: int = 0
    sent: tuple[int, ...] = ()
    queued: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    rate_limited: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recent:
    """What happened lately: `upstream` is the time to the response's head, `waits` the time in line."""

    history: History
    errors: tuple[ErrorCount, ...] = ()
    upstream: Quantiles = Quantiles()
    waits: Quantiles = Quantiles()
