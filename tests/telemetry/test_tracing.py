"""What spans there are of what happened, and what of them the upstream is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode, Tracer

from proxy.account import Account
from proxy.config import Coalescing, Limit, Listen, Retry
from proxy.errors import ErrorClass, Refusal, UpstreamError
from proxy.events import Coalesced, Events, ExchangeBegan, ExchangeEnded
from proxy.messages import Headers, Request, Response
from proxy.policy.classify import FAULT_OF
from proxy.telemetry.tracing import Tracing
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import BrokenBody, headers, request, response
from tests.telemetry.test_logs import KEY, REQUEST
from tests.test_forwarder import Journey, failed

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NARROW = Limit(name="narrow", requests=1, per=6.0)


class Memory:
    """A destination that keeps spans; with a `tracer`, those of that one, which are none."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = tracer or provider.get_tracer("test")
        self.log: list[str] = []

    def start(self, _events: Events) -> None:
        self.log.append("start")

    async def close(self) -> None:
        self.log.append("close")


class Traced:
    """A journey that is traced, with what the front tells of it."""

    def __init__(
        self, *script: Response | UpstreamError, tracer: Tracer | None = None, **options: object
    ) -> None:
        self.memory = Memory(tracer)
        self.tracing = Tracing(self.memory, Listen(), VirtualClock())
        self.through = Journey(
            list(script),
            listeners=self.tracing.listeners,
            around=lambda upstream: self.tracing.around(upstream, "https://api.example/v0"),
            **options,  # type: ignore[arg-type]
        )
        self.trace_ids: list[str | None] = []

    async def go(self, made: Request | None = None) -> None:
        made, account, status = made or request(), Account(), None
        self.through.tell(ExchangeBegan(made))
        try:
            async with self.through.forwarder.exchange(made, account) as answer:
                status = answer.status
                with suppress(UpstreamError):
                    _ = [chunk async for chunk in answer.body.chunks()]
        except Refusal as refusal:
            account.error_class, status = refusal.error_class, refusal.status
        except asyncio.CancelledError:
            account.error_class = ErrorClass.CLIENT_DISCONNECTED
            raise
        finally:
            self.trace_ids.append(self.tracing.trace_id())
            self.through.tell(_ended(made, account, status))

    def run(self, made: Request | None = None) -> None:
        run_virtual(self.go(made))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """All of them, by when they began; that of a request before its parts."""
        finished = self.memory.exporter.get_finished_spans()
        return sorted(finished, key=lambda span: (span.start_time, span.kind is not SpanKind.SERVER))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    @property
    def server(self) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.kind is SpanKind.SERVER]
        return span

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    @property
    def told(self) -> list[str | None]:
        return [made.headers.get(b"traceparent") for _, made in self.through.upstream.arrivals]


def _ended(made: Request, account: Account, status: int | None) -> ExchangeEnded:
    return replace(
        REQUEST,
        request_id=made.id,
        method=made.method,
        route=made.route,
        status=status,
        error_class=account.error_class,
        fault=FAULT_OF[account.error_class],
        attempts=account.attempts,
        waited=account.waited,
        upstream=account.upstream,
        limit=account.limit,
        caller=made.caller,
        peer=made.peer,
        coalesced=account.coalesced,
    )


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def hexadecimal(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def seconds(span: ReadableSpan) -> tuple[float, float]:
    """When it began and ended, on the virtual clock."""
    assert span.start_time is not None
    assert span.end_time is not None
    began, ended = (at / 1e9 - VirtualClock.epoch for at in (span.start_time, span.end_time))
    return round(began, 3), round(ended, 3)


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def from_client(flags: str = "01", **fields: str) -> Request:
    return request(fields=headers(Traceparent=f"00-{TRACE}-{PARENT}-{flags}", **fields))


def test_a_request_is_a_span_around_that_of_its_attempt() -> None:
    traced = Traced(response())
    traced.through.upstream.work = lambda: 0.5
    traced.run()
    server, attempt = traced.spans
    assert (server.name, server.kind) == ("GET /api/v1/datasets/", SpanKind.SERVER)
    assert (attempt.name, attempt.kind) == ("GET /api/v1/datasets/", SpanKind.CLIENT)
    assert server.parent is None
    assert parent(attempt) == server.context.span_id
    assert seconds(server) == seconds(attempt) == (0.0, 0.5)
    assert attributes(server) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/datasets/",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": 8080,
        "network.protocol.version": "1.1",
        "avala_proxy.request_id": "request-0",
        "avala_proxy.error_class": "none",
        "avala_proxy.fault": "none",
        "avala_proxy.attempts": 1,
        "avala_proxy.waited": 0.0,
        "avala_proxy.limit": "none",
        "avala_proxy.coalesced": False,
        "avala_proxy.client": "ci",
        "avala_proxy.credential": "5e1f",
    }
    assert attributes(attempt) == {
        "http.request.method": "GET",
        "url.template": "/api/v1/datasets/",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "server.address": "api.example",
        "server.port": 443,
        "network.protocol.version": "1.1",
        "avala_proxy.error_class": "none",
        "avala_proxy.fault": "none",
        "avala_proxy.sent": True,
    }


