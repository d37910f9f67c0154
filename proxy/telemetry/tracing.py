"""Traces: a span for each request, and in it one for each wait, each sleep before a retry, and each attempt.

A listener, like metrics and logs, and a wrapper around whoever sends: each attempt has a span of its own,
which the upstream is told of instead of the client's. What is over when it is told (a wait) becomes a span
from when it began. What a span says is `spans.py`, where it goes `collector.py`.

The span of a request is in the context of the task that serves it. Who shares an exchange waits for it in a
task and a span of their own; the exchange is in a task begun by whoever leads, and so in that one's span.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.clock import Clock
from proxy.config import Listen
from proxy.events import (
    Admitted,
    AttemptEnded,
    Coalesced,
    Event,
    Events,
    ExchangeBegan,
    ExchangeEnded,
    Listener,
    RetryScheduled,
    RetryStopped,
)
from proxy.forwarder import Progress, Upstream
from proxy.messages import Request, Response
from proxy.policy.headers import with_parent
from proxy.telemetry import spans

_W3C = TraceContextTextMapPropagator()
_WORTH = 0.001
"""Seconds: a shorter wait was none, only the time that it takes to see that there is room."""


class Destination(Protocol):
    """Where spans go."""

    @property
    def tracer(self) -> Tracer:
        """Who makes them."""

    def start(self, events: Events) -> None:
        """Begin to send, and tell of trouble with it; raises ValueError if that can't be."""

    async def close(self) -> None:
        """Send what is left, if that is soon done, and end."""


@dataclass(slots=True)
class _Exchange:
    """A request that is traced. `epoch` is what the wall clock showed when the other one showed 0."""

    span: Span
    context: Context
    """What its parts are children of."""
    epoch: float
    continued: bool
    """Whether the client began the trace."""
    trace_id: str | None
    """None if it is not kept."""
    attempt: Span = INVALID_SPAN
    attempts: int = 0
    waited: float = 0.0
    failed_at: float | None = None
    """When an attempt failed that another one follows."""

    def at(self, moment: float) -> int:
        """Return a moment of the clock in nanoseconds since 1970: one clock, whatever the wall's does."""
        return int((self.epoch + moment) * 1e9)


_EXCHANGE: ContextVar[_Exchange | None] = ContextVar("exchange", default=None)


