"""What a hostile or broken upstream does, and what its client must get."""

from dataclasses import dataclass, replace

from tests.wire.raw import OK, End, Script, Step

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nX-Evil: 1\r\nContent-Length: 4\r\n\r\nevil"


@dataclass(frozen=True)
class Bad:
    """What the upstream does, and what its client gets: an error by RFC 9209, or an answer that breaks off.

    `status` 200 with `whole` None is an answer that breaks after its head; with `whole`, one that is whole.
    `kept` says whether the connection may be used again: only if nothing about it was wrong. `greets` is not
    to wait for a request, `early` not to wait for its body. For `pause` seconds nobody asks for more.
    """

    name: str
    script: Script
    status: int = 502
    error: str = ""
    whole: bytes | None = None
    kept: bool = False
    method: bytes = b"GET"
    greets: bool = False
    early: bool = False
    pause: float = 0.0


def _bad(name: str, *script: Step, error: str = "http_protocol_error") -> Bad:
    return Bad(name, script, error=error)


def _incomplete(name: str, *script: Step) -> Bad:
    return _bad(name, *script, error="http_response_incomplete")


def _late(name: str, *script: Step) -> Bad:
    return Bad(name, script, status=504, error="connection_read_timeout")


def _gone(name: str, *script: Step, greets: bool = False) -> Bad:
    return Bad(name, script, error="connection_terminated", greets=greets)


def _breaks(name: str, *script: Step) -> Bad:
    return Bad(name, script, status=200)


def _whole(name: str, *script: Step, whole: bytes = b"ok", method: bytes = b"GET", pause: float = 0.0) -> Bad:
    """It is whole, but the connection over which it came is not to be trusted."""
    return Bad(name, script, status=200, whole=whole, method=method, pause=pause)


def _lenient(name: str, *script: Step) -> Bad:
    """The parser takes it (RFC 9112 sections 2.2 and 5.2 let it), and the client gets it mended."""
    return replace(_whole(name, *script), kept=True)


def _early(name: str, *script: Step) -> Bad:
    """The upstream does not wait for the end of a large body."""
    return replace(_whole(name, *script, method=b"PUT"), early=True)


def _sized(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields, b"Content-Length: 2", b"", b"ok"])


def _with(field: bytes) -> bytes:
    return _sized(b"HTTP/1.1 200 OK", b"X-Before: 1", field, b"X-After: 1")


def _field(name: str, field: bytes) -> Bad:
    return _bad(f"field-{name}", _with(field))


def _coding(name: str, coding: bytes) -> Bad:
    answer = HEAD + b"Transfer-Encoding: %b\r\n\r\n2\r\nok\r\n0\r\n\r\n" % coding
    return _bad(f"coding-{name}", answer, End.CLOSE, error="http_response_transfer_coding")


def _chunk(name: str, body: bytes) -> tuple[Bad, Bad]:
    """With the head, there is time for a 502; after it, there is not."""
    return _bad(f"chunk-{name}", CHUNKED + body), _breaks(f"chunk-{name}-later", CHUNKED, 0.02, body)


def _cut(name: str, body: bytes, *then: Step) -> Bad:
    return _breaks(f"chunk-{name}", CHUNKED + body, *then)


