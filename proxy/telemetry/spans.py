"""What spans are called and what they say, by OpenTelemetry's conventions for HTTP.

The only place where an attribute is named; those of our own begin with `avala_proxy.`. The log's rule holds:
no path, query, full URL, body or header's value, and no client's address. What clients choose and the log
shows too (a request's id, a caller's name) has whatever looks like a key cut out.
"""

from collections.abc import Mapping

from opentelemetry.trace import Span, Status, StatusCode

from proxy.config import Listen
from proxy.config_values import parse_base_url
from proxy.errors import ErrorClass
from proxy.events import AttemptEnded, ExchangeEnded
from proxy.messages import Request
from proxy.policy.routes import OTHER
from proxy.telemetry.logs import redact

Attributes = Mapping[str, str | int | float | bool]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_HARMLESS = frozenset({ErrorClass.NONE, ErrorClass.CLIENT_DISCONNECTED})
"""A client that leaves is everyday life, and no failure of whoever served it."""


def name(method: str, route: str = OTHER) -> str:
    """Name a span: `GET /api/v1/datasets/{id}/`, or less where less is known."""
    said = method if method in _METHODS else "HTTP"
    return said if route == OTHER else f"{said} {redact(route)}"


def here(listen: Listen) -> Attributes:
    """Say where the proxy is reached, by its settings: `Host` is what a client makes of it."""
    if listen.public_url is not None:
        _, host, port, _ = parse_base_url(listen.public_url)
        return {"server.address": host, "server.port": port}
    place = listen.places[0]
    known = {"server.port": place.port} if place.port else {}
    return {"server.address": place.host or place.path, **known}


def there(base_url: str) -> Attributes:
    """Say where the upstream is."""
    scheme, host, port, _ = parse_base_url(base_url)
    return {"server.address": host, "server.port": port, "url.scheme": scheme}


def asked(request: Request) -> Attributes:
    """Say what a client asks, as far as its head tells."""
    return {
        "http.request.method": _method(request.method),
        "url.scheme": "https" if request.secure else "http",
        "network.protocol.version": request.version.decode("ascii"),
    }


def sent(request: Request, before: int) -> Attributes:
    """Say what the upstream is asked, after so many attempts before."""
    resent = {"http.request.resend_count": before} if before else {}
    template = {} if request.route == OTHER else {"url.template": redact(request.route)}
    return {"http.request.method": _method(request.method), **template, **resent}


def end_attempt(span: Span, event: AttemptEnded, at: int) -> None:
    """Say what became of an attempt; with `at`, as everywhere, in nanoseconds since 1970."""
    _status(span, event.status)
    span.set_attributes(
        {
            "avala_proxy.error_class": event.error_class.value,
            "avala_proxy.fault": event.fault.value,
            "avala_proxy.sent": event.written,
        }
    )
    if event.error_class not in _HARMLESS:
        _fail(span, event.error_class)
    span.end(at)


def end_exchange(span: Span, event: ExchangeEnded, at: int) -> None:
    """Say what a client got; a 4xx is its own affair, whoever said it."""
    span.update_name(name(event.method, event.route))
    _status(span, event.status)
    span.set_attributes(_account(event))
    if event.route != OTHER:
        span.set_attribute("http.route", redact(event.route))
    if event.error_class not in _HARMLESS and (event.status is None or not 400 <= event.status < 500):
        _fail(span, event.error_class)
    span.end(at)


def _account(event: ExchangeEnded) -> Attributes:
    known: dict[str, str | float | None] = {
        "caller": None if event.caller == event.peer else redact(event.caller),
        "client": event.client,
        "credential": event.credential,
        "would_wait": event.would_wait,
    }
    return {
        "avala_proxy.request_id": redact(event.request_id),
        "avala_proxy.error_class": event.error_class.value,
        "avala_proxy.fault": event.fault.value,
        "avala_proxy.attempts": event.attempts,
        "avala_proxy.waited": event.waited,
        "avala_proxy.limit": event.limit,
        "avala_proxy.coalesced": event.coalesced,
        **{f"avala_proxy.{key}": value for key, value in known.items() if value is not None},
    }


def _method(method: str) -> str:
    return method if method in _METHODS else "_OTHER"


def _status(span: Span, status: int | None) -> None:
    if status is not None:
        span.set_attribute("http.response.status_code", status)


def _fail(span: Span, error_class: ErrorClass) -> None:
    span.set_attribute("error.type", error_class.value)
    span.set_status(Status(StatusCode.ERROR))
