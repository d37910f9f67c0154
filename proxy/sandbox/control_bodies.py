"""What the control pages are sent: JSON, read into values or refused with one sentence."""

from __future__ import annotations

import json
from typing import Any

from proxy.sandbox import errors
from proxy.sandbox.faults import FaultPlan
from proxy.sandbox.limits import Limit, parse_named_limits

LIMITS_EXAMPLE = '{"standard": "40/60", "exports": "3"}'
FAULTS_EXAMPLE = '{"rates": {"503": 1.0}, "retry_after": 120}'


def read_limits(data: bytes) -> dict[str, Limit]:
    """Read sizes by scope, each as a command line writes it.

    Raises ApiError (400) for another shape, ValueError for what is no limit.
    """
    sizes = _object(data, LIMITS_EXAMPLE)
    for scope, size in sizes.items():
        if not isinstance(size, str):
            raise errors.bad_request(f"The limit of {scope!r} must be a string, as in {LIMITS_EXAMPLE}.")
    return parse_named_limits(f"{scope}={size}" for scope, size in sizes.items())


def read_faults(data: bytes) -> FaultPlan:
    """Read a whole plan; what is left out is as if a sandbox were started without it.

    Raises ApiError (400) for another shape, ValueError for what cannot be drawn.
    """
    plan = _object(data, FAULTS_EXAMPLE)
    rates, retry_after = plan.pop("rates", {}), plan.pop("retry_after", None)
    if plan:
        raise errors.bad_request(f"{', '.join(map(repr, plan))} cannot be set; write {FAULTS_EXAMPLE}.")
    if not isinstance(rates, dict):
        raise errors.bad_request(f"The rates must be shares by fault, as in {FAULTS_EXAMPLE}.")
    figures = rates if retry_after is None else {**rates, "retry_after": retry_after}
    for name, figure in figures.items():
        if not isinstance(figure, float):
            raise errors.bad_request(f"{name!r} takes a number, as in {FAULTS_EXAMPLE}.")
    return FaultPlan(rates, retry_after)


def _object(data: bytes, example: str) -> dict[str, Any]:
    try:
        # Every number a float: an integer of a thousand digits is infinite then, and refused as such.
        value = json.loads(data, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise errors.bad_request(f"JSON parse error - {error}") from None
    if not isinstance(value, dict):
        raise errors.bad_request(f"The body must be an object, as in {example}.")
    return value
