"""What happened lately, as plain values: what the live page and `avala-proxy top` draw.

As in `state.py`, nothing here is kept up to date: whoever has counted makes one of these when asked.
"""

from dataclasses import dataclass

from proxy.errors import ErrorClass, Fault

LATELY = 30
"""Seconds for which an error is one of now."""


@dataclass(frozen=True, slots=True)
class Example:
    """One failure: when (seconds since 1970), of which request, and what it was answered with.

    `code` is the structured one of the answer's body; `status` None where there was no answer.
    """

    at: float
    method: str
    route: str
    status: int | None
    code: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often a class occurred since the start and in the last `LATELY` seconds, and its last example."""

    error_class: ErrorClass
    fault: Fault
    count: int
    lately: int
    last: Example


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long things took of late (seconds); all None if there were none."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One number for each second, the oldest first, the last for the one that began `until` (since 1970).

    Requests `sent` to the API; those that waited at its end (`queued`); those that the proxy `refused`; and
    429s of the API (`rate_limited`).
    """

    until: int
    sent: tuple[int, ...]
    queued: tuple[int, ...]
    refused: tuple[int, ...]
    rate_limited: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recent:
    """All of it; `errors` in the order in which they first occurred, `upstream` is the time to an answer's
    head, and `waits` the time in line.
    """

    history: History
    errors: tuple[ErrorCount, ...] = ()
    upstream: Quantiles = Quantiles()
    waits: Quantiles = Quantiles()