def test_a_span_begins_when_the_request_came() -> None:
    traced = Traced()

    async def main() -> None:
        await asyncio.sleep(3.0)
        await traced.go(request(arrived=2.5))

    run_virtual(main())
    assert seconds(traced.server) == (2.5, 3.0)


def test_the_trace_of_a_client_goes_on() -> None:
    traced = Traced()
    traced.run(from_client(tracestate="a=1,b=2", baggage="user=7"))
    assert hexadecimal(traced.server)[0] == TRACE
    assert parent(traced.server) == int(PARENT, 16)
    (attempt,) = traced.attempts
    trace_id, span_id = hexadecimal(attempt)
    ((_, sent),) = traced.through.upstream.arrivals
    assert sent.headers.raw == (
        (b"Traceparent", f"00-{trace_id}-{span_id}-01".encode()),
        (b"tracestate", b"a=1,b=2"),
        (b"baggage", b"user=7"),
    )
    assert traced.trace_ids == [TRACE]


def test_what_is_no_context_begins_another_trace_and_its_state_is_dropped() -> None:
    bad = [
        "",
        "00-" + "0" * 32 + f"-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        "x" * 1000,
    ]
    for value in bad:
        traced = Traced()
        traced.run(request(fields=headers(traceparent=value, tracestate="a=1")))
        assert traced.server.parent is None, value
        ((_, sent),) = traced.through.upstream.arrivals
        trace_id, span_id = hexadecimal(traced.attempts[0])
        assert sent.headers.raw == ((b"traceparent", f"00-{trace_id}-{span_id}-03".encode()),)


def test_of_two_contexts_none_counts() -> None:
    fields = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())] * 2
    traced = Traced()
    traced.run(request(fields=Headers(tuple(fields))))
    assert traced.server.parent is None


def test_what_comes_in_a_later_version_of_the_format_is_understood_as_far_as_it_is_known() -> None:
    traced = Traced()
    traced.run(request(fields=headers(traceparent=f"cc-{TRACE}-{PARENT}-01-what-the-future-brings")))
    assert parent(traced.server) == int(PARENT, 16)


def test_a_trace_that_the_client_does_not_keep_is_not_kept_and_the_upstream_is_told_so() -> None:
    traced = Traced(failed(ErrorClass.CONNECTION_TERMINATED), response())
    traced.run(from_client("00", tracestate="a=1"))
    assert traced.spans == []
    assert traced.trace_ids == [None]
    first, second = (str(told).split("-") for told in traced.told)
    assert (first[:2], first[3]) == (second[:2], second[3]) == (["00", TRACE], "00")
    assert len({PARENT, first[2], second[2]}) == 3


