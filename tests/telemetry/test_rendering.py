"""How a line looks, and what becomes of it where it can't be written."""

import io
import json
import os
from dataclasses import replace

import pytest

from proxy.config import Log
from proxy.events import Crashed, LimitPaused
from proxy.telemetry.redaction import Redaction
from proxy.telemetry.rendering import Lines, configure
from tests.telemetry.lines import KEY, REQUEST, lines, logs_to
from tests.telemetry.telling import tell


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_levels_below_the_configured_one_are_not_written(stream: io.StringIO) -> None:
    logs = logs_to(stream, level="error")
    tell(logs, REQUEST)
    tell(logs, LimitPaused("standard", 1.0))
    assert stream.getvalue() == ""


def test_auto_is_for_people_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe, asked = Terminal(), io.StringIO(), io.StringIO()
    tell(logs_to(terminal), REQUEST)
    tell(logs_to(pipe), REQUEST)
    tell(logs_to(asked, format="console"), REQUEST)
    assert "\x1b[" in terminal.getvalue()
    assert lines(pipe)
    assert "\x1b[" not in asked.getvalue()
    assert "request" in asked.getvalue()
    assert "limit=standard" in asked.getvalue()


def test_who_wants_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    tell(logs_to(terminal), REQUEST)
    assert "\x1b[" not in terminal.getvalue()


def test_a_closed_stream_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    tell(logs_to(closed), REQUEST)


def test_a_request_id_can_not_command_a_terminal_or_forge_a_line() -> None:
    asked = io.StringIO()
    logs = logs_to(asked, format="console")
    tell(logs, replace(REQUEST, request_id="\x1b[2J\x9b\r\nforged"))
    assert "\\x1b[2J\\x9b\\x0d\\x0aforged" in asked.getvalue()
    assert asked.getvalue().count("\n") == 1


def test_a_stack_is_shown_line_by_line_to_people() -> None:
    asked = io.StringIO()
    tell(logs_to(asked, format="console"), Crashed("req-1", "one\n  two\x1b"))
    assert "one\n  two\\x1b\n" in asked.getvalue()


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left"), ValueError("closed")])
def test_a_stream_that_fails_loses_lines_and_raises_nothing(error: Exception) -> None:
    class Failing(io.StringIO):
        def flush(self) -> None:
            raise error

    written = Lines(Failing(), Redaction())
    written.msg("one")
    written.info("two")
    assert written.lost == 2


def test_a_pipe_whose_reader_left_raises_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    logs = logs_to(pipe)
    tell(logs, REQUEST)
    tell(logs, REQUEST)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_stream_of_ascii_gets_escapes_for_other_signs() -> None:
    raw = io.BytesIO()
    logs = logs_to(io.TextIOWrapper(raw, "ascii"), format="json")
    tell(logs, replace(REQUEST, request_id=KEY))
    assert json.loads(raw.getvalue())["request_id"] == "avk_…"


def test_the_clock_is_the_systems_when_none_is_given(stream: io.StringIO) -> None:
    configure(Log(), Lines(stream, Redaction())).info("listening")
    assert lines(stream)[0]["timestamp"].startswith("20")
