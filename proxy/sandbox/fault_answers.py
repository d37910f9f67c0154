"""What a fault makes the API answer, head and body. Breaking connections instead is done by `wire.py`."""

from __future__ import annotations

import math
from dataclasses import replace
from email.utils import formatdate

from proxy.sandbox import errors
from proxy.sandbox.faults import Fault
from proxy.sandbox.replies import Reply

RETRY_AFTER_429 = 1.0
"""Seconds an injected 429 asks to wait when nothing else is said."""


def answer(fault: Fault, method: str, wall: float, retry_after: float | None) -> Reply:
    """Give the answer of a fault; `wall` is the unix time, `retry_after` the plan's default for a 503."""
    if fault.name == "500":
        return errors.server_error()
    if fault.name in ("502", "504"):
        return errors.gateway_error(int(fault.name))
    if fault.name == "503":
        seconds = fault.retry_after if fault.retry_after is not None else retry_after
        return errors.unavailable(None if seconds is None else _retry_after(fault, seconds, wall))
    if fault.name == "429":
        return _throttled(fault, wall)
    # The body has been read by now, so there is no reason to end the connection, as a real 413 must.
    return replace(errors.documented(fault.name, method, fault.code), close=False)


def _throttled(fault: Fault, wall: float) -> Reply:
    if fault.reset is not None and fault.retry_after is None:
        reply, told = errors.throttled(None), {}
    else:
        seconds = fault.retry_after if fault.retry_after is not None else RETRY_AFTER_429
        reply, told = errors.throttled(seconds), _retry_after(fault, seconds, wall)
    if fault.reset is not None:
        told["X-RateLimit-Reset"] = str(math.ceil(wall + fault.reset))
    return replace(reply, headers={**reply.headers, **told})


def _retry_after(fault: Fault, seconds: float, wall: float) -> dict[str, str]:
    if fault.as_date:
        return {"Retry-After": formatdate(math.ceil(wall + seconds), usegmt=True)}
    return {"Retry-After": str(math.ceil(seconds))}
