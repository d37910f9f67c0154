"""What libraries log, as lines of ours: the only place that touches Python's own logging.

aiohttp writes an ERROR with a traceback for each malformed request, which anybody can send, and what it is
told to format may quote one. So a record becomes a single line: its first, and the exception's type.
"""

import logging
from collections.abc import Callable

from proxy.telemetry.rendering import Logger

_LONGEST_MESSAGE = 300
_REPEAT = {"asyncio": 10.0, "opentelemetry": 60.0, "urllib3": 60.0}
"""Seconds for which the event loop, and what sends traces, is not heard saying the same again."""
_MESSAGES = 100
"""Different messages that are remembered."""


def quiet_stdlib(logger: Callable[[], Logger], redact: Callable[[str], str]) -> Callable[[], None]:
    """Turn what libraries log into single lines without tracebacks; return what undoes it.

    `logger` returns the one of the moment. `redact` sees a message before it is cut to its length: half a
    secret is not known for one.
    """
    handler = _ToStructlog(logger, redact)
    changed = [logging.getLogger(name) for name in ("aiohttp", "asyncio", "opentelemetry", "urllib3")]
    before = [(one, one.handlers, one.propagate, one.level) for one in changed]
    for one in changed:
        one.handlers, one.propagate = [handler], False
        one.setLevel(logging.WARNING)

    def undo() -> None:
        for one, handlers, propagate, level in before:
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)

    return undo


class _ToStructlog(logging.Handler):
    """Write a record's first line, and its exception's type only: the rest may quote a request."""

    def __init__(self, logger: Callable[[], Logger], redact: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
        self._redact = redact
        self._last: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_repeated(record):
            self._write(record)

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        """Tell whether it was said a moment ago: out of descriptors, by the loop 10,000 times a second."""
        pause = _REPEAT.get(record.name.partition(".")[0])
        if pause is None:
            return False
        if len(self._last) > _MESSAGES:
            self._last.clear()
        text = str(record.msg)
        repeated = record.created - self._last.get(text, -pause) < pause
        if not repeated:
            self._last[text] = record.created
        return repeated

    def _write(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        # Malformed requests, which are their sender's fault.
        by_client = kind is not None and kind.__module__ == "aiohttp.http_exceptions"
        severe = record.levelno >= logging.ERROR and not by_client
        logger = self._logger()
        write = logger.error if severe else logger.warning
        message = self._redact(_first_line(record))[:_LONGEST_MESSAGE]
        write("library", logger=record.name, message=message, error=kind.__name__ if kind else None)


def _first_line(record: logging.LogRecord) -> str:
    # The server's arguments are its clients' addresses; those of others may be cookies or URLs.
    text = record.getMessage() if record.name == "aiohttp.server" else str(record.msg)
    return text.partition("\n")[0]
