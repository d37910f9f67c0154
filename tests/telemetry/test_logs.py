"""Which event has which line, and how severe that is."""

import io
from dataclasses import replace

import pytest

from proxy.errors import ErrorClass, Fault
from proxy.events import (
    Admitted,
    BreakerChanged,
    Crashed,
    ForeignSeen,
    LedgerChanged,
    LifecycleChanged,
    LimitMoved,
    LimitPaused,
    LimitResumed,
    LogLevelChanged,
    RetryScheduled,
)
from proxy.telemetry.logs import Logs
from tests.telemetry.lines import REQUEST, lines, logger_to, logs_to
from tests.telemetry.telling import tell


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_a_request_is_one_line_with_everything_about_it(stream: io.StringIO) -> None:
    tell(logs_to(stream), REQUEST)
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
    tell(logs_to(stream), replace(REQUEST, error_class=error_class, fault=fault))
    assert lines(stream)[0]["level"] == level


def test_pauses_crashes_and_changes_of_the_process_have_a_line_each(stream: io.StringIO) -> None:
    logs = logs_to(stream)
    tell(logs, LimitPaused("standard", 12.0))
    tell(logs, LifecycleChanged("listening", "http://127.0.0.1:8080"))
    tell(logs, LifecycleChanged("upstream_unreachable", "connection refused"))
    tell(logs, Crashed("req-1", "Traceback:\n  here"))
    tell(logs, Admitted("/x/", "standard", 1.0))
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("warning", "limit_paused"),
        ("info", "listening"),
        ("warning", "upstream_unreachable"),
        ("error", "crashed"),
    ]


def test_a_breaker_that_holds_requests_is_a_warning_and_one_that_closes_is_none(stream: io.StringIO) -> None:
    logs = logs_to(stream)
    for state in ("open", "half_open", "closed"):
        tell(logs, BreakerChanged("upstream", state))
    assert [(line["level"], line["event"], line["group"]) for line in lines(stream)] == [
        ("warning", "breaker_open", "upstream"),
        ("warning", "breaker_half_open", "upstream"),
        ("info", "breaker_closed", "upstream"),
    ]


def test_a_shared_store_that_is_lost_or_back_has_one_line(stream: io.StringIO) -> None:
    logs = logs_to(stream)
    tell(logs, LedgerChanged(False, "it refuses"))
    tell(logs, LedgerChanged(True, "it is back"))
    assert [(line["level"], line["event"], line["detail"]) for line in lines(stream)] == [
        ("warning", "ledger_down", "it refuses"),
        ("info", "ledger_up", "it is back"),
    ]


def test_a_limit_that_moved_has_a_line_and_others_have_one_for_those_who_debug(stream: io.StringIO) -> None:
    def tell_both(logs: Logs) -> None:
        tell(logs, LimitMoved("standard", 200))
        tell(logs, ForeignSeen("standard", 3))

    tell_both(logs_to(stream))
    (line,) = lines(stream)
    moved = {"level": "info", "event": "limit_moved", "limit": "standard", "capacity": 200}
    assert line.items() >= moved.items()
    tell_both(logs_to(stream, level="debug"))
    *_, line = lines(stream)
    seen = {"level": "debug", "event": "foreign_seen", "limit": "standard", "count": 3}
    assert line.items() >= seen.items()


def test_another_level_holds_from_then_on_and_that_is_told_whatever_the_level(stream: io.StringIO) -> None:
    logs = logs_to(stream, level="error")
    tell(logs, REQUEST)
    tell(logs, LogLevelChanged("warning", "error"))
    logs.set_level("info")
    tell(logs, REQUEST)
    assert [(line["level"], line["event"]) for line in lines(stream)] == [
        ("info", "log_level_changed"),
        ("info", "request"),
    ]
    assert (lines(stream)[0]["to"], lines(stream)[0]["before"]) == ("warning", "error")
    assert logs.level == "info"


def test_a_pause_has_one_line_when_it_begins_and_one_when_it_is_over(stream: io.StringIO) -> None:
    logs = logs_to(stream)
    tell(logs, LimitPaused("standard", 12.0, "5e1f"))
    for _ in range(100):
        tell(logs, LimitPaused("standard", 12.0, "5e1f", anew=False))
    tell(logs, LimitResumed("standard", "5e1f"))
    assert [(line["level"], line["event"], line["limit"], line["key"]) for line in lines(stream)] == [
        ("warning", "limit_paused", "standard", "5e1f"),
        ("info", "limit_resumed", "standard", "5e1f"),
    ]


def test_a_listener_that_failed_is_an_error_with_its_stack(stream: io.StringIO) -> None:
    logs_to(stream).complain("one\ntwo")
    (line,) = lines(stream)
    assert (line["level"], line["event"], line["stack"]) == ("error", "listener_failed", "one\ntwo")


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
    tell(logs_to(stream), LifecycleChanged(state, "Why."))
    assert [(line["level"], line["event"]) for line in lines(stream)] == [(level, state)]


def test_retries_are_told_only_to_those_who_debug(stream: io.StringIO) -> None:
    retry = RetryScheduled("/x/", ErrorClass.UNAVAILABLE, 1.23456)
    tell(logs_to(stream), retry)
    assert not lines(stream)
    tell(logs_to(stream, level="debug"), retry)
    assert lines(stream)[0]["delay"] == 1.2346


def test_the_line_of_a_request_names_its_trace_if_it_has_one(stream: io.StringIO) -> None:
    ids = iter(["4bf92f35", None])
    logs = Logs(lambda level: logger_to(stream, level=level), "info", trace=lambda: next(ids))
    tell(logs, REQUEST)
    tell(logs, REQUEST)
    traced, untraced = lines(stream)
    assert traced["trace_id"] == "4bf92f35"
    assert "trace_id" not in untraced
