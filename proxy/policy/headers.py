"""The only place where it is decided which header fields cross the proxy, in which form, and what some say.

Fields that speak of one connection stop here, both ways (RFC 9110 section 7.6.1), and so do those that
speak to the proxy itself. Everything else keeps its order, its case, its repeats and every byte. Values
come from a strict parser; what the proxy adds is checked here, because some of it came from elsewhere.
"""

import re
from collections.abc import Iterable, Sequence

from proxy.messages import Headers, Request, Response

Fields = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Always of one connection, named in `Connection` or not."""

FOR_THE_PROXY = frozenset({b"avala-proxy-client", b"avala-proxy-token", b"expect", b"priority"})
"""Meant for us: who is calling, what shows it, whether to send the body (it has been read already), and how
urgent that is (it has been obeyed already)."""

NAME = b"avala-proxy"
"""Ours, in `Via` and `Proxy-Status`."""

END_TO_END = re.compile(
    rb"accept(-.+)?|age|allow|authorization|cache-control|content-.+|cookie|date|etag|expires|forwarded|host"
    rb"|idempotency-key|if-.+|last-modified|link|location|origin|prefer|priority|range|retry-after|server"
    rb"|set-cookie|user-agent|vary|via|www-authenticate|x-forwarded-.+|x-ratelimit-.+|x-request-id"
)
"""Fields that `Connection` cannot name away: without them it would be another message, or nobody's."""

LONGEST_WAIT = 86400.0
"""Seconds: more than this in `Prefer: wait` means this."""

_UNSAFE = re.compile(rb"[\r\n\0]")
# Members of a list, and parts of a member; a quote that is never closed runs to the end. Possessive, so
# that no value takes more than linear time.
_QUOTED = r'"(?:[^"\\]|\\.?)*+"?'
_MEMBER = re.compile(rf'(?:[^,"]++|{_QUOTED})++', re.DOTALL)
_PART = re.compile(rf'(?:[^;"]++|{_QUOTED})++', re.DOTALL)
_SECONDS = re.compile(r'(?P<quote>"?)(?P<seconds>[0-9]{1,18})(?P=quote)')
_ZERO = re.compile(r"0(?:\.0*)?")


def upward(
    request: Request,
    *,
    host: bytes,
    size: int | None,
    via: bool,
    credential_headers: Sequence[str],
    forwarded: bool,
) -> Fields:
    """Make the fields that the upstream gets.

    `host` is the upstream's; `size` the body's bytes, None when there is none. With `via`, `Via` names us
    (RFC 9110 section 7.6.3). With `forwarded`, `X-Forwarded-For`, `-Proto` and `-Host` tell of the client.
    """
    credentials = frozenset(name.lower().encode() for name in credential_headers)
    dropped = FOR_THE_PROXY | HOP_BY_HOP | (named_away(request.headers) - credentials)
    fields = _reframed(request.headers, host, size, dropped)
    if via:
        _say(fields, b"Via", b"%b %b" % (request.version, NAME))
    if forwarded:
        _say_forwarded(fields, request)
    if b"x-request-id" not in request.headers:
        _say(fields, b"X-Request-Id", request.id.encode("ascii", "replace"))
    return tuple(fields)


def with_parent(headers: Headers, parent: bytes, *, continued: bool) -> Headers:
    """Put another `traceparent` in the place of the client's (W3C Trace Context section 4).

    What `tracestate` says is of the client's trace: it is kept where that is `continued`.
    """
    dropped = {b"traceparent"} if continued else {b"traceparent", b"tracestate"}
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() not in dropped:
            fields.append((name, value))
        elif parent and name.lower() == b"traceparent":
            fields.append((name, parent))
            parent = b""
    return Headers((*fields, (b"traceparent", parent)) if parent else tuple(fields))


def downward(response: Response) -> Fields:
    """Make the fields that the client gets.

    A length of what has no body goes too (RFC 9110 section 8.6: not with 204).
    """
    dropped = HOP_BY_HOP | named_away(response.headers)
    if response.status == 204:
        dropped |= {b"content-length"}
    return tuple(field for field in response.headers if field[0].lower() not in dropped)


