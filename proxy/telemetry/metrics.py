"""Every series that the proxy has, and the only place where one is named.

A listener: it is told what happened (`events.py`) and counts. What is true only now (queues, limits) comes as
a `State` when the page is asked for. Nothing unbounded becomes a label: no path, no credential, no client.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version as installed
from typing import Any

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector

from proxy.config import Settings
from proxy.config_report import effective
from proxy.errors import ErrorClass, Fault
from proxy.events import (
    Admitted,
    AttemptEnded,
    BrokenOff,
    Coalesced,
    Event,
    ExchangeEnded,
    ForeignSeen,
    InterimSent,
    LedgerFailed,
    LimitPaused,
    Observed,
    Rejected,
    RetryScheduled,
    RetryStopped,
)
from proxy.state import State
from proxy.telemetry.untraced import TraceId, no_trace

PREFIX = "avala_proxy"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

# From a cached answer to the longest head timeout; a window is a minute, so waits go to several of them.
CALLS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
WAITS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class _Children:
    """A series whose labelled children are looked up once: `.labels()` costs three times an increment."""

    def __init__(self, series: MetricWrapperBase) -> None:
        self._series = series
        self._known: dict[tuple[str, ...], Any] = {}

    def __call__(self, *labels: str) -> Any:
        child = self._known.get(labels)
        if child is None:
            child = self._known[labels] = self._series.labels(*labels)
        return child


class Metrics:
    """Count what happens, and write the metrics page."""

    def __init__(self, settings: Settings, *, version: str, trace: TraceId = no_trace) -> None:
        self._trace = trace
        self._registry = CollectorRegistry()
        self._count_series()
        self._time_series()
        self._info_series(version)
        self.configured(settings)
        self._on: dict[type, Callable[[Any], None]] = {
            Admitted: self._admitted,
            Coalesced: self._coalesced,
            InterimSent: self._interim_sent,
            Observed: self._observed,
            Rejected: self._rejected,
            AttemptEnded: self._attempt_ended,
            BrokenOff: self._broken_off,
            RetryScheduled: self._retry_scheduled,
            RetryStopped: self._retry_stopped,
            LimitPaused: self._limit_paused,
            ForeignSeen: self._foreign_seen,
            LedgerFailed: self._ledger_failed,
            ExchangeEnded: self._exchange_ended,
        }

    def _count_series(self) -> None:
        self._requests = self._counter(
            "requests", "What clients got.", "method", "route", "status", "error_class"
        )
        self._attempts = self._counter(
            "upstream_attempts", "What the API was asked.", "method", "route", "status", "error_class"
        )
        self._errors = self._counter(
            "errors",
            "Failed attempts, broken answers, refusals, and clients that left.",
            "error_class",
            "fault",
        )
        self._retries = self._counter("retries", "Attempts made again.", "error_class")
        self._stopped = self._counter(
            "retries_stopped", "Transient failures not tried again.", "error_class", "reason"
        )
        self._rejections = self._counter("rejected", "Requests refused by the proxy.", "reason")
        self._coalescings = self._counter(
            "coalesced", "Requests that got the answer of another one that asked for the same.", "route"
        )
        self._ledger_failures = self._counter(
            "ledger_failures", "Calls to the shared store that failed.", "reason"
        )
        self._interims = Counter(
            f"{PREFIX}_interim_responses", "Interim responses to clients that wait.", registry=self._registry
        )
        self._would_reject = self._counter(
            "observed_rejected", "Requests that would have been refused, while nothing is held.", "reason"
        )
        self._pauses = self._counter("limit_pauses", "Refusals of the API that paused a limit.", "limit")
        self._foreign = self._counter(
            "foreign_requests", "Requests that the API has counted and that are not ours.", "limit"
        )

    def _time_series(self) -> None:
        self._duration = self._histogram(
            "request_duration_seconds", "From a request's arrival to its last byte.", "route", WAITS
        )
        self._upstream = self._histogram(
            "upstream_duration_seconds", "From asking the API to the response head.", "route", CALLS
        )
        self._waits = self._histogram(
            "queue_wait_seconds", "Waits for a turn, by what held it.", "limit", WAITS
        )
        self._would_wait = self._histogram(
            "observed_wait_seconds",
            "Waits that there would have been, while nothing is held.",
            "limit",
            WAITS,
        )

    def _info_series(self, version: str) -> None:
        build = Info(f"{PREFIX}_build", "What is running.", registry=self._registry)
        build.info({"version": version, "python": platform.python_version(), "aiohttp": installed("aiohttp")})
        self._config = Info(f"{PREFIX}_config", "How it is configured.", registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(PLATFORM_COLLECTOR)
        self._registry.register(GC_COLLECTOR)

    def _counter(self, name: str, help_text: str, *labels: str) -> _Children:
        return _Children(Counter(f"{PREFIX}_{name}", help_text, labels, registry=self._registry))

    def _histogram(self, name: str, help_text: str, label: str, buckets: tuple[float, ...]) -> _Children:
        series = Histogram(f"{PREFIX}_{name}", help_text, [label], buckets=buckets, registry=self._registry)
        return _Children(series)

    def configured(self, settings: Settings) -> None:
        """Show the configuration in force; `hash` tells replicas and reloads apart."""
        digest = hashlib.sha256(effective(settings).encode()).hexdigest()[:12]
        self._config.info({"upstream": settings.upstream.base_url, "hash": digest})

    def __call__(self, event: Event) -> None:
        """Count an event."""
        count = self._on.get(type(event))
        if count is not None:
            count(event)

    def _admitted(self, event: Admitted) -> None:
        self._waits(event.limit).observe(event.waited)

    def _coalesced(self, event: Coalesced) -> None:
        self._coalescings(event.route).inc()

    def _interim_sent(self, _event: InterimSent) -> None:
        self._interims.inc()

    def _observed(self, event: Observed) -> None:
        if event.refused is None:
            self._would_wait(event.limit).observe(event.waited)
        else:
            self._would_reject(event.refused).inc()

    def _rejected(self, event: Rejected) -> None:
        self._rejections(event.reason).inc()
        self._errors(event.reason, Fault.PROXY).inc()

    def _attempt_ended(self, event: AttemptEnded) -> None:
        # A client that left fails no attempt; it is counted once, at the exchange's end.
        if event.error_class not in (ErrorClass.NONE, ErrorClass.CLIENT_DISCONNECTED):
            self._errors(event.error_class, event.fault).inc()
        # What was never written the API does not know of; this count equals the API's own.
        if event.written:
            self._upstream(event.route).observe(event.seconds, self._exemplar())
            status = _status(event.status)
            self._attempts(_method(event.method), event.route, status, event.error_class).inc()

    def _broken_off(self, event: BrokenOff) -> None:
        self._errors(event.error_class, event.fault).inc()

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        self._retries(event.error_class).inc()

    def _retry_stopped(self, event: RetryStopped) -> None:
        self._stopped(event.error_class, event.reason).inc()

    def _limit_paused(self, event: LimitPaused) -> None:
        self._pauses(event.limit).inc()

    def _foreign_seen(self, event: ForeignSeen) -> None:
        self._foreign(event.limit).inc(event.count)

    def _ledger_failed(self, event: LedgerFailed) -> None:
        self._ledger_failures(event.reason).inc()

    def _exchange_ended(self, event: ExchangeEnded) -> None:
        if event.error_class is ErrorClass.CLIENT_DISCONNECTED:
            self._errors(event.error_class, event.fault).inc()
        self._duration(event.route).observe(event.duration, self._exemplar())
        status = _status(event.status)
        self._requests(_method(event.method), event.route, status, event.error_class).inc()

    def _exemplar(self) -> dict[str, str] | None:
        """Name a trace in which what is observed can be seen, if there is one."""
        trace_id = self._trace()
        return None if trace_id is None else {"trace_id": trace_id}

    def render(self, accept: str, state: State) -> tuple[bytes, str]:
        """Write the page in the format that an Accept header asks for; return it and its content type.

        It may run in any thread: the series lock themselves, and the state is a snapshot.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number is not survived there
            encode, content_type = choose_encoder("")
        return encode(_Page(self._registry, state)), content_type


