"""What is in the log, and what never is."""

import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.typing import FilteringBoundLogger

from proxy.config import Log
from proxy.errors import ErrorClass, Fault
from proxy.events import (
    Admitted,
    BreakerChanged,
    Crashed,
    ExchangeEnded,
    ForeignSeen,
    LedgerChanged,
    LifecycleChanged,
    LimitMoved,
    LimitPaused,
    RetryScheduled,
)
from proxy.telemetry.logs import Lines, Logs, configure, quiet_stdlib, redact

KEY = "avk_live-0123456789_abcDEF"
REQUEST = ExchangeEnded(
    request_id="req-1",
    method="GET",
    route="/api/v1/datasets/{id}/",
    status=200,
    error_class=ErrorClass.NONE,
    fault=Fault.NONE,
    code=None,
    attempts=2,
    duration=3.14159265,
    waited=2.5,
    upstream=0.2,
    limit="standard",
    credential="5e1f",
    client="ci",
    caller="nightly",
    peer="192.0.2.1",
    coalesced=False,
    would_wait=None,
)


class Stopped:
    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_790_000_000.0625


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logger(stream: io.StringIO, **settings: Any) -> FilteringBoundLogger:
    return configure(Log.model_validate(settings), stream=stream, clock=Stopped())


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def quieted(stream: io.StringIO) -> Iterator[io.StringIO]:
    undo = quiet_stdlib(logger(stream))
    yield stream
    undo()


def test_a_request_is_one_line_with_everything_about_it(stream: io.StringIO) -> None:
    Logs(logger(stream))(REQUEST)
    assert lines(stream) == [
        {
            "timestamp": "2026-09-21T14:13:20.062Z",
            "level": "info",
            "event": "request",
            "request_id": "req-1",
            "method": "GET",
            "route": "/api/v1/datasets/{id}/",
            "status": 200,
            "error_class": "none",
            "fault": "none",
            "code": None,
            "attempts": 2,
            "duration": 3.1416,
            "waited": 2.5,
            "upstream": 0.2,
            "limit": "standard",
            "credential": "5e1f",
            "client": "ci",
            "caller": "nightly",
            "coalesced": False,
            "peer": "192.0.2.1",
        }
    ]
    assert list(lines(stream)[0])[:3] == ["timestamp", "level", "event"]


@pytest.mark.parametrize(
    ("error_class", "fault", "level"),
    [
        (ErrorClass.NOT_FOUND, Fault.CLIENT, "info"),
        (ErrorClass.SERVER_ERROR, Fault.UPSTREAM, "warning"),
        (ErrorClass.READ_TIMEOUT, Fault.NETWORK, "warning"),
        (ErrorClass.QUEUE_TIMEOUT, Fault.PROXY, "warning"),
        (ErrorClass.CLIENT_DISCONNECTED, Fault.PROXY, "info"),
    ],
)
def test_a_failure_that_is_not_the_clients_is_a_warning(
    stream: io.StringIO, error_class: ErrorClass, fault: Fault, level: str
) -> None:
    Logs(logger(stream))(replace(REQUEST, error_class=error_class, fault=fault))
    assert lines(stream)[0]["level"] == level


def test_pauses_crashes_and_changes_of_the_process_have_a_line_each(stream: io.StringIO) -> None:
    logs = Logs(logger(stream))
    logs(LimitPaused("standard", 12.0))
    logs(LifecycleChanged("listening", "http://127.0.0.1:8080"))
    logs(LifecycleChanged("upstream_unreachable", "connection refused"))
    logs(Crashed("req-1", "Traceback:\n  here"))
    logs(Admitted("/x/", "standard", 1.0))
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("warning", "limit_paused"),
        ("info", "listening"),
        ("warning", "upstream_unreachable"),
        ("error", "crashed"),
    ]


def test_a_breaker_that_holds_requests_is_a_warning_and_one_that_closes_is_none(stream: io.StringIO) -> None:
    logs = Logs(logger(stream))
    for state in ("open", "half_open", "closed"):
        logs(BreakerChanged("upstream", state))
    assert [(line["level"], line["event"], line["group"]) for line in lines(stream)] == [
        ("warning", "breaker_open", "upstream"),
        ("warning", "breaker_half_open", "upstream"),
        ("info", "breaker_closed", "upstream"),
    ]


def test_a_shared_store_that_is_lost_or_back_has_one_line(stream: io.StringIO) -> None:
    logs = Logs(logger(stream))
    logs(LedgerChanged(False, "it refuses"))
    logs(LedgerChanged(True, "it is back"))
    assert [(line["level"], line["event"], line["detail"]) for line in lines(stream)] == [
        ("warning", "ledger_down", "it refuses"),
        ("info", "ledger_up", "it is back"),
    ]


