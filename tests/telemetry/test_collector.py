"""What is kept, who it says it is from, and what is told of a collector that takes nothing."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.config import Tracing
from proxy.telemetry.collector import Collector, Told

OK, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def collector(**settings: object) -> Collector:
    return Collector(Tracing.model_validate({"enabled": True, **settings}), version="1.2.3")


def kept(made: Collector, flags: str = "") -> bool:
    """Tell whether a span is; with `flags`, as part of a client's trace."""
    carrier = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"} if flags else {}
    context = TraceContextTextMapPropagator().extract(carrier)
    return made.tracer.start_span("x", context=context).is_recording()


@pytest.mark.parametrize(("sample", "begun"), [(1.0, True), (0.0, False)])
def test_what_is_begun_here_is_sampled_and_what_a_client_began_is_kept_if_it_keeps_it(
    sample: float, begun: bool
) -> None:
    made = collector(sample=sample)
    assert [kept(made), kept(made, "01"), kept(made, "00")] == [begun, True, False]


@pytest.mark.parametrize(
    ("setting", "variable", "attributes", "name"),
    [
        (None, None, None, "avala-proxy"),
        (None, "of-the-environment", "service.name=less", "of-the-environment"),
        (None, None, "service.name=of-attributes,service.version=7", "of-attributes"),
        ("of-the-file", "of-the-environment", None, "of-the-file"),
    ],
)
def test_the_settings_name_the_proxy_or_else_the_environment_or_else_it_is_itself(
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    variable: str | None,
    attributes: str | None,
    name: str,
) -> None:
    for key, value in (("OTEL_SERVICE_NAME", variable), ("OTEL_RESOURCE_ATTRIBUTES", attributes)):
        monkeypatch.delenv(key, raising=False)
        if value is not None:
            monkeypatch.setenv(key, value)
    span = collector(service_name=setting).tracer.start_span("x")
    assert isinstance(span, ReadableSpan)
    assert span.resource.attributes["service.name"] == name
    assert span.resource.attributes["service.version"] == (
        "7" if attributes and "7" in attributes else "1.2.3"
    )
    assert span.resource.attributes["service.instance.id"]


class Script(SpanExporter):
    def __init__(self, *results: SpanExportResult) -> None:
        self._results = list(results)
        self.closed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._results.pop(0)

    def shutdown(self) -> None:
        self.closed += 1


def test_trouble_is_told_once_and_so_is_its_end() -> None:
    told: list[str] = []
    exporter = Told(Script(OK, FAILED, FAILED, OK, OK), lambda state, _detail: told.append(state))
    results = [exporter.export([]) for _ in range(5)]
    assert results == [OK, FAILED, FAILED, OK, OK]
    assert told == ["traces_lost", "traces_sent"]


def test_what_has_ended_sends_and_tells_nothing_and_ends_once() -> None:
    told: list[str] = []
    script = Script()
    exporter = Told(script, lambda state, _detail: told.append(state))
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.export([]) is FAILED
    assert (told, script.closed) == ([], 1)


async def test_what_never_began_has_nothing_to_send() -> None:
    before = threading.active_count()
    await collector().close()
    assert threading.active_count() == before
