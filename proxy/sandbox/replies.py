"""What the API can answer, as values without sockets: whole answers and streams. `wire.py` sends them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body is known in full."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False
    """Whether the connection ends with this answer, because the request's body was left unread."""


@dataclass(frozen=True, slots=True)
class StreamReply:
    """An answer made while it is sent."""

    chunks: AsyncGenerator[bytes, None]
    headers: Mapping[str, str]
    length: int | None = None
    """Bytes in all, or None when nobody knows yet (then it is sent chunked)."""
    status: int = 200
    close: bool = False


AnyReply = Reply | StreamReply


def dump(value: Any) -> bytes:
    """Render JSON as DRF's JSONRenderer does: compact separators, UTF-8 as it is."""
    # Header bytes that are no UTF-8 reach Python as lone surrogates, which cannot be written back.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Make an answer of a JSON value."""
    return Reply(status, dump(value), {**JSON_HEADERS, **(headers or {})})
