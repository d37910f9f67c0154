"""How a line looks, and where it goes: JSON for machines, columns for people, one write each.

The only place that makes a logger. Nothing global is changed by it.
"""

import json
import os
import re
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from proxy.clock import Clock, LoopClock
from proxy.config import Log

Logger = FilteringBoundLogger
Line = MutableMapping[str, Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Lines:
    """Write finished lines to a stream, one call each; a stream that fails loses lines, not requests.

    `redact` has the last word on each of them.
    """

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact
        self.lost = 0

    @property
    def for_people(self) -> bool:
        """Whether a terminal shows them."""
        try:
            return self._stream.isatty()
        except ValueError:  # a closed stream
            return False

    def msg(self, line: str) -> None:
        """Write a line."""
        text = self._redact(line) + "\n"
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError):  # the reader left, the disk is full, the stream was closed
            self.lost += 1

    debug = info = warning = error = critical = msg


def configure(settings: Log, lines: Lines, *, clock: Clock | None = None) -> Logger:
    """Make the logger that writes lines as the settings have it.

    It is already bound, so that a line costs no look-up, and levels below the configured one cost nothing.
    """
    logger: Logger = structlog.wrap_logger(
        lines,
        processors=[_Stamp(clock or LoopClock()), *_rendering(settings, lines)],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=True,
    ).bind()
    return logger


class _Stamp:
    """Put time, level and event first; the second is written once for all lines of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written = -1, ""

    def __call__(self, _logger: Any, level: str, line: Line) -> Line:
        second, milliseconds = divmod(int(self._clock.wall() * 1000), 1000)
        known, written = self._written  # one value: libraries write from threads of their own, too
        if second != known:
            written = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._written = second, written
        event = line.pop("event")
        return {"timestamp": f"{written}.{milliseconds:03}Z", "level": level, "event": event, **line}


def _rendering(settings: Log, lines: Lines) -> list[Processor]:
    terminal = lines.for_people
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return [_json]
    colors = terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
    return [_visible, structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)]


# Made once: `json.dumps`, and so structlog's renderer, makes an encoder for each line.
_encode = json.JSONEncoder(default=repr).encode


def _json(_logger: Any, _level: str, line: Line) -> str:
    return _encode(line)


def _visible(_logger: Any, _level: str, line: Line) -> Line:
    """Show control characters: a request's id comes from its client, and a terminal would obey it."""
    return {key: _escaped(key, value) if isinstance(value, str) else value for key, value in line.items()}


def _escaped(key: str, text: str) -> str:
    if key == "stack":  # its lines are for reading
        return "\n".join(_escaped("", line) for line in text.splitlines())
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
