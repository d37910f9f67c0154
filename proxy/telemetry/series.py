"""Every series of the metrics page that is ours, and the only place where one is named.

Nothing unbounded is a label: no path, no credential, no client. `docs/metrics.md` is made of this
(`reference.py`), and Prometheus' naming is kept to: https://prometheus.io/docs/practices/naming/.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "avala_proxy"

# From a cached answer to the longest head timeout; a window is a minute, so waits go to several of them.
CALLS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0)
WAITS = (0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class Series:
    """A family of series: what it is called on the page without its prefix, and what it tells."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    tells: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """Its name, as the client library wants it: without the `_total` and `_info` that it adds."""
        return f"{PREFIX}_{self.name.removesuffix('_total').removesuffix('_info')}"


def _counter(name: str, tells: str, *labels: str) -> Series:
    return Series(name, "counter", tells, labels)


def _histogram(name: str, tells: str, label: str, buckets: tuple[float, ...]) -> Series:
    return Series(name, "histogram", tells, (label,), buckets)


def _gauge(name: str, tells: str, *labels: str) -> Series:
    return Series(name, "gauge", tells, labels)


REQUESTS = _counter("requests_total", "What clients got.", "method", "route", "status", "error_class")
ATTEMPTS = _counter(
    "upstream_attempts_total", "What the API was asked.", "method", "route", "status", "error_class"
)
ERRORS = _counter(
    "errors_total",
    "Failed attempts, broken answers, refusals, and clients that left.",
    "error_class",
    "fault",
)
RETRIES = _counter("retries_total", "Attempts made again.", "error_class")
RETRIES_STOPPED = _counter(
    "retries_stopped_total", "Transient failures not tried again.", "error_class", "reason"
)
REJECTED = _counter("rejected_total", "Requests refused by the proxy.", "reason")
COALESCED = _counter(
    "coalesced_total", "Requests that got the answer of another one that asked for the same.", "route"
)
INTERIM_RESPONSES = _counter("interim_responses_total", "Interim responses to clients that wait.")
LIMIT_PAUSES = _counter("limit_pauses_total", "Refusals of the API that paused a limit.", "limit")
FOREIGN_REQUESTS = _counter(
    "foreign_requests_total", "Requests that the API has counted and that are not ours.", "limit"
)
LEDGER_FAILURES = _counter("ledger_failures_total", "Calls to the shared store that failed.", "reason")
OBSERVED_REJECTED = _counter(
    "observed_rejected_total", "Requests that would have been refused, while nothing is held.", "reason"
)
LOG_LINES_LOST = _counter("log_lines_lost_total", "Lines of the log that could not be written.")

REQUEST_DURATION = _histogram(
    "request_duration_seconds", "From a request's arrival to its last byte.", "route", WAITS
)
UPSTREAM_DURATION = _histogram(
    "upstream_duration_seconds", "From asking the API to the response head.", "route", CALLS
)
QUEUE_WAIT = _histogram("queue_wait_seconds", "Waits for a turn, by what held it.", "limit", WAITS)
OBSERVED_WAIT = _histogram(
    "observed_wait_seconds", "Waits that there would have been, while nothing is held.", "limit", WAITS
)

IN_FLIGHT = _gauge("in_flight", "Requests being answered.")
QUEUED = _gauge("queued", "Requests that wait, each once.")
QUEUE_SIZE = _gauge("queue_size", "Requests that may wait.")
QUEUE_DEPTH = _gauge("queue_depth", "Requests that wait for this limit, and perhaps for others too.", "limit")
LIMIT_CAPACITY = _gauge(
    "limit_capacity", "The size of the limit as known, for the credential with the smallest.", "limit"
)
LIMIT_REMAINING = _gauge(
    "limit_remaining", "What is left of it beside the reserve, for the credential with the least.", "limit"
)
LIMIT_RESERVE = _gauge("limit_reserve", "What is always left to others who use the same key.", "limit")
LIMIT_FOREIGN = _gauge(
    "limit_foreign", "What others have of it now, for the credential with the most.", "limit"
)
LIMIT_WINDOW = _gauge("limit_window_seconds", "The time in which it counts; 0 for what is at once.", "limit")
LIMIT_PAUSED = _gauge("limit_paused", "1 while the API's refusal holds everybody back.", "limit")
BREAKER_STATE = _gauge("breaker_state", "1 for the state that the breaker is in.", "group", "state")
LEDGER_UP = _gauge("ledger_up", "0 while the shared store cannot be asked.")
REPLICAS = _gauge("replicas", "Proxies that share the budget, as far as is known.")
DRAINING = _gauge("draining", "1 while it is about to stop.")
RELOAD_SUCCESSFUL = _gauge("config_reload_successful", "0 if the configuration was bad when last read again.")

BUILD = Series("build_info", "info", "What is running.", ("version", "python", "aiohttp"))
CONFIG = Series("config_info", "info", "How it is configured.", ("upstream", "hash"))

ALL: tuple[Series, ...] = tuple(one for one in list(globals().values()) if isinstance(one, Series))
"""Every one, in the order of this file."""

LABELS = {
    "method": "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`, `TRACE` or `other`.",
    "route": "A template such as `/api/v1/datasets/{id}/`, or `other`; `metrics.routes` (25) at the most.",
    "status": "The status, or `none` where there was no answer.",
    "error_class": "One of the classes below, or `none` for success.",
    "fault": "Whose fault it is: `client`, `upstream`, `network` or `proxy`.",
    "limit": "The name of a limit; of a wait also `breaker`, and `none` for what nothing held.",
    "reason": "Why: see below.",
    "group": "A group of routes that has a breaker; `upstream` is the rest.",
    "state": "`closed`, `open` or `half_open`.",
    "version": "The proxy's version.",
    "python": "The version of Python.",
    "aiohttp": "The version of aiohttp.",
    "upstream": "`upstream.base_url`.",
    "hash": "Of the configuration in force: it tells replicas and reloads apart.",
}
"""What each label may be."""