def test_attempts_count_their_repeats_and_a_sleep_between_them_is_a_span() -> None:
    traced = Traced(response(503), failed(ErrorClass.READ_TIMEOUT), response())
    traced.through.upstream.work = lambda: 0.25
    traced.run()
    first, second, third = traced.attempts
    counts = [attributes(span).get("http.request.resend_count") for span in traced.attempts]
    assert counts == [None, 1, 2]
    assert [hexadecimal(span)[1] for span in traced.attempts] == [
        str(told).split("-")[2] for told in traced.told
    ]
    assert [span.status.status_code for span in traced.attempts] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert attributes(first)["error.type"] == "unavailable"
    assert attributes(first)["http.response.status_code"] == 503
    assert attributes(second)["error.type"] == "read_timeout"
    assert "http.response.status_code" not in attributes(second)
    assert "error.type" not in attributes(third)
    assert [seconds(span) for span in traced.named("backoff")] == [(0.25, 1.25), (1.5, 3.5)]
    assert {parent(span) for span in traced.named("backoff")} == {traced.server.context.span_id}
    assert traced.server.status.status_code is StatusCode.UNSET
    assert attributes(traced.server)["avala_proxy.attempts"] == 3
    assert "error.type" not in attributes(traced.server)


def test_a_wait_in_line_is_a_span_that_says_what_held_it() -> None:
    traced = Traced(limits=[NARROW])

    async def main() -> None:
        await traced.go()
        await asyncio.sleep(1.0)
        await traced.go(request(ticket=1, arrived=1.0))

    run_virtual(main())
    (wait,) = traced.named("wait")
    assert seconds(wait) == (1.0, 6.0)
    assert wait.kind is SpanKind.INTERNAL
    assert attributes(wait) == {"avala_proxy.limit": "narrow", "avala_proxy.admitted": True}
    _, server = (span for span in traced.spans if span.kind is SpanKind.SERVER)
    assert parent(wait) == server.context.span_id
    assert seconds(server) == (1.0, 6.0)
    assert attributes(server)["avala_proxy.waited"] == 5.0
    assert attributes(server)["avala_proxy.limit"] == "narrow"


def test_a_refusal_of_the_api_shows_as_the_wait_that_it_demands() -> None:
    traced = Traced(
        response(429, retry_after="4", x_ratelimit_limit="1", x_ratelimit_remaining="0"),
        response(),
        limits=[NARROW],
    )
    traced.run()
    (wait,) = traced.named("wait")
    assert seconds(wait)[0] == 0.0
    assert traced.named("backoff") == []
    assert attributes(traced.attempts[0])["error.type"] == "rate_limited"


def test_who_is_refused_in_line_has_waited() -> None:
    traced = Traced(limits=[NARROW])

    async def main() -> None:
        traced.through.upstream.work = lambda: 30.0
        first = asyncio.create_task(traced.go(request(target="/api/v1/slow/")))
        await asyncio.sleep(1.0)
        second = asyncio.create_task(traced.go(request(ticket=1, arrived=1.0)))
        await asyncio.sleep(2.0)
        await traced.through.admission.close()
        await second
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    run_virtual(main())
    (wait,) = traced.named("wait")
    assert seconds(wait) == (1.0, 3.0)
    assert attributes(wait) == {"avala_proxy.admitted": False}
    refused = next(span for span in traced.spans if attributes(span).get("error.type") == "shutting_down")
    assert refused.status.status_code is StatusCode.ERROR
    assert attributes(refused)["http.response.status_code"] == 503
    assert attributes(refused)["avala_proxy.fault"] == "proxy"


def test_who_sleeps_before_a_retry_when_the_proxy_stops_has_slept() -> None:
    traced = Traced(response(500))

    async def main() -> None:
        asyncio.get_running_loop().call_later(
            0.5, lambda: setattr(traced, "closing", asyncio.create_task(traced.through.admission.close()))
        )
        await traced.go()

    run_virtual(main())
    assert [seconds(span) for span in traced.named("backoff")] == [(0.0, 0.5)]
    assert traced.server.status.status_code is StatusCode.ERROR
    assert attributes(traced.server)["error.type"] == "server_error"


def test_a_failure_says_why_it_was_not_tried_again() -> None:
    traced = Traced(response(500))
    traced.run(request("POST"))
    assert attributes(traced.server)["avala_proxy.retry_stopped"] == "not_repeatable"
    assert traced.server.status.status_code is StatusCode.ERROR
    assert traced.server.status.description is None