class Tracing:
    """Make spans of what happens, and tell the upstream of them."""

    def __init__(self, destination: Destination, listen: Listen, clock: Clock) -> None:
        self._destination = destination
        self._tracer = destination.tracer
        self._here = spans.here(listen)
        self._clock = clock
        self._on: dict[type, Callable[[_Exchange, Any], None]] = {
            Admitted: self._admitted,
            AttemptEnded: self._attempt_ended,
            RetryScheduled: self._retry_scheduled,
            RetryStopped: self._retry_stopped,
            Coalesced: self._coalesced,
            ExchangeEnded: self._exchange_ended,
        }

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """This one."""
        return (self,)

    def start(self, events: Events) -> None:
        """Begin to send; raises ValueError."""
        self._destination.start(events)

    async def close(self) -> None:
        """Send what is left."""
        await self._destination.close()

    def around(self, upstream: Upstream, base_url: str) -> Upstream:
        """Return who sends to an upstream, with a span for each attempt."""
        return _Traced(upstream, self._tracer, self._clock, spans.there(base_url))

    def trace_id(self) -> str | None:
        """Return the id of the trace that what happens now belongs to; None if it is not kept."""
        exchange = _EXCHANGE.get()
        return None if exchange is None else exchange.trace_id

    def __call__(self, event: Event) -> None:
        """Note what happens."""
        if type(event) is ExchangeBegan:
            self._began(event.request)
        elif (note := self._on.get(type(event))) and (exchange := _EXCHANGE.get()):
            note(exchange, event)

    def _began(self, request: Request) -> None:
        epoch = self._clock.wall() - self._clock.now()
        parents = request.headers.all(b"traceparent")
        # Of several none counts: who wrote which can't be told.
        parent = _W3C.extract({"traceparent": parents[0]}) if len(parents) == 1 else Context()
        span = self._tracer.start_span(
            spans.name(request.method),
            context=parent,
            kind=SpanKind.SERVER,
            attributes={**spans.asked(request), **self._here},
            start_time=int((epoch + request.arrived) * 1e9),
        )
        known = span.get_span_context()
        _EXCHANGE.set(
            _Exchange(
                span,
                set_span_in_context(span, Context()),
                epoch,
                continued=bool(parent),
                trace_id=format_trace_id(known.trace_id) if known.trace_flags.sampled else None,
            )
        )

    def _attempt_ended(self, exchange: _Exchange, event: AttemptEnded) -> None:
        spans.end_attempt(exchange.attempt, event, exchange.at(self._clock.now()))

    def _admitted(self, exchange: _Exchange, event: Admitted) -> None:
        exchange.waited += event.waited
        self._waited(exchange, event.waited, {"avala_proxy.limit": event.limit, "avala_proxy.admitted": True})

    def _retry_scheduled(self, exchange: _Exchange, _event: RetryScheduled) -> None:
        exchange.failed_at = self._clock.now()

    def _retry_stopped(self, exchange: _Exchange, event: RetryStopped) -> None:
        if exchange.span.is_recording():  # who led may have left
            exchange.span.set_attribute("avala_proxy.retry_stopped", event.reason)

    def _coalesced(self, exchange: _Exchange, event: Coalesced) -> None:
        shared = event.context.get(_EXCHANGE) if event.context is not None else None
        if shared is not None:
            exchange.span.add_link(shared.span.get_span_context())

    def _exchange_ended(self, exchange: _Exchange, event: ExchangeEnded) -> None:
        _EXCHANGE.set(None)
        # Who is refused in line, or leaves it, is told of by nothing else. The waits of a shared exchange are
        # in the span of whoever led it.
        lost = 0.0 if event.coalesced else max(0.0, event.waited - exchange.waited)
        self._waited(exchange, lost, {"avala_proxy.admitted": False})
        spans.end_exchange(exchange.span, event, exchange.at(self._clock.now()))

    def _waited(self, exchange: _Exchange, seconds: float, attributes: spans.Attributes) -> None:
        """Note a wait in line that is over now, and the sleep before it, if an attempt had failed."""
        now = self._clock.now()
        if exchange.failed_at is not None:
            self._spent(exchange, "backoff", exchange.failed_at, now - seconds, {})
            exchange.failed_at = None
        self._spent(exchange, "wait", now - seconds, now, attributes)

    def _spent(
        self, exchange: _Exchange, name: str, since: float, until: float, attributes: spans.Attributes
    ) -> None:
        if until - since >= _WORTH:
            span = self._tracer.start_span(
                name, context=exchange.context, attributes=attributes, start_time=exchange.at(since)
            )
            span.end(exchange.at(until))


class _Traced:
    """Send in a span of its own, and tell the upstream of it."""

    def __init__(self, upstream: Upstream, tracer: Tracer, clock: Clock, there: spans.Attributes) -> None:
        self._upstream = upstream
        self._tracer = tracer
        self._clock = clock
        self._there = there

    async def send(self, request: Request, progress: Progress) -> Response:
        """Send once; raise `UpstreamError` if there is no response head."""
        exchange = _EXCHANGE.get()
        if exchange is None:  # it could not be seen to begin
            return await self._upstream.send(request, progress)
        span = exchange.attempt = self._begin(exchange, request)
        response = await self._upstream.send(_passed_on(exchange, span, request), progress)
        span.set_attribute("network.protocol.version", response.version.decode("ascii"))
        return response

    def _begin(self, exchange: _Exchange, request: Request) -> Span:
        span = self._tracer.start_span(
            spans.name(request.method, request.route),
            context=exchange.context,
            kind=SpanKind.CLIENT,
            attributes={**self._there, **spans.sent(request, exchange.attempts)},
            start_time=exchange.at(self._clock.now()),
        )
        exchange.attempts += 1
        return span


def _passed_on(exchange: _Exchange, span: Span, request: Request) -> Request:
    """Name the attempt as the parent of what the upstream does."""
    context = span.get_span_context()
    if not context.is_valid:  # OTEL_SDK_DISABLED
        return request
    parent = b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)
    return replace(request, headers=with_parent(request.headers, parent, continued=exchange.continued))