def test_a_limit_that_moved_has_a_line_and_others_have_one_for_those_who_debug(stream: io.StringIO) -> None:
    def tell(logs: Logs) -> None:
        logs(LimitMoved("standard", 200))
        logs(ForeignSeen("standard", 3))

    tell(Logs(logger(stream)))
    (line,) = lines(stream)
    moved = {"level": "info", "event": "limit_moved", "limit": "standard", "capacity": 200}
    assert line.items() >= moved.items()
    tell(Logs(logger(stream, level="debug")))
    *_, line = lines(stream)
    seen = {"level": "debug", "event": "foreign_seen", "limit": "standard", "count": 3}
    assert line.items() >= seen.items()


def test_another_logger_is_used_from_then_on(stream: io.StringIO) -> None:
    logs, other = Logs(logger(stream, level="error")), io.StringIO()
    logs(REQUEST)
    logs.use(logger(other))
    logs(REQUEST)
    assert lines(stream) == []
    assert [line["event"] for line in lines(other)] == ["request"]


@pytest.mark.parametrize(
    ("state", "level"),
    [
        ("reloaded", "info"),
        ("reload_failed", "warning"),
        ("upstream_resolved", "info"),
        ("upstream_unresolved", "warning"),
        ("state_file_ignored", "warning"),
        ("state_file_unwritable", "warning"),
        ("state_file_exposed", "warning"),
    ],
)
def test_what_somebody_should_look_at_is_a_warning(stream: io.StringIO, state: str, level: str) -> None:
    Logs(logger(stream))(LifecycleChanged(state, "Why."))
    assert [(line["level"], line["event"]) for line in lines(stream)] == [(level, state)]


def test_retries_are_told_only_to_those_who_debug(stream: io.StringIO) -> None:
    retry = RetryScheduled("/x/", ErrorClass.UNAVAILABLE, 1.23456)
    Logs(logger(stream))(retry)
    assert not lines(stream)
    Logs(logger(stream, level="debug"))(retry)
    assert lines(stream)[0]["delay"] == 1.2346


def test_levels_below_the_configured_one_are_not_written(stream: io.StringIO) -> None:
    logs = Logs(logger(stream, level="error"))
    logs(REQUEST)
    logs(LimitPaused("standard", 1.0))
    assert stream.getvalue() == ""


def test_auto_is_for_people_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe, asked = Terminal(), io.StringIO(), io.StringIO()
    Logs(logger(terminal))(REQUEST)
    Logs(logger(pipe))(REQUEST)
    Logs(logger(asked, format="console"))(REQUEST)
    assert "\x1b[" in terminal.getvalue()
    assert lines(pipe)
    assert "\x1b[" not in asked.getvalue()
    assert "request" in asked.getvalue()
    assert "limit=standard" in asked.getvalue()


def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Logs(logger(terminal))(REQUEST)
    assert "\x1b[" not in terminal.getvalue()


def test_a_closed_stream_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    Logs(logger(closed))(REQUEST)


def test_a_request_id_can_not_command_a_terminal_or_forge_a_line() -> None:
    asked = io.StringIO()
    logs = Logs(logger(asked, format="console"))
    logs(replace(REQUEST, request_id="\x1b[2J\x9b\r\nforged"))
    assert "\\x1b[2J\\x9b\\x0d\\x0aforged" in asked.getvalue()
    assert asked.getvalue().count("\n") == 1


def test_a_stack_is_shown_line_by_line_to_people() -> None:
    asked = io.StringIO()
    Logs(logger(asked, format="console"))(Crashed("req-1", "one\n  two\x1b"))
    assert "one\n  two\\x1b\n" in asked.getvalue()


@pytest.mark.parametrize("settings", [{"format": "json"}, {"format": "console"}])
def test_a_key_gets_into_no_line_by_any_way(settings: dict[str, str]) -> None:
    stream = io.StringIO()
    log = logger(stream, level="debug", **settings)
    logs = Logs(log)
    logs(replace(REQUEST, request_id=KEY, route=f"/{KEY}/", peer=KEY, credential=KEY, method=KEY, limit=KEY))
    logs(LimitPaused(KEY, 1.0))
    logs(LifecycleChanged(KEY, f"at {KEY}"))
    logs(RetryScheduled(KEY, ErrorClass.UNAVAILABLE, 1.0))
    logs(Crashed(KEY, f"ValueError: {KEY}"))
    log.error(KEY, nested={KEY: [KEY]}, error=ValueError(KEY))
    assert len(stream.getvalue().splitlines()) >= 6
    assert "avk_live" not in stream.getvalue()
    assert "0123456789" not in stream.getvalue()


def test_redacting_leaves_what_the_key_was_and_takes_other_credentials_too() -> None:
    assert redact(f"key={KEY}, {KEY}.") == "key=avk_…, avk_…."
    assert redact('"Authorization": "Bearer abc.def=="') == '"Authorization": "Bearer …"'
    assert redact("basic dXNlcjpwdw==") == "basic …"
    assert redact("/api/v1/datasets/") == "/api/v1/datasets/"


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed")])
def test_a_stream_that_fails_loses_lines_and_raises_nothing(error: Exception) -> None:
    class Failing(io.StringIO):
        def flush(self) -> None:
            raise error

    written = Lines(Failing())
    written.msg("one")
    written.info("two")
    assert written.lost == 2


