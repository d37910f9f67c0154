"""What a hostile request is, and what must come of it."""

from dataclasses import dataclass

from tests.wire.raw import Script


@dataclass(frozen=True)
class Hostile:
    """What is sent, and the statuses of its answers: each 200 is one request that the upstream got, no more.

    `how` says in which way a request that is let through is made safe; `keeps` is in what the upstream got,
    and `loses` is not.
    """

    name: str
    script: Script
    answers: tuple[int, ...]
    how: str = ""
    keeps: bytes = b""
    loses: bytes = b"evil"


def refused(name: str, *script: bytes, status: int = 400) -> Hostile:
    """Refuse it with this status; nothing of it goes on."""
    return Hostile(name, script, (status,))


def taken(
    name: str,
    how: str,
    *script: bytes,
    then: int | None = None,
    keeps: bytes = b"",
    loses: bytes = b"evil",
) -> Hostile:
    """Let one request through, made safe; what comes after it may be refused."""
    return Hostile(name, script, (200,) if then is None else (200, then), how, keeps, loses)


def get(
    target: bytes = b"/", fields: bytes = b"", *, method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> bytes:
    """Make a request without a body; each field ends with CRLF."""
    return b"%b %b %b\r\nHost: h\r\n%b\r\n" % (method, target, version, fields)


def post(fields: bytes, body: bytes) -> bytes:
    """Make a request with a body, which `fields` frame; each ends with CRLF."""
    return get(fields=fields, method=b"POST") + body
