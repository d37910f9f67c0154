"""What is written to the log: one line for each request, and one for each change of the proxy's state.

A listener, like the metrics. No line holds a path, a query or a header's value; whatever else comes in, text
that looks like a key is cut out at the very end (`redact`), where nothing gets past.
"""

import json
import logging
import os
import re
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from proxy.clock import Clock, LoopClock
from proxy.config import Log
from proxy.errors import ErrorClass, Fault
from proxy.events import (
    BreakerChanged,
    Crashed,
    Event,
    ExchangeEnded,
    ForeignSeen,
    LedgerChanged,
    LifecycleChanged,
    LimitMoved,
    LimitPaused,
    RetryScheduled,
)
from proxy.telemetry.untraced import TraceId, no_trace

Line = MutableMapping[str, Any]

_KEY = re.compile(r"avk_[A-Za-z0-9_-]+")
_BEARER = re.compile(r"\b(bearer|basic)\s+[^\s\"',]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WORTH_A_LOOK = frozenset({Fault.UPSTREAM, Fault.NETWORK, Fault.PROXY})
_TROUBLE = frozenset(
    {
        "few_open_files",
        "upstream_unreachable",
        "upstream_unresolved",
        "certificate_unusable",
        "credential_unreadable",
        "observing",
        "reload_failed",
        "state_file_ignored",
        "state_file_exposed",
        "state_file_unwritable",
        "traces_lost",
    }
)
_LONGEST_MESSAGE = 300
_REPEAT = {"asyncio": 10.0, "opentelemetry": 60.0, "urllib3": 60.0}
"""Seconds for which the event loop, and what sends traces, is not heard saying the same again."""
_MESSAGES = 100
"""Different messages that are remembered."""


def redact(text: str) -> str:
    """Cut out of a text whatever looks like a credential."""
    text = _KEY.sub("avk_…", text)
    # The pattern is slow to fail, and every line comes here.
    folded = text.casefold()
    return _BEARER.sub(r"\1 …", text) if "bearer" in folded or "basic" in folded else text


def configure(settings: Log, *, stream: TextIO, clock: Clock | None = None) -> FilteringBoundLogger:
    """Make the logger that writes to a stream; nothing global is changed.

    It is already bound, so that a line costs no look-up, and levels below the configured one cost nothing.
    """
    logger: FilteringBoundLogger = structlog.wrap_logger(
        Lines(stream),
        processors=[_stamp(clock or LoopClock()), *_rendering(settings, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=True,
    ).bind()
    return logger


def _stamp(clock: Clock) -> Processor:
    def stamp(_logger: Any, level: str, line: Line) -> Line:
        moment = datetime.fromtimestamp(clock.wall(), UTC).isoformat(timespec="milliseconds")
        first = {"timestamp": moment.replace("+00:00", "Z"), "level": level, "event": line.pop("event")}
        return first | dict(line)

    return stamp


def _rendering(settings: Log, stream: TextIO) -> list[Processor]:
    terminal = _is_terminal(stream)
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return [_json]
    colors = terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
    return [_visible, structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)]


# Made once: `json.dumps`, and so structlog's renderer, makes an encoder for each line.
_encode = json.JSONEncoder(default=repr).encode


def _json(_logger: Any, _level: str, line: Line) -> str:
    return _encode(line)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # a closed stream
        return False


def _visible(_logger: Any, _level: str, line: Line) -> Line:
    """Show control characters: a request's id comes from its client, and a terminal would obey it."""
    return {key: _escaped(key, value) if isinstance(value, str) else value for key, value in line.items()}


def _escaped(key: str, text: str) -> str:
    if key == "stack":  # its lines are for reading
        return "\n".join(_escaped("", line) for line in text.splitlines())
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Lines:
    """Write finished lines to a stream, one call each; a stream that fails loses lines, not requests."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def msg(self, line: str) -> None:
        """Write a line."""
        text = redact(line) + "\n"
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError):  # the reader left, the disk is full, the stream was closed
            self.lost += 1

    debug = info = warning = error = critical = msg


class Logs:
    """Write a line for each event that operators read about."""

    def __init__(self, logger: FilteringBoundLogger, *, trace: TraceId = no_trace) -> None:
        self._logger = logger
        self._trace = trace
        self._on: dict[type, Callable[[Any], None]] = {
            ExchangeEnded: self._exchange_ended,
            Crashed: self._crashed,
            LimitPaused: self._limit_paused,
            LimitMoved: self._limit_moved,
            ForeignSeen: self._foreign_seen,
            BreakerChanged: self._breaker_changed,
            LifecycleChanged: self._lifecycle_changed,
            LedgerChanged: self._ledger_changed,
            RetryScheduled: self._retry_scheduled,
        }

    def use(self, logger: FilteringBoundLogger) -> None:
        """Write to another logger from now on."""
        self._logger = logger

    def __call__(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        write = self._on.get(type(event))
        if write is not None:
            write(event)

    def _exchange_ended(self, event: ExchangeEnded) -> None:
        # A client that leaves is everyday life, whoever's fault it is filed under.
        left = event.error_class is ErrorClass.CLIENT_DISCONNECTED
        write = self._logger.warning if event.fault in _WORTH_A_LOOK and not left else self._logger.info
        trace_id = self._trace()
        write(
            "request",
            request_id=event.request_id,
            method=event.method,
            route=event.route,
            status=event.status,
            error_class=event.error_class,
            fault=event.fault,
            code=event.code,
            attempts=event.attempts,
            duration=round(event.duration, 4),
            waited=round(event.waited, 4),
            upstream=round(event.upstream, 4),
            limit=event.limit,
            credential=event.credential,
            client=event.client,
            caller=event.caller,
            peer=event.peer,
            coalesced=event.coalesced,
            **({} if event.would_wait is None else {"would_wait": round(event.would_wait, 4)}),
            **({} if trace_id is None else {"trace_id": trace_id}),
        )

    def _crashed(self, event: Crashed) -> None:
        self._logger.error("crashed", request_id=event.request_id, stack=event.stack)

    def _limit_paused(self, event: LimitPaused) -> None:
        self._logger.warning("limit_paused", limit=event.limit, seconds=round(event.seconds, 4))

    def _limit_moved(self, event: LimitMoved) -> None:
        self._logger.info("limit_moved", limit=event.limit, capacity=event.capacity)

    def _foreign_seen(self, event: ForeignSeen) -> None:
        self._logger.debug("foreign_seen", limit=event.limit, count=event.count)

    def _breaker_changed(self, event: BreakerChanged) -> None:
        write = self._logger.info if event.state == "closed" else self._logger.warning
        write(f"breaker_{event.state}", group=event.group)

    def _ledger_changed(self, event: LedgerChanged) -> None:
        if event.up:
            self._logger.info("ledger_up", detail=event.detail)
        else:
            self._logger.warning("ledger_down", detail=event.detail)

    def _lifecycle_changed(self, event: LifecycleChanged) -> None:
        write = self._logger.warning if event.state in _TROUBLE else self._logger.info
        write(event.state, detail=event.detail)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        self._logger.debug(
            "retry_scheduled", route=event.route, error_class=event.error_class, delay=round(event.delay, 4)
        )


def quiet_stdlib(logger: FilteringBoundLogger) -> Callable[[], None]:
    """Turn what libraries log into single lines without tracebacks; return what undoes it.

    aiohttp writes an ERROR with a traceback for each malformed request, which anybody can send.
    """
    handler = _ToStructlog(logger)
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

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger
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
        write = self._logger.error if severe else self._logger.warning
        error = kind.__name__ if kind else None
        write("library", logger=record.name, message=_first_line(record), error=error)


def _first_line(record: logging.LogRecord) -> str:
    # The server's arguments are its clients' addresses; those of others may be cookies or URLs.
    text = record.getMessage() if record.name == "aiohttp.server" else str(record.msg)
    return text.partition("\n")[0][:_LONGEST_MESSAGE]
