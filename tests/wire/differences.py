"""All that may differ between what was sent and what crosses the proxy: the two lists come first.

Each entry is exact: below the lists stands the function of its name, which makes of what came straight what
must come through the proxy. They are applied in the order of the lists.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from tests.wire.raw import Fields, Message

UP = {
    "no_host": "HTTP/1.1 demands a Host, HTTP/1.0 does not (RFC 9112 section 3.2).",
    "host": "The upstream is called by its own name (RFC 9110 section 7.2).",
    "absolute_form": "A target that names us goes on in origin form (RFC 9112 section 3.2.1).",
    "version_up": "Versions are each connection's own (RFC 9112 section 2.3).",
    "sized": "A chunked body has been read whole, so its length is known (RFC 9112 section 6.3).",
    "no_trailers": "Trailers are dropped rather than merged into fields (RFC 9110 section 6.5.1).",
    "no_hop_by_hop": "These fields speak of one connection (RFC 9110 section 7.6.1).",
    "not_for_us": "These speak to us: who calls, how urgently (RFC 9218), whether to send the body.",
    "no_wait": "`Prefer: wait` is a wait for us (RFC 7240 section 4.3); other preferences stay.",
    "restored": "A tag that changed links made weak is the API's own again (RFC 9110 section 13.1.1).",
    "via_up": "An intermediary says in which version it was spoken to (RFC 9110 section 7.6.3).",
    "id_up": "Finds a request in both logs; the client's own is kept.",
}
DOWN = {
    "no_interim": "The answer may be another attempt's (docs/errors.md; against RFC 9110 section 15.2).",
    "reframed": "Where a body ends is said in a way that the client's version knows (RFC 9112 section 6.3).",
    "no_trailers": "Trailers are dropped rather than merged into fields (RFC 9110 section 6.5.1).",
    "no_hop_by_hop": "These fields speak of one connection (RFC 9110 section 7.6.1).",
    "head_of_json": "A GET's answer may have changed links, so its length is open (RFC 9110 section 9.3.2).",
    "no_length_of_204": "A 204 must not have a length (RFC 9110 section 8.6).",
    "seconds": "Clients in the field crash on a date in Retry-After (design, section 4).",
    "says_who": "Who made the answer, and where the time went (RFC 9110 section 7.6.3, RFC 9209).",
    "version_down": "Versions are each connection's own (RFC 9112 section 2.3).",
}

MADE = b"<made by the proxy>"
"""Stands for a value that is of the proxy's own making; `PATTERNS` says what it must look like."""
PATTERNS = {
    b"x-request-id": rb"[0-9a-f]{32}",
    b"server-timing": rb'queue;dur=[0-9.]+, upstream;dur=[0-9.]+, retries;desc="0"',
    b"retry-after": rb"0",
}
UPSTREAM = b"<the upstream>"
"""Stands for the authority of the upstream."""
HOP_BY_HOP = {
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
_FOR_US = {b"avala-proxy-client", b"avala-proxy-token", b"expect", b"priority"}
_PREFERENCES = {
    b"wait=20": None,
    b"respond-async, wait=20;x=1, handling=lenient": b"respond-async, handling=lenient",
}


def changed(
    names: dict[str, str], message: Message, sent: Message, needed: set[str] | None = None
) -> Message:
    """Make what must come through the proxy out of what came straight; note which changes that takes.

    `sent` is the request as its client sent it.
    """
    for name in names:
        before, message = message, _CHANGES[name](message, sent)
        if needed is not None and message != before:
            needed.add(name)
    return message


def without(names: set[bytes], message: Message) -> Message:
    """Take fields out."""
    return replace(message, fields=tuple(field for field in message.fields if field[0].lower() not in names))


def version(message: Message) -> bytes:
    """Return the version of a request, such as 1.1."""
    return message.line[-3:]


def _each(message: Message, name: bytes, value: Callable[[bytes], bytes]) -> Message:
    fields = tuple((key, value(old) if key.lower() == name else old) for key, old in message.fields)
    return replace(message, fields=fields)


def _no_host(message: Message, _: Message) -> Message:
    return (
        message if message.all(b"host") else replace(message, fields=((b"Host", UPSTREAM), *message.fields))
    )


def _host(message: Message, _: Message) -> Message:
    fields = tuple(
        (b"Host", UPSTREAM) if key.lower() == b"host" else (key, value) for key, value in message.fields
    )
    return replace(message, fields=fields)


def _absolute_form(message: Message, _: Message) -> Message:
    return replace(message, line=re.sub(rb"(?i) http://[^/? ]+/?(?=.* HTTP)", rb" /", message.line))


def _version_up(message: Message, _: Message) -> Message:
    return replace(message, line=message.line[:-3] + b"1.1")


def _sized(message: Message, _: Message) -> Message:
    if message.framing != "chunked":
        return message
    length = (b"Content-Length", b"%d" % len(message.body))
    fields = tuple(length if field[0].lower() == b"transfer-encoding" else field for field in message.fields)
    return replace(message, fields=fields, framing="length")


def _no_trailers(message: Message, _: Message) -> Message:
    return replace(message, trailers=())


def _no_hop_by_hop(message: Message, _: Message) -> Message:
    named = b",".join(message.all(b"connection")).lower().split(b",")
    return without(HOP_BY_HOP | {name.strip() for name in named}, message)


def _not_for_us(message: Message, _: Message) -> Message:
    return without(_FOR_US, message)


def _no_wait(message: Message, _: Message) -> Message:
    if any(_PREFERENCES.get(value, value) is None for value in message.all(b"prefer")):
        return without({b"prefer"}, message)
    return _each(message, b"prefer", lambda value: _PREFERENCES.get(value) or value)


def _restored(message: Message, _: Message) -> Message:
    return _each(message, b"if-match", lambda value: value.replace(b'W/"', b'"'))


def _via_up(message: Message, sent: Message) -> Message:
    return replace(message, fields=_behind(message.fields, b"Via", version(sent) + b" avala-proxy"))


def _behind(fields: Fields, name: bytes, value: bytes) -> Fields:
    """Add a field behind the last of its name, or at the end."""
    places = [place for place, (key, _) in enumerate(fields, 1) if key.lower() == name.lower()]
    at = places[-1] if places else len(fields)
    return (*fields[:at], (name, value), *fields[at:])


def _id_up(message: Message, _: Message) -> Message:
    if message.all(b"x-request-id"):
        return message
    return replace(message, fields=(*message.fields, (b"X-Request-Id", MADE)))


def _version_down(message: Message, sent: Message) -> Message:
    return replace(message, line=b"HTTP/" + version(sent) + message.line[8:])


def _no_interim(message: Message, _: Message) -> Message:
    return replace(message, interim=())


def _reframed(message: Message, sent: Message) -> Message:
    if message.framing not in ("chunked", "close"):
        return message
    return replace(message, framing="close" if version(sent) == b"1.0" else "chunked")


def _head_of_json(message: Message, sent: Message) -> Message:
    if not sent.line.startswith(b"HEAD ") or message.all(b"content-type") != [b"application/json"]:
        return message
    return without({b"content-length"}, _each(message, b"etag", lambda tag: b"W/" + tag))


def _no_length_of_204(message: Message, _: Message) -> Message:
    return without({b"content-length"}, message) if message.status == 204 else message


def _seconds(message: Message, _: Message) -> Message:
    return _each(message, b"retry-after", lambda value: MADE if b"GMT" in value else value)


def _says_who(message: Message, sent: Message) -> Message:
    own, ids = sent.all(b"x-request-id"), message.all(b"x-request-id")
    sane = own and re.fullmatch(rb"[!-~]{1,128}", own[0])
    said = (
        (b"Via", message.line[5:8] + b" avala-proxy"),
        (b"Proxy-Status", b"avala-proxy; received-status=%d" % message.status),
        (b"Server-Timing", MADE),
        *([] if ids else [(b"X-Request-Id", own[0] if sane else MADE)]),
    )
    return replace(message, fields=(*message.fields, *said))


_CHANGES: dict[str, Callable[[Message, Message], Message]] = {
    name: globals()[f"_{name}"] for name in (*UP, *DOWN)
}