ANSWERS = (
    _bad("garbage", b"\x00\xff garbage\r\n\r\n", End.HANG),
    _bad("garbage-closed", b"garbage\r\n\r\n", End.CLOSE),
    _bad("text", b"Sorry, we are closed.\r\n\r\n", End.HANG),
    _bad("http-0.9", b"<html>hello</html>\r\n\r\n", End.CLOSE),
    _bad("tls-alert", b"\x15\x03\x01\x00\x02\x02\x46", End.CLOSE),
    _bad("http-2-settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", End.CLOSE),
    _bad("a-request", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", End.HANG),
    _bad("no-status-line", b"Content-Length: 2\r\n\r\nok", End.HANG),
    _bad("line-http-2", _sized(b"HTTP/2.0 200 OK")),
    _bad("line-http-0.9", _sized(b"HTTP/0.9 200 OK")),
    _bad("line-http-1.2", _sized(b"HTTP/1.2 200 OK")),
    _bad("line-http-1.10", _sized(b"HTTP/1.10 200 OK")),
    _bad("line-lower-case", _sized(b"http/1.1 200 OK")),
    _bad("line-icy", _sized(b"ICY 200 OK")),
    _bad("line-space-first", _sized(b" HTTP/1.1 200 OK")),
    _bad("line-two-spaces", _sized(b"HTTP/1.1  200 OK")),
    _bad("line-no-status", _sized(b"HTTP/1.1 OK")),
    _bad("status-000", _sized(b"HTTP/1.1 000 Zero")),
    _bad("status-099", _sized(b"HTTP/1.1 099 Low")),
    _bad("status-99", _sized(b"HTTP/1.1 99 Low")),
    _lenient("status-600", _sized(b"HTTP/1.1 600 High")),
    _lenient("status-999", _sized(b"HTTP/1.1 999 High")),
    _bad("status-1000", _sized(b"HTTP/1.1 1000 High")),
    _bad("status-letters", _sized(b"HTTP/1.1 abc OK")),
    _bad("status-negative", _sized(b"HTTP/1.1 -200 OK")),
    _bad("status-hex", _sized(b"HTTP/1.1 0x200 OK")),
    _bad("reason-with-cr", _sized(b"HTTP/1.1 200 OK\rX-Evil: 1")),
    _bad("reason-with-nul", _sized(b"HTTP/1.1 200 O\0K")),
    _bad("reason-with-escape", _sized(b"HTTP/1.1 200 \x1b[2J")),
    _lenient("bare-lf-everywhere", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    _lenient("bare-lf-after-line", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
    _lenient("bare-lf-after-field", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok"),
    _lenient("bare-lf-at-the-end", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"),
    _bad("bare-cr-after-field", b"HTTP/1.1 200 OK\r\nContent-Length: 2\rX: y\r\n\r\nok"),
    _lenient("field-folded", _with(b"X-Any: a\r\n b")),
    _lenient("field-folded-by-a-tab", _with(b"X-Any: a\r\n\tb")),
    _lenient("field-space-first", _with(b" X-Any: a")),
    _field("space-before-colon", b"X-Any : a"),
    _field("space-in-name", b"X Any: a"),
    _field("no-name", b": a"),
    _field("no-colon", b"X-Any"),
    _field("nul-in-value", b"X-Any: a\0b"),
    _field("nul-in-name", b"X\0Any: a"),
    _field("cr-in-value", b"X-Any: a\rX-Evil: b"),
    _lenient("field-lf-in-value", _with(b"X-Any: a\nX-Other: b")),
    _field("cr-at-the-end", b"X-Any: a\r"),
    _field("bell-in-value", b"X-Any: a\x07b"),
    _field("delete-in-value", b"X-Any: a\x7fb"),
    _field("high-byte-in-name", b"X-\xff: a"),
    _field("brackets-in-name", b"X(Any): a"),
    _bad("lengths-equal", _sized(b"HTTP/1.1 200 OK", b"Content-Length: 2")),
    _bad("lengths-unequal", _sized(b"HTTP/1.1 200 OK", b"Content-Length: 1")),
    _bad("length-list", HEAD + b"Content-Length: 2, 2\r\n\r\nok"),
    _bad("length-plus", HEAD + b"Content-Length: +2\r\n\r\nok"),
    _bad("length-minus", HEAD + b"Content-Length: -2\r\n\r\nok"),
    _bad("length-hex", HEAD + b"Content-Length: 0x2\r\n\r\nok"),
    _bad("length-letters", HEAD + b"Content-Length: two\r\n\r\nok"),
    _bad("length-empty", HEAD + b"Content-Length:\r\n\r\nok"),
    _bad("length-space-inside", HEAD + b"Content-Length: 0 2\r\n\r\nok"),
    _bad("length-2^64+2", HEAD + b"Content-Length: 18446744073709551618\r\n\r\nok"),
    _bad("length-and-chunked", CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    _bad(
        "chunked-and-length",
        HEAD + b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    _bad("coding-twice", CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    _coding("gzip", b"gzip"),
    _coding("identity", b"identity"),
    _coding("gzip-chunked", b"gzip, chunked"),
    _coding("chunked-gzip", b"chunked, gzip"),
    _coding("chunked-chunked", b"chunked, chunked"),
    _coding("xchunked", b"xchunked"),
    _coding("quoted", b'"chunked"'),
    _coding("comma", b"chunked,"),
    _coding("empty", b""),
    _bad("coding-vertical-tab", HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", End.CLOSE),
    _bad("length-and-odd-coding", HEAD + b"Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\nok"),
    _bad(
        "switching-unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\n\r\n",
        error="http_upgrade_failed",
    ),
    _bad(
        "switching-to-websocket",
        b"HTTP/1.1 101 A\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + EVIL,
        error="http_upgrade_failed",
    ),
    _bad("interim-without-end", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, End.HANG),
    _lenient("interim-with-a-length", b"HTTP/1.1 102 Processing\r\nContent-Length: 38\r\n\r\n" + OK),
    _late("interim-slowly", b"HTTP/1.1 102 Processing\r\n\r\n", End.HANG),
    _late("silence", End.HANG),
    _late("slow-line", b"HTTP/1.1 2", End.HANG),
    _late("slow-head", HEAD + b"Content-Le", End.HANG),
    _late("dripping-head", HEAD, *(b"X: 1\r\n", 0.1) * 15),
    _late("small-body-stalls", HEAD + b"Content-Length: 10\r\n\r\nabc", End.HANG),
    _gone("closes", End.CLOSE),
    _gone("resets", End.RESET),
    _gone("closes-at-once", End.CLOSE, greets=True),
    _gone("resets-at-once", End.RESET, greets=True),
    _gone("closes-in-line", b"HTTP/1.1 2", End.CLOSE),
    _gone("closes-in-head", HEAD + b"Content-Length: 2\r\n", End.CLOSE),
    _gone("resets-in-head", HEAD + b"Content-Length: 2\r\n", 0.05, End.RESET),
    _gone("closes-after-interim", b"HTTP/1.1 100 Continue\r\n\r\n", End.CLOSE),
    _incomplete("small-body-cut", HEAD + b"Content-Length: 10\r\n\r\nabc", End.CLOSE),
    _bad(
        "small-body-reset",
        HEAD + b"Content-Length: 10\r\n\r\nabc",
        0.05,
        End.RESET,
        error="http_response_incomplete",
    ),
    _bad(
        "small-body-missing",
        HEAD + b"Content-Length: 10\r\n\r\n",
        End.CLOSE,
        error="http_response_incomplete",
    ),
    _bad("head-too-large", HEAD + b"X: y\r\n" * 50_000 + b"\r\n"),
    _bad(
        "head-in-large-fields",
        HEAD + (b"X: " + b"y" * 60_000 + b"\r\n") * 10 + b"\r\n",
        error="http_response_header_section_size",
    ),
    _bad("head-never-ends", HEAD + b"X: y\r\n" * 50_000, End.HANG),
    _bad("field-too-long", HEAD + b"X: " + b"y" * 300_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    _bad("field-never-ends", HEAD + b"X: " + b"y" * 300_000, End.HANG),
    _bad("reason-too-long", b"HTTP/1.1 200 " + b"y" * 300_000 + b"\r\nContent-Length: 0\r\n\r\n"),
    _bad("fields-too-many", HEAD + b"X: y\r\n" * 2000 + b"Content-Length: 0\r\n\r\n"),
    _breaks("large-body-cut", HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 10_000, End.CLOSE),
    _breaks("large-body-reset", HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 10_000, 0.05, End.RESET),
    _breaks("large-body-stalls", HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 10_000, End.HANG),
    _breaks("huge-length-cut", HEAD + b"Content-Length: 9223372036854775807\r\n\r\nx", End.CLOSE),
    _breaks("until-close-reset", HEAD + b"\r\nabc", 0.05, End.RESET),
    _breaks("until-close-stalls", HEAD + b"\r\nabc", End.HANG),
    _cut("cut", b"5\r\nab", End.CLOSE),
    _cut("cut-between", b"2\r\nab\r\n", End.CLOSE),
    _cut("cut-before-the-last-line", b"2\r\nab\r\n0\r\n", End.CLOSE),
    _cut("reset", b"5\r\nab", 0.05, End.RESET),
    _cut("stalls", b"5\r\nab", End.HANG),
    *_chunk("size-letters", b"xyz\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-hex", b"0x2\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-minus", b"-2\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-plus", b"+2\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-empty", b"\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-2^64+2", b"10000000000000002\r\nab\r\n0\r\n\r\n"),
    *_chunk("size-lf", b"2\nab\r\n0\r\n\r\n"),
    *_chunk("data-too-long", b"2\r\nabcd\r\n0\r\n\r\n"),
    _lenient("chunk-data-lf", CHUNKED + b"2\r\nok\n0\r\n\r\n"),
    _cut("extension-never-ends", b"2;" + b"e" * 300_000, End.HANG),
    _cut("extension-lf", b"2;a\nb\r\nab\r\n0\r\n\r\n"),
    *_chunk("extension-nul", b"2;a\0b\r\nab\r\n0\r\n\r\n"),
    *_chunk("trailer-malformed", b"2\r\nab\r\n0\r\nX\0: 1\r\n\r\n"),
    *_chunk("trailers-never-end", b"2\r\nab\r\n0\r\n" + b"X: 1\r\n" * 50_000),
    _bad("body-too-long", HEAD + b"Content-Length: 2\r\n\r\nokevil"),
    _whole("answer-unasked", OK + EVIL),
    _whole("answer-unasked-later", OK, 0.02, EVIL, pause=0.1),
    _whole("answers-unasked", OK + EVIL * 100),
    _bad("garbage-behind", OK + b"\0\xff"),
    _whole("chunks-with-more-behind", CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + EVIL),
    _whole("204-with-body", b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, whole=b""),
    _bad("204-with-length", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
    _bad("304-with-body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
    _whole("304-with-answer", b"HTTP/1.1 304 Not Modified\r\n\r\n" + EVIL, whole=b""),
    replace(_bad("head-with-body", EVIL.replace(b"X-Evil: 1\r\n", b"")), method=b"HEAD"),
    replace(_bad("head-with-answer", HEAD + b"Content-Length: 4\r\n\r\n" + EVIL), method=b"HEAD"),
    _bad("closes-and-more", HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nok" + EVIL, End.CLOSE),
    _bad("http-1.0-and-more", _sized(b"HTTP/1.0 200 OK") + EVIL),
    _early("early-and-silent", OK, 5.0),
    _early("early-and-closed", OK, End.CLOSE),
    _early("early-and-more", OK + EVIL, 5.0),
    replace(_gone("early-reset", End.RESET), early=True, method=b"PUT"),
    replace(_late("early-silence", 5.0), early=True, method=b"PUT"),
    _lenient("good", OK),
    _lenient("interim-then-good", b"HTTP/1.1 103 Early Hints\r\nX-Evil: 1\r\n\r\n" + OK),
)
