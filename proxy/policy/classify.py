"""The only place where an outcome gets its error class, and where it is said what may be repeated.

Retries, the breaker, metrics and logs all read this one table, so that they never disagree. How long to
wait before a repeat, and whether there is time left for one, is `retry.py`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from proxy.config import RouteRepeat
from proxy.errors import ErrorClass, Fault, UpstreamError
from proxy.messages import Request, Response
from proxy.policy.paths import compile_paths

CLASS_OF_STATUS: Mapping[int, ErrorClass] = MappingProxyType(
    {
        400: ErrorClass.VALIDATION,
        401: ErrorClass.AUTHENTICATION,
        403: ErrorClass.PERMISSION,
        404: ErrorClass.NOT_FOUND,
        405: ErrorClass.METHOD_NOT_ALLOWED,
        409: ErrorClass.CONFLICT,
        413: ErrorClass.PAYLOAD_TOO_LARGE,
        422: ErrorClass.VALIDATION,
        429: ErrorClass.RATE_LIMITED,
        500: ErrorClass.SERVER_ERROR,
        502: ErrorClass.BAD_GATEWAY,
        503: ErrorClass.UNAVAILABLE,
        504: ErrorClass.GATEWAY_TIMEOUT,
    }
)
"""Statuses with a class of their own; the rest go by their hundred (API page "Error Code Reference")."""

CLASS_OF_CODE: Mapping[str, ErrorClass] = MappingProxyType(
    {code: ErrorClass(code) for code in ("plan_insufficient", "scope_required")}
)
"""Codes that tell one 403 from another (API page "Structured Error Codes")."""

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

_CLASSES_OF_FAULT: Mapping[Fault, tuple[ErrorClass, ...]] = {
    Fault.NONE: (ErrorClass.NONE,),
    Fault.CLIENT: (
        ErrorClass.VALIDATION,
        ErrorClass.AUTHENTICATION,
        ErrorClass.PERMISSION,
        ErrorClass.PLAN_INSUFFICIENT,
        ErrorClass.SCOPE_REQUIRED,
        ErrorClass.NOT_FOUND,
        ErrorClass.METHOD_NOT_ALLOWED,
        ErrorClass.CONFLICT,
        ErrorClass.PAYLOAD_TOO_LARGE,
        ErrorClass.CLIENT_ERROR,
    ),
    Fault.UPSTREAM: (
        ErrorClass.RATE_LIMITED,
        ErrorClass.SERVER_ERROR,
        ErrorClass.BAD_GATEWAY,
        ErrorClass.UNAVAILABLE,
        ErrorClass.GATEWAY_TIMEOUT,
        ErrorClass.UPSTREAM_ERROR,
    ),
    Fault.NETWORK: (
        ErrorClass.DNS_ERROR,
        ErrorClass.CONNECTION_REFUSED,
        ErrorClass.CONNECTION_TIMEOUT,
        ErrorClass.TLS_ERROR,
        ErrorClass.CONNECTION_TERMINATED,
        ErrorClass.READ_TIMEOUT,
        ErrorClass.RESPONSE_INCOMPLETE,
    ),
    Fault.PROXY: (
        ErrorClass.QUEUE_FULL,
        ErrorClass.QUEUE_TIMEOUT,
        ErrorClass.CIRCUIT_OPEN,
        ErrorClass.REQUEST_TOO_LARGE,
        ErrorClass.BAD_REQUEST,
        ErrorClass.REQUEST_TIMEOUT,
        ErrorClass.TOO_MANY_CONNECTIONS,
        ErrorClass.UNAUTHORIZED_CLIENT,
        ErrorClass.SHUTTING_DOWN,
        ErrorClass.CLIENT_DISCONNECTED,
        ErrorClass.INTERNAL_ERROR,
    ),
}

FAULT_OF: Mapping[ErrorClass, Fault] = MappingProxyType(
    {error_class: fault for fault, classes in _CLASSES_OF_FAULT.items() for error_class in classes}
)
"""Whose fault each class is; complete over `ErrorClass`."""

TRANSIENT: frozenset[ErrorClass] = frozenset(
    (*_CLASSES_OF_FAULT[Fault.UPSTREAM], *_CLASSES_OF_FAULT[Fault.NETWORK])
) - {ErrorClass.UPSTREAM_ERROR}
"""What may be gone the next time: 429, 500, 502, 503, 504 and every network failure."""

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that may be done twice (RFC 9110 section 9.2.2); method names are case-sensitive."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an outcome means. `repeatable`: a second try cannot do the operation twice.

    `code` is the structured one of an error's body, if that was read.
    """

    error_class: ErrorClass
    fault: Fault
    transient: bool
    repeatable: bool
    code: str | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against the upstream's health, as the breaker sees it: no refusal does."""
        return (
            self.fault in (Fault.UPSTREAM, Fault.NETWORK) and self.error_class is not ErrorClass.RATE_LIMITED
        )


def judge(
    outcome: Response | UpstreamError,
    request: Request,
    *,
    code: str | None = None,
    exceptions: Sequence[RouteRepeat] = (),
) -> Judgement:
    """Say what an outcome means; `code` is that of the error body, if it was read (`structured_code`)."""
    if isinstance(outcome, UpstreamError):
        error_class = outcome.error_class
    else:
        error_class = _class_of(outcome.status, code)
    return Judgement(
        error_class,
        FAULT_OF[error_class],
        error_class in TRANSIENT,
        _repeatable(outcome, error_class, request, exceptions),
        code,
    )


def structured_code(content: bytes) -> str | None:
    """Read the `code` of a JSON error body; None for anything else, and nothing is raised.

    It is shown to people, so what is no plain word is none.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def _class_of(status: int, code: str | None) -> ErrorClass:
    if status == 403 and code is not None:
        return CLASS_OF_CODE.get(code, ErrorClass.PERMISSION)
    if 100 <= status < 400:
        return ErrorClass.NONE
    rest = ErrorClass.CLIENT_ERROR if 400 <= status < 500 else ErrorClass.UPSTREAM_ERROR
    return CLASS_OF_STATUS.get(status, rest)


def _repeatable(
    outcome: Response | UpstreamError,
    error_class: ErrorClass,
    request: Request,
    exceptions: Sequence[RouteRepeat],
) -> bool:
    """Decide in this order: nothing was done; the operator said so; it may be done twice; it was put off."""
    if isinstance(outcome, UpstreamError) and not outcome.written:
        return True
    if error_class is ErrorClass.RATE_LIMITED:  # the API throttles before its views run
        return True
    for route in exceptions:
        if _falls_under(request, route):
            return route.repeat == "always"
    if request.method in IDEMPOTENT or _filled(request, b"idempotency-key"):
        return True
    return error_class is ErrorClass.UNAVAILABLE and _filled(outcome, b"retry-after")


def _falls_under(request: Request, route: RouteRepeat) -> bool:
    return (not route.methods or request.method in route.methods) and compile_paths(route.paths)(request.path)


def _filled(message: Request | Response | UpstreamError, name: bytes) -> bool:
    """Whether a field is there and says something; the quotes are those of a structured field's string."""
    return not isinstance(message, UpstreamError) and bool((message.headers.get(name) or "").strip(' \t"'))
