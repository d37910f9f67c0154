"""A log that tests read: everything that a listener is told ends in a text."""

import io
import json
from typing import Any, TextIO

from proxy.config import Level, Log
from proxy.errors import ErrorClass, Fault
from proxy.events import ExchangeEnded
from proxy.telemetry.logs import Logs
from proxy.telemetry.redaction import Redaction
from proxy.telemetry.rendering import Lines, Logger, configure

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


def logger_to(stream: TextIO, redact: Redaction | None = None, **settings: Any) -> Logger:
    """Make a logger whose time stands still."""
    written = Lines(stream, redact or Redaction())
    return configure(Log.model_validate(settings), written, clock=Stopped())


def logs_to(stream: TextIO, *, level: Level = "info", **settings: Any) -> Logs:
    """Make a listener that writes to a stream."""
    return Logs(lambda wanted: logger_to(stream, level=wanted, **settings), level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]
