"""Count what happens: a listener of events, which keeps the series that grow by them.

What they are called stands in `series.py`, which labels they get is decided in `children.py`, and what is
true only now (queues, limits) comes in as a `State` when the page is written (`page.py`).
"""

import hashlib
import platform
from collections.abc import Callable
from importlib.metadata import version as installed
from typing import Any

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
)
from prometheus_client.process_collector import ProcessCollector

from proxy.config import Settings
from proxy.config_report import effective
from proxy.events import (
    Admitted,
    AttemptEnded,
    Coalesced,
    ExchangeEnded,
    Failed,
    ForeignSeen,
    InterimSent,
    LedgerFailed,
    LifecycleChanged,
    LimitPaused,
    Observed,
    Rejected,
    Retried,
    RetryStopped,
)
from proxy.policy.routes import OTHER
from proxy.state import State
from proxy.telemetry import series
from proxy.telemetry.children import Answers, Children, Routes
from proxy.telemetry.page import render
from proxy.telemetry.untraced import TraceId, no_trace

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class Metrics:
    """Count what happens, and write the metrics page; `sweep` is to be called now and then.

    `lines_lost` tells how many lines of the log could not be written.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        version: str,
        trace: TraceId = no_trace,
        lines_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._trace = trace
        self._lines_lost = lines_lost
        self.registry = CollectorRegistry()
        self._make_by_route()
        self._make_others()
        self._make_infos(version)
        self._routes = Routes(settings.metrics.routes, settings.metrics.idle, self._forget)
        self.configured(settings)
        self.hears: dict[type, Callable[[Any], None]] = {
            Admitted: self._admitted,
            Coalesced: self._coalesced,
            InterimSent: self._interim_sent,
            Observed: self._observed,
            Rejected: self._rejected,
            AttemptEnded: self._attempt_ended,
            Failed: self._failed,
            Retried: self._retried,
            RetryStopped: self._retry_stopped,
            LimitPaused: self._limit_paused,
            ForeignSeen: self._foreign_seen,
            LedgerFailed: self._ledger_failed,
            LifecycleChanged: self._lifecycle_changed,
            ExchangeEnded: self._exchange_ended,
        }

    def _make_by_route(self) -> None:
        self._requests = Answers(self._counter(series.REQUESTS))
        self._attempts = Answers(self._counter(series.ATTEMPTS))
        self._coalescings = Children(self._counter(series.COALESCED))
        self._duration = Children(self._histogram(series.REQUEST_DURATION))
        self._upstream = Children(self._histogram(series.UPSTREAM_DURATION))
        self._by_route = (
            self._requests,
            self._attempts,
            self._coalescings,
            self._duration,
            self._upstream,
        )

    def _make_others(self) -> None:
        self._errors = Children(self._counter(series.ERRORS))
        self._retries = Children(self._counter(series.RETRIES))
        self._stopped = Children(self._counter(series.RETRIES_STOPPED))
        self._rejections = Children(self._counter(series.REJECTED))
        self._ledger_failures = Children(self._counter(series.LEDGER_FAILURES))
        self._interims = self._counter(series.INTERIM_RESPONSES)
        self._would_reject = Children(self._counter(series.OBSERVED_REJECTED))
        self._pauses = Children(self._counter(series.LIMIT_PAUSES))
        self._foreign = Children(self._counter(series.FOREIGN_REQUESTS))
        self._waits = Children(self._histogram(series.QUEUE_WAIT))
        self._would_wait = Children(self._histogram(series.OBSERVED_WAIT))

    def _make_infos(self, version: str) -> None:
        build = Info(series.BUILD.full_name, series.BUILD.tells, registry=self.registry)
        build.info({"version": version, "python": platform.python_version(), "aiohttp": installed("aiohttp")})
        self._config = Info(series.CONFIG.full_name, series.CONFIG.tells, registry=self.registry)
        one = series.RELOAD_SUCCESSFUL
        self._reloaded = Gauge(one.full_name, one.tells, registry=self.registry)
        self._reloaded.set(1)
        ProcessCollector(registry=self.registry)
        self.registry.register(PLATFORM_COLLECTOR)
        self.registry.register(GC_COLLECTOR)

    def _counter(self, one: series.Series) -> Counter:
        return Counter(one.full_name, one.tells, one.labels, registry=self.registry)

    def _histogram(self, one: series.Series) -> Histogram:
        return Histogram(one.full_name, one.tells, one.labels, buckets=one.buckets, registry=self.registry)

    def configured(self, settings: Settings) -> None:
        """Show the configuration in force; `hash` tells replicas and reloads apart."""
        digest = hashlib.sha256(effective(settings).encode()).hexdigest()[:12]
        self._config.info({"upstream": settings.upstream.base_url, "hash": digest})

    def sweep(self, now: float) -> None:
        """Drop the series of routes that were idle for long."""
        self._routes.sweep(now)

    def _forget(self, route: str) -> None:
        for children in self._by_route:
            children.forget(route)

    def _admitted(self, event: Admitted) -> None:
        self._waits(event.limit).observe(event.waited)

    def _coalesced(self, event: Coalesced) -> None:
        self._coalescings(self._routes.label(event.route)).inc()

    def _interim_sent(self, _event: InterimSent) -> None:
        self._interims.inc()

    def _observed(self, event: Observed) -> None:
        if event.refused is None:
            self._would_wait(event.limit).observe(event.waited)
        else:
            self._would_reject(event.refused).inc()

    def _rejected(self, event: Rejected) -> None:
        self._rejections(event.reason).inc()

    def _attempt_ended(self, event: AttemptEnded) -> None:
        # What was never written the API does not know of; this count equals the API's own.
        if event.written:
            route = self._routes.label(event.route)
            self._upstream(route).observe(event.seconds, self._exemplar())
            self._attempts(_method(event.method), route, _status(event.status), event.error_class).inc()

    def _failed(self, event: Failed) -> None:
        self._errors(event.error_class, event.fault).inc()

    def _retried(self, event: Retried) -> None:
        self._retries(event.error_class).inc()

    def _retry_stopped(self, event: RetryStopped) -> None:
        self._stopped(event.error_class, event.reason).inc()

    def _limit_paused(self, event: LimitPaused) -> None:
        self._pauses(event.limit).inc()

    def _foreign_seen(self, event: ForeignSeen) -> None:
        self._foreign(event.limit).inc(event.count)

    def _ledger_failed(self, event: LedgerFailed) -> None:
        self._ledger_failures(event.reason).inc()

    def _lifecycle_changed(self, event: LifecycleChanged) -> None:
        if event.state in ("reloaded", "reload_failed"):
            self._reloaded.set(event.state == "reloaded")

    def _exchange_ended(self, event: ExchangeEnded) -> None:
        route = self._routes.label(event.route)
        self._duration(route).observe(event.duration, self._exemplar())
        self._requests(_method(event.method), route, _status(event.status), event.error_class).inc()

    def _exemplar(self) -> dict[str, str] | None:
        """Name a trace in which what is observed can be seen, if there is one."""
        trace_id = self._trace()
        return None if trace_id is None else {"trace_id": trace_id}

    def render(self, accept: str, state: State) -> tuple[bytes, str]:
        """Write the page in the format that an Accept header asks for; return it and its content type.

        It may run in any thread: the series lock themselves, and the state is a snapshot.
        """
        return render(self.registry, accept, state, self._lines_lost())


def _method(method: str) -> str:
    return method if method in METHODS else OTHER


def _status(status: int | None) -> str:
    if status is None:
        return "none"
    return str(status) if 100 <= status <= 999 else OTHER
