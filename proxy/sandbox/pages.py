"""Cursor pages as DRF cuts them: opaque cursors, absolute links. Nothing else knows what a cursor holds.

A cursor names the record it stands beside and the direction to go, so that records added or deleted
between two requests neither repeat nor hide others. It holds a position, which deleted records keep.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from proxy.sandbox import errors

MOST_ON_A_PAGE = 100

Numbered = tuple[int, Mapping[str, Any]]
"""A record with its position, which grows with creation."""


def page(rows: Sequence[Numbered], url: str, query: Mapping[str, str], size: int) -> dict[str, Any]:
    """Cut the page that the query asks for; `url` is the list's absolute address without its query.

    Raises ApiError (404, DRF's words) for a cursor that this module did not make.
    """
    positions = [position for position, _ in rows]
    size = _size(query.get("limit"), size)
    start, end = 0, size
    if cursor := query.get("cursor"):
        backward, position = _read(cursor)
        if backward:
            end = bisect_left(positions, position)
            start = max(0, end - size)
        else:
            start = bisect_right(positions, position)
            end = start + size
    shown = rows[start:end]
    return {
        "next": _link(url, query, _cursor(False, shown[-1][0])) if shown and end < len(rows) else None,
        "previous": _link(url, query, _cursor(True, shown[0][0])) if shown and start > 0 else None,
        "results": [record for _, record in shown],
    }


def _size(text: str | None, default: int) -> int:
    """Read `limit` as DRF does: what is no positive number is ignored, what is too much is cut."""
    try:
        asked = int(text or "")
    except ValueError:
        return default
    return min(asked, MOST_ON_A_PAGE) if asked > 0 else default


def _cursor(backward: bool, position: int) -> str:
    return b64encode(f"{'r=1&' if backward else ''}p={position}".encode()).decode()


def _read(cursor: str) -> tuple[bool, int]:
    try:
        fields = dict(parse_qsl(b64decode(cursor, validate=True).decode()))
        return fields.get("r") == "1", int(fields["p"])
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError):
        raise errors.not_found("Invalid cursor") from None


def _link(url: str, query: Mapping[str, str], cursor: str) -> str:
    return f"{url}?{urlencode(sorted({**query, 'cursor': cursor}.items()))}"
