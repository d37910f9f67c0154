"""Everything that can go wrong, as a tree by fault.

`UpstreamError` is a failure between us and the upstream: a value inside the proxy, like a response.
`Refusal` is an answer that the proxy itself gives. Which class a *response* falls in is decided in
`policy/classify.py`; the names of all classes are here, because events and errors both carry them.
"""

from enum import StrEnum


class Fault(StrEnum):
    """Whose fault an error is."""

    NONE = "none"
    CLIENT = "client"
    UPSTREAM = "upstream"
    NETWORK = "network"
    PROXY = "proxy"


class ErrorClass(StrEnum):
    """The kinds of error that metrics, logs, retries and the breaker tell apart; `NONE` is success."""

    NONE = "none"
    VALIDATION = "validation"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    PLAN_INSUFFICIENT = "plan_insufficient"
    SCOPE_REQUIRED = "scope_required"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    CLIENT_ERROR = "client_error"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway_timeout"
    UPSTREAM_ERROR = "upstream_error"
    DNS_ERROR = "dns_error"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_TIMEOUT = "connection_timeout"
    TLS_ERROR = "tls_error"
    CONNECTION_TERMINATED = "connection_terminated"
    READ_TIMEOUT = "read_timeout"
    RESPONSE_INCOMPLETE = "response_incomplete"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    CIRCUIT_OPEN = "circuit_open"
    REQUEST_TOO_LARGE = "request_too_large"
    BAD_REQUEST = "bad_request"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    SHUTTING_DOWN = "shutting_down"
    CLIENT_DISCONNECTED = "client_disconnected"
    INTERNAL_ERROR = "internal_error"


PROXY_STATUS = {
    ErrorClass.DNS_ERROR: "dns_error",
    ErrorClass.CONNECTION_REFUSED: "connection_refused",
    ErrorClass.CONNECTION_TIMEOUT: "connection_timeout",
    ErrorClass.TLS_ERROR: "tls_protocol_error",
    ErrorClass.CONNECTION_TERMINATED: "connection_terminated",
    ErrorClass.READ_TIMEOUT: "connection_read_timeout",
    ErrorClass.RESPONSE_INCOMPLETE: "http_response_incomplete",
    ErrorClass.QUEUE_FULL: "connection_limit_reached",
    ErrorClass.QUEUE_TIMEOUT: "connection_limit_reached",
    ErrorClass.CIRCUIT_OPEN: "destination_unavailable",
    ErrorClass.REQUEST_TOO_LARGE: "http_request_error",
    ErrorClass.BAD_REQUEST: "http_request_error",
    ErrorClass.REQUEST_TIMEOUT: "http_request_error",
    ErrorClass.TOO_MANY_CONNECTIONS: "connection_limit_reached",
    ErrorClass.UNAUTHORIZED_CLIENT: "http_request_denied",
    ErrorClass.SHUTTING_DOWN: "destination_unavailable",
    ErrorClass.INTERNAL_ERROR: "proxy_internal_error",
}
"""The names of RFC 9209 §2.3 for the answers that the proxy makes itself."""


class UpstreamError(Exception):
    """No answer, or only a part of one.

    `written` is False only when not one byte of the request has left: then a repeat is safe whatever the
    method. `detail` is a sentence for people and never holds a header's value. `status` is set when the
    head came and the body did not. `proxy_status` is RFC 9209's name where it says more than the class.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        detail: str,
        *,
        written: bool,
        status: int | None = None,
        proxy_status: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error_class = error_class
        self.detail = detail
        self.written = written
        self.proxy_status = proxy_status or PROXY_STATUS.get(error_class, "proxy_internal_error")

    def __repr__(self) -> str:
        return f"<UpstreamError {self.error_class} written={self.written}: {self.detail}>"


class Refusal(Exception):
    """An answer made by the proxy: status, stable `code`, error class, and when to come back (seconds)."""

    status: int = 500
    error_class: ErrorClass = ErrorClass.INTERNAL_ERROR
    kind: str = ""
    """What `code` says after `proxy_`, where that is not the error class."""

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The stable name of this answer in its JSON body."""
        return f"proxy_{self.kind or self.error_class}"

    @property
    def proxy_status(self) -> str:
        """The error type of RFC 9209."""
        return PROXY_STATUS[self.error_class]


class BadRequest(Refusal):
    """The request is malformed or ambiguous and was not sent on."""

    status = 400
    error_class = ErrorClass.BAD_REQUEST


class TargetTooLong(BadRequest):
    """The request target is longer than `listen.max_target`."""

    status = 414
    kind = "target_too_long"


class HeadTooLarge(BadRequest):
    """The request head, a field of it, or the number of its fields exceeds what is allowed."""

    status = 431
    kind = "head_too_large"


class UpgradeRefused(BadRequest):
    """Another protocol is asked for, such as WebSocket, which the proxy does not carry."""

    status = 501
    kind = "upgrade_refused"


class RequestTimeout(Refusal):
    """The request did not arrive in time."""

    status = 408
    error_class = ErrorClass.REQUEST_TIMEOUT


class TooManyConnections(Refusal):
    """As many clients are connected as may be."""

    status = 503
    error_class = ErrorClass.TOO_MANY_CONNECTIONS


class UnauthorizedClient(Refusal):
    """The client has to show a token, and showed none that is known."""

    status = 401
    error_class = ErrorClass.UNAUTHORIZED_CLIENT


class RequestTooLarge(Refusal):
    """The body exceeds the API's limit; saying so costs no call."""

    status = 413
    error_class = ErrorClass.REQUEST_TOO_LARGE


class NoSpace(Refusal):
    """The request body cannot be kept: the disk is full, or does not take it."""

    status = 507
    kind = "no_space"


class QueueFull(Refusal):
    """As many requests wait as may."""

    status = 503
    error_class = ErrorClass.QUEUE_FULL


class QueueTimeout(Refusal):
    """The turn of this request comes, or came, after its deadline."""

    status = 429
    error_class = ErrorClass.QUEUE_TIMEOUT


class CircuitOpen(Refusal):
    """The upstream fails, and the turn of this request comes, or came, after its deadline because of that."""

    status = 503
    error_class = ErrorClass.CIRCUIT_OPEN


class ShuttingDown(Refusal):
    """The proxy is stopping and takes nothing new."""

    status = 503
    error_class = ErrorClass.SHUTTING_DOWN


class InternalError(Refusal):
    """The proxy failed; the request may or may not have been sent."""


class UpstreamFailed(Refusal):
    """Every attempt ended in a network failure: what is left to say is which."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(error.detail)
        self.error_class = error.error_class
        self._proxy_status = error.proxy_status
        timed_out = error.error_class in (ErrorClass.CONNECTION_TIMEOUT, ErrorClass.READ_TIMEOUT)
        self.status = 504 if timed_out else 502

    @property
    def proxy_status(self) -> str:
        """The error type of RFC 9209."""
        return self._proxy_status
