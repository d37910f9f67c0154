"""Traces of the whole program, as a collector gets them, and what a collector that is gone costs."""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from tests.e2e.stack import Stack, running
from tests.fakes import until
from tests.servers import free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FAST = {"base": 0.01, "cap": 0.05, "budget": 100.0}
OPEN = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass
class Collector:
    """A collector of traces, and what it got."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, http: web.BaseRequest) -> web.StreamResponse:
        assert http.path == "/v1/traces"
        self.bodies.append(await http.read())
        return web.Response(content_type="application/x-protobuf")

    @property
    def resources(self) -> list[ResourceSpans]:
        return [
            one for body in self.bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans
        ]

    @property
    def spans(self) -> list[Span]:
        return [span for one in self.resources for scope in one.scope_spans for span in scope.spans]

    def of(self, kind: "Span.SpanKind.ValueType") -> list[Span]:
        return sorted(
            (span for span in self.spans if span.kind == kind), key=lambda span: span.start_time_unix_nano
        )


@asynccontextmanager
async def collecting(port: int = 0) -> AsyncIterator[Collector]:
    collector = Collector("")
    runner = web.ServerRunner(web.Server(collector.take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    try:
        yield collector
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have spans sent soon, and a collector that is gone given up soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")


@asynccontextmanager
async def traced(url: str | None = None) -> AsyncIterator[Stack]:
    tracing = {"enabled": True} | ({"endpoint": url} if url else {})
    async with running(tracing=tracing, retry=FAST) as stack:
        yield stack


def text(span: Span, key: str) -> str:
    (value,) = [one.value for one in span.attributes if one.key == key]
    return str(value.string_value)


async def test_a_trace_goes_from_the_client_through_each_attempt_to_the_api() -> None:
    async with collecting() as collector, traced(collector.url) as stack:
        status, _ = await stack.ask(
            "GET",
            "/api/v1/datasets/?limit=1&token=avk_query",
            fields={
                "traceparent": f"00-{TRACE}-{PARENT}-01",
                "X-Sandbox-Fault": "503;times=2",
                "X-Sandbox-Key": "a",
                "Avala-Proxy-Client": "avk_caller",
            },
        )
        assert status == 200
        await until(lambda: len(collector.of(Span.SPAN_KIND_SERVER)) == 1)
        (server,), attempts = collector.of(Span.SPAN_KIND_SERVER), collector.of(Span.SPAN_KIND_CLIENT)
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
        assert server.parent_span_id.hex() == PARENT
        assert server.name == "GET /api/v1/datasets/"
        assert [span.parent_span_id for span in attempts] == [server.span_id] * 3
        assert [span.status.code for span in attempts] == [
            Status.STATUS_CODE_ERROR,
            Status.STATUS_CODE_ERROR,
            Status.STATUS_CODE_UNSET,
        ]
        assert [entry.traceparent for entry in stack.sandbox.ledger.entries] == [
            f"00-{TRACE}-{span.span_id.hex()}-01" for span in attempts
        ]
        # A busy machine takes a millisecond to find that there is room, which is a wait.
        slept = [span for span in collector.of(Span.SPAN_KIND_INTERNAL) if span.name != "wait"]
        assert [span.name for span in slept] == ["backoff"] * 2
        assert server.start_time_unix_nano <= attempts[0].start_time_unix_nano
        assert server.end_time_unix_nano >= attempts[2].end_time_unix_nano
        assert abs(time.time() - server.end_time_unix_nano / 1e9) < 30
        (line,) = stack.lines("request")
        assert line["trace_id"] == TRACE
        assert not re.search(rb"avk_\w", b"".join(collector.bodies))
        assert {one.key for one in collector.resources[0].resource.attributes} >= {
            "service.name",
            "service.version",
        }


async def test_the_metrics_point_to_traces_where_they_can() -> None:
    async with collecting() as collector, traced(collector.url) as stack:
        sampled = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        unsampled = {"traceparent": f"00-{'a' * 32}-{PARENT}-00"}
        await stack.ask("GET", "/api/v1/datasets/", fields=sampled)
        await stack.ask("GET", "/api/v1/projects/", fields=unsampled)
        page = stack.app.admin_url + "/metrics"
        async with stack.session.get(page, headers=OPEN) as answer:
            lines = [line for line in (await answer.text()).splitlines() if " # {" in line]
        async with stack.session.get(page) as answer:
            plain = await answer.text()
        assert lines
        assert all(f'# {{trace_id="{TRACE}"}}' in line for line in lines)
        assert {line.partition("{")[0] for line in lines} == {
            "avala_proxy_request_duration_seconds_bucket",
            "avala_proxy_upstream_duration_seconds_bucket",
        }
        assert TRACE not in plain
        traced_line, untraced_line = stack.lines("request")
        assert traced_line["trace_id"] == TRACE
        assert "trace_id" not in untraced_line


async def test_what_is_refused_before_it_is_a_request_has_a_span_too() -> None:
    async with collecting() as collector, traced(collector.url) as stack:
        host, _, port = stack.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        await until(lambda: bool(collector.spans))
        (span,) = collector.spans
        assert (span.name, text(span, "http.request.method")) == ("HTTP", "_OTHER")
        assert text(span, "avala_proxy.error_class") == "bad_request"


async def test_what_is_left_is_sent_when_the_proxy_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.removesuffix("/v1/traces"))
        async with traced() as stack:
            await asyncio.gather(*(stack.ask("GET", f"/api/v1/datasets/?n={n}") for n in range(10)))
            assert not collector.bodies
        assert len(collector.of(Span.SPAN_KIND_SERVER)) == 10
        assert {span.parent_span_id for span in collector.of(Span.SPAN_KIND_SERVER)} == {b""}


async def test_a_collector_that_is_gone_costs_a_line_or_two_and_its_return_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    async with traced(f"http://127.0.0.1:{port}/v1/traces") as stack:
        async with asyncio.timeout(15):
            while not stack.lines("traces_lost"):
                assert (await stack.ask("GET", "/api/v1/datasets/"))[0] == 200
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        assert len(stack.lines("traces_lost")) == 1
        assert stack.lines("traces_lost")[0]["level"] == "warning"
        assert {line["logger"].partition(".")[0] for line in stack.lines("library")} <= {"opentelemetry"}
        messages = [line["message"] for line in stack.lines("library")]
        assert len(messages) == len(set(messages)) <= 2
        async with collecting(port):
            async with asyncio.timeout(15):
                while not stack.lines("traces_sent"):
                    await stack.ask("GET", "/api/v1/datasets/")
                    await asyncio.sleep(0.1)
            assert len(stack.lines("traces_sent")) == 1
    assert capfd.readouterr() == ("", "")


async def test_neither_a_request_nor_the_stop_waits_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: asked.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with traced(f"http://127.0.0.1:{port}/v1/traces") as stack:
        assert (await stack.ask("GET", "/api/v1/datasets/"))[0] == 200
        await until(lambda: bool(asked))
        assert (await stack.ask("GET", "/api/v1/datasets/"))[0] == 200
        stopping = time.monotonic()
    assert (
        time.monotonic() - stopping < 10
    )  # what else a stop takes included; the collector would take a minute
    (line,) = stack.lines("stopped")
    assert line["detail"] == "0 requests were cut off"
    server.close()
    for writer in asked:
        writer.transport.abort()
    await until(lambda: not any("Otel" in thread.name for thread in threading.enumerate()))


async def test_without_tracing_the_clients_trace_crosses_as_it_is() -> None:
    async with running() as stack:
        value = f"00-{TRACE}-{PARENT}-01"
        await stack.ask("GET", "/api/v1/datasets/", fields={"traceparent": value})
        assert [entry.traceparent for entry in stack.sandbox.ledger.entries] == [value]
        assert all("trace_id" not in line for line in map(json.loads, stack.log.splitlines()))
        async with stack.session.get(stack.app.admin_url + "/metrics", headers=OPEN) as answer:
            assert " # {" not in await answer.text()
