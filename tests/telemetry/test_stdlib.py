"""What libraries log becomes single lines that quote nobody."""

import io
import logging
from collections.abc import Iterator

import pytest

from proxy.telemetry.redaction import Redaction
from proxy.telemetry.stdlib import quiet_stdlib
from tests.telemetry.lines import KEY, lines, logger_to


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def quieted(stream: io.StringIO) -> Iterator[io.StringIO]:
    undo = quiet_stdlib(lambda: logger_to(stream), Redaction())
    yield stream
    undo()


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


def test_what_a_library_says_below_a_warning_is_not_written(quieted: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /?token=x")
    logging.getLogger("asyncio").debug("Using selector")
    assert quieted.getvalue() == ""


def test_quieting_can_be_undone_and_touches_no_other_logger(stream: io.StringIO) -> None:
    root, mine = logging.getLogger(), logging.getLogger("asyncio")
    before = (list(root.handlers), root.level, list(mine.handlers), mine.propagate, mine.level)
    undo = quiet_stdlib(lambda: logger_to(stream), Redaction())
    assert (list(root.handlers), root.level) == before[:2]
    undo()
    assert (list(root.handlers), root.level, list(mine.handlers), mine.propagate, mine.level) == before


def test_a_secret_is_cut_out_before_the_message_is_cut_to_its_length(stream: io.StringIO) -> None:
    redaction = Redaction()
    redaction.learn("correct-horse-battery-staple")
    undo = quiet_stdlib(lambda: logger_to(stream), redaction)
    logging.getLogger("aiohttp.server").error("x" * 280 + "correct-horse-battery-staple")
    undo()
    assert lines(stream)[0]["message"] == "x" * 280 + "…"


def test_a_library_goes_by_the_level_of_the_moment(stream: io.StringIO) -> None:
    levels = ["error", "warning"]
    undo = quiet_stdlib(lambda: logger_to(stream, level=levels[-1]), Redaction())
    logging.getLogger("aiohttp.server").warning("one")
    levels.pop()
    logging.getLogger("aiohttp.server").warning("two")
    undo()
    assert [line["message"] for line in lines(stream)] == ["one"]