def test_a_pipe_whose_reader_left_raises_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    logs = Logs(configure(Log(), stream=pipe, clock=Stopped()))
    logs(REQUEST)
    logs(REQUEST)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_stream_of_ascii_gets_escapes_for_other_signs() -> None:
    raw = io.BytesIO()
    logs = Logs(configure(Log(format="json"), stream=io.TextIOWrapper(raw, "ascii"), clock=Stopped()))
    logs(replace(REQUEST, request_id=KEY))
    assert json.loads(raw.getvalue())["request_id"] == "avk_…"


def test_the_clock_is_the_systems_when_none_is_given(stream: io.StringIO) -> None:
    Logs(configure(Log(), stream=stream))(REQUEST)
    assert lines(stream)[0]["timestamp"].startswith("20")


def test_a_malformed_request_is_one_warning_with_its_sender_and_without_traceback(
    quieted: io.StringIO,
) -> None:
    from aiohttp.http_exceptions import BadHttpMessage

    error = BadHttpMessage(f"Bad header: X-Avala-Api-Key: {KEY}")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "192.0.2.1", exc_info=error)
    (line,) = lines(quieted)
    assert line | {"timestamp": ""} == {
        "timestamp": "",
        "level": "warning",
        "event": "library",
        "logger": "aiohttp.server",
        "message": "Error handling request from 192.0.2.1",
        "error": "BadHttpMessage",
    }


def test_a_failure_in_a_library_is_an_error_with_its_first_line_only(quieted: io.StringIO) -> None:
    error = ValueError(KEY)
    context = f"Task exception was never retrieved\nfuture: <Task exception={error!r}>"
    logging.getLogger("asyncio").error(context, exc_info=error)
    (line,) = lines(quieted)
    assert (line["level"], line["message"], line["error"]) == (
        "error",
        "Task exception was never retrieved",
        "ValueError",
    )


def test_what_the_event_loop_says_again_and_again_is_written_now_and_then(quieted: io.StringIO) -> None:
    loop = logging.getLogger("asyncio")
    for seconds in (0.0, 0.1, 9.9, 10.0, 10.1):
        record = loop.makeRecord("asyncio", logging.ERROR, "", 0, "out of system resource", (), None)
        record.created = 1000.0 + seconds
        loop.handle(record)
    for number in range(200):
        loop.error("another %d" + " " * number)
    assert [line["message"].strip() for line in lines(quieted)].count("out of system resource") == 2
    assert len(lines(quieted)) == 202


def test_what_a_library_was_told_is_not_repeated(quieted: io.StringIO) -> None:
    logging.getLogger("aiohttp.client").warning("Can not load cookies: %s", "session=hunter2")
    logging.getLogger("aiohttp.server").warning("From %s", f"{KEY}" + "x" * 1000)
    logging.getLogger("asyncio").critical("%s", f"?token={KEY}")
    assert [line["message"] for line in lines(quieted)][:2] == ["Can not load cookies: %s", "From avk_…"]
    assert "hunter2" not in quieted.getvalue()
    assert "0123456789" not in quieted.getvalue()


@pytest.mark.parametrize("name", ["opentelemetry.exporter", "urllib3.connectionpool"])
def test_what_sends_traces_says_the_same_once_a_minute_without_what_it_was_told(
    quieted: io.StringIO, name: str
) -> None:
    sender = logging.getLogger(name)
    for seconds in (0.0, 30.0, 59.0, 61.0):
        record = sender.makeRecord(name, logging.WARNING, "", 0, "Failed to send to %s", ("hunter2",), None)
        record.created = 1_790_000_000.0 + seconds
        sender.handle(record)
    sender.warning("Another one.")
    told = [line["message"] for line in lines(quieted)]
    assert told == ["Failed to send to %s", "Failed to send to %s", "Another one."]


def test_the_line_of_a_request_names_its_trace_if_it_has_one(stream: io.StringIO) -> None:
    ids = iter(["4bf92f35", None])
    logs = Logs(logger(stream), trace=lambda: next(ids))
    logs(REQUEST)
    logs(REQUEST)
    traced, untraced = lines(stream)
    assert traced["trace_id"] == "4bf92f35"
    assert "trace_id" not in untraced


def test_what_a_library_says_below_a_warning_is_not_written(quieted: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /?token=x")
    logging.getLogger("asyncio").debug("Using selector")
    assert quieted.getvalue() == ""


def test_quieting_can_be_undone_and_touches_no_other_logger(stream: io.StringIO) -> None:
    root, mine = logging.getLogger(), logging.getLogger("asyncio")
    before = (list(root.handlers), root.level, list(mine.handlers), mine.propagate, mine.level)
    undo = quiet_stdlib(logger(stream))
    assert (list(root.handlers), root.level) == before[:2]
    undo()
    assert (list(root.handlers), root.level, list(mine.handlers), mine.propagate, mine.level) == before
