"""Where spans go: by OTLP over HTTP to a collector, which may be slow or gone.

Spans wait for it in a bounded queue that a thread of OpenTelemetry's empties; what finds no room is dropped,
so no request waits for a collector. What its variables (OTEL_EXPORTER_OTLP_…, OTEL_BSP_…,
OTEL_RESOURCE_ATTRIBUTES) say is obeyed where the settings are silent.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from proxy import config
from proxy.events import Events, LifecycleChanged

_NAME = "avala-proxy"
_PATIENCE = 1.0
"""Seconds in which a collector has to take what is left when the proxy stops."""
_ABORT = 0.5
"""Seconds in which the thread that sends has to notice that it is to end."""
_LOST = (
    "traces_lost",
    "The collector takes no spans, so they are dropped; requests go on. Check tracing.endpoint.",
)
_SENT = "traces_sent", "The collector takes spans again."


class Collector:
    """A collector of spans."""

    def __init__(self, settings: config.Tracing, *, version: str) -> None:
        self._settings = settings
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=_resource(settings.service_name, version),
            shutdown_on_exit=False,
        )
        self._exporter: Told | None = None
        self.tracer: Tracer = self._provider.get_tracer(_NAME, version)

    def start(self, events: Events) -> None:
        """Begin to send; tell when the collector takes nothing, and when it does again.

        Raises ValueError if what the environment says of the queue makes no sense.
        """
        loop = asyncio.get_running_loop()

        def tell(state: str, detail: str) -> None:
            loop.call_soon_threadsafe(events, LifecycleChanged(state, detail))

        self._exporter = Told(OTLPSpanExporter(self._settings.endpoint), tell)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))

    async def close(self) -> None:
        """Send what is left, but don't wait long for a collector that is slow or gone."""
        if self._exporter is None:
            return
        done = _in_thread(self._provider.shutdown)
        await asyncio.wait([done], timeout=_PATIENCE)
        if not done.done():
            self._exporter.shutdown()
            await asyncio.wait([done], timeout=_ABORT)


def _resource(name: str | None, version: str) -> Resource:
    """Say who sends: the settings, else the environment, else the program's own name."""
    ours = {SERVICE_NAME: _NAME, SERVICE_VERSION: version}
    said = OTELResourceDetector().detect().attributes
    named = {SERVICE_NAME: name} if name is not None else {}
    return Resource.create({key: value for key, value in ours.items() if key not in said} | named)


class Told(SpanExporter):
    """Send spans, and tell when that begins to fail, and when it is over."""

    def __init__(self, exporter: SpanExporter, tell: Callable[[str, str], None]) -> None:
        self._exporter = exporter
        self._tell = tell
        self._lost = False
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; this is called in a thread of its own, and takes as long as it takes."""
        if self._closed:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        lost = result is not SpanExportResult.SUCCESS
        if lost != self._lost and not self._closed:
            self._lost = lost
            self._tell(*(_LOST if lost else _SENT))
        return result

    def shutdown(self) -> None:
        """End what is under way; more than once changes nothing."""
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


def _in_thread(work: Callable[[], None]) -> "asyncio.Future[None]":
    """Have something done by a thread that nobody has to wait for; return what tells that it is done."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        work()
        with suppress(RuntimeError):  # nobody waited, and the loop has ended
            loop.call_soon_threadsafe(done.set_result, None)

    threading.Thread(target=run, name="traces-close", daemon=True).start()
    return done
