"""The only place where a path pattern of the configuration gets its meaning.

`*` is one segment, never an empty one, or a part of one (`/api/*/x`, `/tasks/v*`). `**` stands alone
between slashes and is any number of segments: `/a/**/b/` is also `/a/b/`, and `/a/**` is everything
below `/a/`, also `/a/` itself, but not `/a`. Matching takes time linear in the path, whatever the client
sends: what is between two `**` is searched once from the left and never reconsidered (atomic groups),
which loses nothing, as the earliest place leaves the most for the rest.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import unquote

_REST = "/.*"
_GAP = "(?:/[^/]*)*"


def compile_paths(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Make a predicate over paths from patterns, of which any may match; no patterns match everything.

    The path is the request's, without its query. Escapes in it are decoded first, as the API's own
    routing does: `/api/v1/%75ploads/` is an upload. Raises ValueError for a pattern without meaning.
    """
    return _compiled(tuple(patterns))


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    if not patterns:
        return lambda path: True
    regex = re.compile("|".join(map(_regex, patterns)), re.DOTALL)
    return lambda path: regex.fullmatch(unquote(path) if "%" in path else path) is not None


def _regex(pattern: str) -> str:
    """Translate one pattern: the runs of segments between its `**` become chunks, each found in turn."""
    segments = pattern.split("/")
    if segments[0] == "**":
        segments.insert(0, "")
    if segments[0] or len(segments) == 1:
        raise ValueError(f"path pattern {pattern!r} begins with neither `/` nor `**`")
    if any("**" in segment and segment != "**" for segment in segments):
        raise ValueError(f"path pattern {pattern!r}: `**` stands alone between slashes")
    first, *chunks = _chunks(segments[1:])
    if not chunks:
        return first
    *middle, last = chunks
    found = "".join(f"(?>{_GAP}?{chunk}(?=/))" for chunk in middle)
    return first + found + (_GAP + last if last else _REST)


def _chunks(segments: list[str]) -> list[str]:
    """Group segments into the regexes of what stands before, between and after the `**`."""
    chunks = [""]
    for position, segment in enumerate(segments):
        if segment != "**":
            chunks[-1] += "/" + _segment(segment)
        elif position == 0 or segments[position - 1] != "**":
            chunks.append("")
    return chunks


def _segment(segment: str) -> str:
    if segment == "*":
        return "[^/]+"
    first, *parts = map(re.escape, segment.split("*"))
    if not parts:
        return first
    *middle, last = parts
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + "[^/]*" + last
