"""Whoever looks at what was noted finds all of it, though it is noted a moment later."""

import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.clock import LoopClock
from proxy.config import Log, Settings
from proxy.errors import ErrorClass, Fault
from proxy.events import Failed
from proxy.observability import Observability
from proxy.state import State
from tests.telemetry.lines import REQUEST, lines

FAILED = Failed("req-1", "GET", "/x/", 500, ErrorClass.SERVER_ERROR, Fault.UPSTREAM, None)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
async def seen(stream: io.StringIO) -> AsyncIterator[Observability]:
    observability = Observability(Settings(log=Log(format="json")), LoopClock(), stream)
    observability.start(lambda: 0)
    yield observability
    await observability.close()


async def test_what_happened_is_on_the_page_and_among_what_is_recent_at_once(seen: Observability) -> None:
    seen.events(REQUEST)
    page, _ = await seen.metrics_page("", State())
    assert b'avala_proxy_requests_total{error_class="none",method="GET",' in page
    seen.events(FAILED)
    assert [one.count for one in seen.recent().errors] == [1]


async def test_the_page_is_written_beside_the_event_loop(
    seen: Observability, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set[int]()

    def render(_accept: str, _state: State) -> tuple[bytes, str]:
        threads.add(threading.get_ident())
        return b"", ""

    monkeypatch.setattr(seen._metrics, "render", render)
    await seen.metrics_page("", State())
    assert threads
    assert threading.get_ident() not in threads


async def test_a_line_is_written_at_the_level_that_its_request_ended_in(
    seen: Observability, stream: io.StringIO
) -> None:
    seen.events(REQUEST)
    seen.set_log_level("error")
    seen.events(replace(REQUEST, request_id="req-2"))
    seen.configure(Settings(log=Log(format="json")))
    seen.events(replace(REQUEST, request_id="req-3"))
    seen.flush()
    assert [line.get("request_id") for line in lines(stream)] == ["req-1", None, "req-3"]


async def test_what_was_not_yet_noted_is_at_the_end(seen: Observability, stream: io.StringIO) -> None:
    seen.events(REQUEST)
    assert stream.getvalue() == ""
    await seen.close()
    assert [line["request_id"] for line in lines(stream)] == ["req-1"]