def test_what_the_client_did_wrong_fails_the_attempt_and_not_the_answer() -> None:
    traced = Traced(response(404))
    traced.run()
    (attempt,) = traced.attempts
    assert attempt.status.status_code is StatusCode.ERROR
    assert attributes(attempt)["error.type"] == "not_found"
    assert traced.server.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(traced.server)
    assert attributes(traced.server)["avala_proxy.error_class"] == "not_found"


def test_a_client_that_leaves_fails_nothing() -> None:
    traced = Traced()
    traced.through.upstream.work = lambda: 9.0

    async def main() -> None:
        task = asyncio.create_task(traced.go())
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main())
    assert len(traced.spans) == 2
    for span in traced.spans:
        assert seconds(span) == (0.0, 1.0)
        assert span.status.status_code is StatusCode.UNSET
        assert attributes(span)["avala_proxy.error_class"] == "client_disconnected"
        assert "error.type" not in attributes(span)
        assert "http.response.status_code" not in attributes(span)


def test_an_answer_that_broke_off_has_failed_though_its_head_was_a_success() -> None:
    traced = Traced()

    async def main() -> None:
        traced.through.tell(ExchangeBegan(request()))
        traced.through.tell(replace(REQUEST, error_class=ErrorClass.RESPONSE_INCOMPLETE))

    run_virtual(main())
    assert attributes(traced.server)["http.response.status_code"] == 200
    assert attributes(traced.server)["error.type"] == "response_incomplete"
    assert traced.server.status.status_code is StatusCode.ERROR


def test_a_method_or_route_that_nobody_knows_makes_no_name() -> None:
    traced = Traced()
    traced.run(replace(request("PURGE"), route="other"))
    assert {span.name for span in traced.spans} == {"HTTP"}
    assert {attributes(span)["http.request.method"] for span in traced.spans} == {"_OTHER"}
    assert all({"http.route", "url.template"}.isdisjoint(attributes(span)) for span in traced.spans)


def test_those_who_share_an_exchange_have_spans_of_their_own_that_point_to_it() -> None:
    traced = Traced(limits=[NARROW], coalescing=Coalescing())

    async def main() -> None:
        await traced.go()
        await asyncio.sleep(1.0)
        await asyncio.gather(*(traced.go(request(ticket=ticket, arrived=1.0)) for ticket in (1, 2, 3)))

    run_virtual(main())
    _, leader, *followers = sorted(
        (span for span in traced.spans if span.kind is SpanKind.SERVER),
        key=lambda span: str(attributes(span)["avala_proxy.request_id"]),
    )
    _, attempt = traced.attempts
    assert parent(attempt) == leader.context.span_id
    assert len({span.context.trace_id for span in (leader, *followers)}) == 3
    assert not leader.links
    for follower in followers:
        assert attributes(follower)["avala_proxy.coalesced"] is True
        assert [link.context.span_id for link in follower.links] == [leader.context.span_id]
    waits = traced.named("wait")
    assert {parent(wait) for wait in waits} == {span.context.span_id for span in (leader, *followers)}
    assert {seconds(wait) for wait in waits} == {(1.0, 6.0)}


def test_a_shared_exchange_goes_on_in_the_trace_of_whoever_led_it_and_left() -> None:
    traced = Traced(response(), response(500), response(), limits=[NARROW], coalescing=Coalescing())

    async def main() -> None:
        await traced.go()
        traced.through.upstream.work = lambda: 2.0
        leader = asyncio.create_task(traced.go(request(ticket=1)))
        follower = asyncio.create_task(traced.go(request(ticket=2)))
        await asyncio.sleep(7.0)
        leader.cancel()
        await asyncio.gather(leader, follower, return_exceptions=True)

    run_virtual(main())
    _, leader, follower = sorted(
        (span for span in traced.spans if span.kind is SpanKind.SERVER),
        key=lambda span: str(attributes(span)["avala_proxy.request_id"]),
    )
    _, *attempts = traced.attempts
    assert [parent(attempt) for attempt in attempts] == [leader.context.span_id] * 2
    assert seconds(leader) == (0.0, 7.0)
    assert [link.context.span_id for link in follower.links] == [leader.context.span_id]
    assert attributes(follower)["http.response.status_code"] == 200