class _Page:
    """All series at one moment, as the encoders take them."""

    def __init__(self, registry: CollectorRegistry, state: State) -> None:
        self._registry = registry
        self._state = state

    def collect(self) -> Iterator[Metric]:
        for series in self._registry.collect():
            # The library can leave these out for the whole process only, and we are not alone in it. The
            # other types belong to collectors that are shared, and have none.
            if series.type in ("counter", "histogram"):
                series.samples = [one for one in series.samples if not one.name.endswith("_created")]
            yield series
        yield from _gauges(self._state)


def _gauges(state: State) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(f"{PREFIX}_in_flight", "Requests being answered.", value=state.in_flight)
    depth = _by_limit("queue_depth", "Requests that wait for this limit.")
    capacity = _by_limit(
        "limit_capacity", "The size of the limit as known, for the credential with the smallest."
    )
    remaining = _by_limit("limit_remaining", "What is left of it, for the credential with the least.")
    paused = _by_limit("limit_paused", "1 while the API's refusal holds everybody back.")
    for limit in state.limits:
        depth.add_metric([limit.name], limit.queued)
        capacity.add_metric([limit.name], limit.capacity)
        remaining.add_metric([limit.name], limit.remaining)
        paused.add_metric([limit.name], int(limit.paused))
    up = GaugeMetricFamily(
        f"{PREFIX}_ledger_up", "0 while the shared store cannot be asked.", value=int(state.ledger_up)
    )
    replicas = GaugeMetricFamily(
        f"{PREFIX}_replicas", "Proxies that share the budget, as far as is known.", value=state.replicas
    )
    yield from (in_flight, depth, capacity, remaining, paused, up, replicas, _breakers(state))


def _breakers(state: State) -> Metric:
    series = GaugeMetricFamily(
        f"{PREFIX}_breaker_state", "1 for the state that the breaker is in.", labels=["group", "state"]
    )
    for breaker in state.breakers:
        for name in ("closed", "open", "half_open"):
            series.add_metric([breaker.name, name], int(breaker.state == name))
    return series


def _by_limit(name: str, help_text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, labels=["limit"])


def _method(method: str) -> str:
    return method if method in METHODS else "other"


def _status(status: int | None) -> str:
    if status is None:
        return "none"
    return str(status) if 100 <= status <= 999 else "other"