def prefer_wait(headers: Headers) -> float | None:
    """Return the seconds that the client is willing to wait: `Prefer: wait=20` (RFC 7240 section 4.3).

    The first `wait` counts (section 2), even when it makes no sense; then, as without one, it is None.
    """
    for member in _members(headers.all(b"prefer")):
        name, value = _preference(member)
        if name == "wait":
            match = _SECONDS.fullmatch(value)
            return min(float(match["seconds"]), LONGEST_WAIT) if match else None
    return None


def is_json(headers: Headers) -> bool:
    """Say whether the content is JSON (RFC 8259, or a type that ends with +json)."""
    kind = (headers.get(b"content-type") or "").partition(";")[0].strip(" \t").lower()
    return kind == "application/json" or ("/" in kind and kind.endswith("+json"))


def accepts_stream(headers: Headers) -> bool:
    """Say whether `Accept` names text/event-stream (RFC 9110 section 12.5.1); wildcards do not name it."""
    for member in _members(headers.all(b"accept")):
        kind, *parameters = _PART.findall(member) or [""]
        if kind.strip().lower() == "text/event-stream" and not any(map(_refuses, parameters)):
            return True
    return False


def _reframed(
    headers: Headers, host: bytes, size: int | None, dropped: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """Copy what crosses; host and length change in place, and are added where the client sent none."""
    fields: list[tuple[bytes, bytes]] = []
    hosts: Fields = ((b"Host", host),)
    lengths: Fields = () if size is None else ((b"Content-Length", str(size).encode()),)
    for name, value in headers:
        match name.lower():
            case b"host":
                fields += hosts
                hosts = ()
            case b"content-length" | b"transfer-encoding":
                fields += lengths
                lengths = ()
            case b"prefer":
                fields += _without_wait(name, value)
            case key if key not in dropped:
                fields.append((name, value))
    return [*hosts, *fields, *lengths]


def named_away(headers: Headers) -> frozenset[bytes]:
    """Return what `Connection` names beyond the fields that it cannot name."""
    named = (token.strip(" \t").lower().encode("latin-1") for token in _listed(headers, b"connection"))
    return frozenset(name for name in named if not END_TO_END.fullmatch(name))


def _listed(headers: Headers, name: bytes) -> list[str]:
    return ",".join(headers.all(name)).split(",")


def _say(fields: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    """Add a line of our own after the last of its name, else at the end; none that would forge another."""
    if value and not _UNSAFE.search(value):
        place = _last(fields, name)
        fields.insert(len(fields) if place is None else place + 1, (name, value))


def _say_forwarded(fields: list[tuple[bytes, bytes]], request: Request) -> None:
    """Tell of the client; its peer goes to the end of the path that earlier proxies wrote."""
    peer = request.peer.encode("ascii", "replace")
    place = _last(fields, b"X-Forwarded-For")
    if place is None:
        _say(fields, b"X-Forwarded-For", peer)
    elif peer and not _UNSAFE.search(peer):
        name, path = fields[place]
        fields[place] = name, path + b", " + peer if path else peer
    if _last(fields, b"X-Forwarded-Proto") is None:
        _say(fields, b"X-Forwarded-Proto", b"https" if request.secure else b"http")
    if _last(fields, b"X-Forwarded-Host") is None:
        _say(fields, b"X-Forwarded-Host", (request.headers.get(b"host") or "").encode("latin-1"))


def _last(fields: Sequence[tuple[bytes, bytes]], name: bytes) -> int | None:
    lowered = name.lower()
    places = (place for place in reversed(range(len(fields))) if fields[place][0].lower() == lowered)
    return next(places, None)


def _without_wait(name: bytes, value: bytes) -> Fields:
    """Take our member out of a line of preferences; a line without it stays as it is."""
    members = _members([value.decode("latin-1")])
    others = [member for member in members if _preference(member)[0] != "wait"]
    if len(others) == len(members):
        return ((name, value),)
    return ((name, ", ".join(others).encode("latin-1")),) if others else ()


def _members(lines: Iterable[str]) -> list[str]:
    """Split lists into their members, minding quotes (RFC 9110 section 5.6.1)."""
    members = (member.strip(" \t") for line in lines for member in _MEMBER.findall(line))
    return [member for member in members if member]


def _preference(member: str) -> tuple[str, str]:
    """Split a preference without its parameters into its name, in lower case, and its value."""
    match = _PART.match(member)
    name, _, value = (match[0] if match else "").partition("=")
    return name.strip().lower(), value.strip()


def _refuses(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip().lower() == "q" and _ZERO.fullmatch(value.strip()) is not None