def test_a_shared_exchange_that_fails_after_its_leader_left_changes_nothing_that_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    traced = Traced(
        response(), response(500), limits=[NARROW], coalescing=Coalescing(), retry=Retry(max_retries=0)
    )

    async def main() -> None:
        await traced.go()
        traced.through.upstream.work = lambda: 2.0
        leader = asyncio.create_task(traced.go(request(ticket=1)))
        follower = asyncio.create_task(traced.go(request(ticket=2)))
        await asyncio.sleep(7.0)
        leader.cancel()
        await asyncio.gather(leader, follower, return_exceptions=True)

    run_virtual(main())
    ends = {attributes(span).get("http.response.status_code") for span in traced.spans}
    assert ends == {200, 500, None}
    assert caplog.records == []


def test_who_shares_what_nobody_saw_points_nowhere() -> None:
    traced = Traced()

    async def main() -> None:
        traced.through.tell(ExchangeBegan(request()))
        traced.through.tell(Coalesced("other"))
        traced.through.tell(Coalesced("other", Context()))
        traced.through.tell(REQUEST)

    run_virtual(main())
    assert not traced.server.links


def test_a_key_reaches_no_span_wherever_it_stands() -> None:
    class Secret:
        size = 1

        async def chunks(self) -> AsyncIterator[bytes]:
            yield KEY.encode()

    made = replace(
        request(
            "POST",
            f"/api/v1/{KEY}/?key={KEY}",
            fields=headers(
                x_avala_api_key=KEY,
                authorization=f"Bearer {KEY}",
                host=f"{KEY}.example",
                cookie=KEY,
                traceparent=f"00-{TRACE}-{PARENT}-01",
                tracestate=f"a={KEY}",
                baggage=f"key={KEY}",
            ),
            caller=KEY,
        ),
        id=f"id-{KEY}",
        route=f"/api/v1/{KEY}/",
        body=Secret(),
        arrival_url=f"http://{KEY}",
    )
    traced = Traced(response(500, KEY.encode(), location=f"/{KEY}"), failed(ErrorClass.READ_TIMEOUT))
    traced.run(made)
    traced.run(replace(made, method="GET"))
    assert len(traced.spans) >= 5
    for span in traced.spans:
        assert KEY not in span.to_json()
        assert "/avk_…/" in span.name or span.name == "backoff"
        assert span.context.trace_state == {}
        assert not {"url.full", "url.path", "url.query", "client.address", "user_agent.original"} & set(
            attributes(span)
        )
    callers = {attributes(span).get("avala_proxy.caller") for span in traced.spans}
    assert callers == {None, "avk_…"}


def test_an_address_names_no_caller() -> None:
    traced = Traced()
    traced.run(request(caller="nightly"))
    assert attributes(traced.server)["avala_proxy.caller"] == "nightly"
    assert "192.0.2.1" not in traced.server.to_json()


def test_where_opentelemetry_is_disabled_nothing_is_seen_or_changed() -> None:
    traced = Traced(tracer=NoOpTracer())
    traced.run(request(fields=headers(tracestate="a=1")))
    traced.run(from_client())
    assert traced.told == [None, f"00-{TRACE}-{PARENT}-01"]
    assert traced.spans == []


def test_what_could_not_be_seen_to_begin_is_sent_as_it_is() -> None:
    traced = Traced()
    traced.through.run(from_client())
    assert traced.told == [f"00-{TRACE}-{PARENT}-01"]
    assert traced.spans == []
    assert traced.tracing.trace_id() is None


def test_what_is_sent_is_sent_by_the_destination() -> None:
    memory = Memory()
    tracing = Tracing(memory, Listen(), VirtualClock())
    tracing.start(Events())
    run_virtual(tracing.close())
    assert memory.log == ["start", "close"]


def test_a_body_that_is_read_ahead_and_breaks_is_an_attempt_that_failed() -> None:
    broken = replace(response(content_length="9"), body=BrokenBody())
    traced = Traced(broken, retry=Retry(max_retries=0))
    traced.run()
    (attempt,) = traced.attempts
    assert attributes(attempt)["error.type"] == "response_incomplete"
    assert attributes(attempt)["http.response.status_code"] == 200
    assert attributes(traced.server)["http.response.status_code"] == 502
