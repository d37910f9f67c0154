"""The settings of what follows a failure: retries, their budget, and the breaker.

A part of `config`, which has the rest and its rules; whoever uses settings takes them from there.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proxy import config_values
from proxy.config_values import Method, Part, PathPattern, Seconds, apart


class RouteRepeat(Part):
    """An exception to what is safe to repeat."""

    methods: tuple[Method, ...] = ()
    """Methods in capitals; empty means all."""
    paths: tuple[PathPattern, ...]
    """Path patterns, as in limits."""
    repeat: Literal["always", "never"]
    """Whether a request here may be sent again after a failure that may have done the operation."""


class Retry(Part):
    """How failures that pass by themselves are tried again."""

    max_retries: Annotated[int, Field(ge=0, le=20)] = 3
    """Attempts after the first."""
    base: Seconds = 1.0
    """Wait before the first retry; each further one doubles it."""
    cap: Seconds = 30.0
    """Longest wait that doubling leads to."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A wait is lengthened at random by up to this share, and never shortened."""
    budget: Annotated[float, Field(ge=0)] = 0.2
    """Retries of a minute, as a share of the requests of that minute; 429s, which are held back, apart."""
    budget_floor: Annotated[int, Field(ge=0)] = 10
    """So many retries a minute are allowed however few the requests are."""
    longest_pause: Seconds = 900.0
    """A 429 holds its limit for as long as it demands, but not longer than this."""
    routes: tuple[RouteRepeat, ...] = ()
    """Exceptions to what is safe to repeat; the first that matches counts."""


class Group(Part):
    """Routes that fail apart from the rest: they have a breaker and a retry budget of their own."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(config_values.group_name)]
    """Its name in metrics, logs and answers."""
    methods: tuple[Method, ...] = ()
    """Methods in capitals; empty means all."""
    paths: tuple[PathPattern, ...]
    """Path patterns, as in limits."""


class Breaker(Part):
    """When to leave an upstream alone that fails, and when to look at it again."""

    enabled: bool = True
    """Whether there is one; it may be opened by hand all the same."""
    failures: Annotated[int, Field(ge=1)] = 10
    """Server and network failures one after the other that open it."""
    interval: Seconds = 5.0
    """When it is open, one request goes as a probe after this; each further one after twice as long."""
    longest_interval: Seconds = 30.0
    """Longest time between two probes that doubling leads to."""
    maintenance: Seconds = 30.0
    """A 503 whose Retry-After is at least this opens it at once, for that long."""
    longest_maintenance: Seconds = 900.0
    """Longest time that such a 503 opens it for."""
    groups: Annotated[tuple[Group, ...], apart("group")] = ()
    """Routes with a breaker and a retry budget of their own; the first that matches counts."""
