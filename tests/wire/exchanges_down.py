"""What well-behaved upstreams answer: statuses, fields, framings, and what HTTP/1.0 gets of them."""

import gzip

from tests.wire.exchange import TWO, Exchange, after, answer, chunked, one, request
from tests.wire.raw import OK, End, Step


def _down(name: str, *script: Step, method: bytes = b"GET", fields: tuple[bytes, ...] = ()) -> Exchange:
    return one(f"answer-{name}", request(b"/", *fields, method=method), *script)


_GZIP = gzip.compress(b'{"a": 1}' * 50, mtime=0)
_CHUNKS = b"HTTP/1.1 200 OK\r\nX-Before: 1\r\nTransfer-Encoding: chunked\r\nX-After: 1\r\n"
_RETRY = b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"
ANSWERED = (
    _down("no-reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    _down("odd-reason", answer(b'200 It\'s \xe9 "fine"\t(really)', body=b"x")),
    _down("utf-8-reason", answer(b"404 Pas trouv\xc3\xa9", body=b"x")),
    _down("long-reason", answer(b"200 " + b"r" * 4000, body=b"x")),
    _down("empty-body", answer(b"200 OK", body=b"")),
    _down("every-byte", answer(b"200 OK", body=bytes(range(256)))),
    _down("like-an-answer", answer(b"200 OK", body=OK)),
    _down("large", answer(b"200 OK", body=b"x" * 3_000_000)),
    _down("chunked", _CHUNKS + b"\r\n" + TWO),
    _down("chunked-empty", _CHUNKS + b"\r\n" + chunked()),
    _down("chunked-large", _CHUNKS + b"\r\n" + chunked(*(b"x" * 70_000,) * 10)),
    _down("chunk-extensions", _CHUNKS + b"\r\n" + chunked(b"abc", extension=b";a=b")),
    _down("trailers", _CHUNKS + b"Trailer: X-Sum\r\n\r\n" + chunked(b"abc", trailers=b"X-Sum: 1\r\n")),
    _down("until-close", answer(b"200 OK", b"X-Any: 1") + b"until the end", End.CLOSE),
    _down("until-close-empty", answer(b"200 OK"), End.CLOSE),
    _down("until-close-1.0", answer(b"200 OK", version=b"1.0") + b"until the end", End.CLOSE),
    _down("sized-1.0", answer(b"200 OK", version=b"1.0", body=b"abc"), End.CLOSE),
    _down("kept-1.0", answer(b"200 OK", b"Connection: keep-alive", version=b"1.0", body=b"abc")),
    _down("closes", answer(b"200 OK", b"Connection: close", body=b"abc"), End.CLOSE),
    _down(
        "connection-names", answer(b"200 OK", b"Connection: X-Gone", b"X-Gone: 1", b"X-Stays: 2", body=b"a")
    ),
    _down("hop-by-hop", answer(b"200 OK", b"Keep-Alive: timeout=5", b"Proxy-Authenticate: Basic", body=b"a")),
    _down("upgrade-offered", answer(b"200 OK", b"Upgrade: h2c", b"Connection: Upgrade", body=b"a")),
    _down(
        "cookies", answer(b"200 OK", *(b"Set-Cookie: c%d=%d; Path=/" % (n, n) for n in range(20)), body=b"a")
    ),
    _down(
        "cookie-cases",
        answer(b"200 OK", b"Set-Cookie: a=1", b"set-cookie: b=2", b"X: 1", b"SET-COOKIE: a=3", body=b"a"),
    ),
    _down("repeats", answer(b"200 OK", b"Vary: a", b"X-Other: 1", b"vary: b", b"Vary: a", body=b"a")),
    _down("empty-value", answer(b"200 OK", b"X-Empty:", b"X-Tight:a", b"X-Spaces: \t a \t", body=b"a")),
    _down("no-utf-8", answer(b"200 OK", b"X-High: \x80\xff caf\xe9", b"X-Utf: caf\xc3\xa9", body=b"a")),
    _down("long-value", answer(b"200 OK", b"X-Long: " + b"v" * 30_000, body=b"a")),
    _down("many-fields", answer(b"200 OK", *(b"X-%d: %d" % (n, n) for n in range(200)), body=b"a")),
    _down("odd-name", answer(b"200 OK", b"!#$%&'*+-.^_`|~: odd", body=b"a")),
    _down("quotes", answer(b"200 OK", b'Content-Disposition: attachment; filename="a\\"b;c.txt"', body=b"a")),
    _down("server", answer(b"200 OK", b"Server: nginx", b"Date: Sat, 29 Oct 1994 19:43:31 GMT", body=b"a")),
    _down("no-content-type", answer(b"200 OK", body=b"<html>")),
    _down("content-type", answer(b"200 OK", b'Content-Type: Text/HTML;Charset="utf-8"', body=b"a")),
    _down(
        "gzip", answer(b"200 OK", b"Content-Encoding: gzip", b"Content-Type: application/json", body=_GZIP)
    ),
    _down("gzip-chunked", _CHUNKS + b"Content-Encoding: gzip\r\n\r\n" + chunked(_GZIP)),
    _down("no-gzip", answer(b"200 OK", b"Content-Encoding: gzip", body=b"no gzip")),
    _down("brotli", answer(b"200 OK", b"Content-Encoding: br", body=b"\x0b\x01\x80abc\x03")),
    _down("unknown-encoding", answer(b"200 OK", b"Content-Encoding: x-own, gzip", body=b"abc")),
    _down("etag", answer(b"200 OK", b'ETag: W/"a"', b"Cache-Control: max-age=5", b"Age: 1", body=b"a")),
    _down("range", answer(b"206 Partial Content", b"Content-Range: bytes 0-1/9", body=b"ab")),
    _down(
        "ranges",
        answer(b"206 Partial Content", b"Content-Type: multipart/byteranges; boundary=b", body=b"--b--"),
    ),
    _down(
        "range-not-satisfiable", answer(b"416 Range Not Satisfiable", b"Content-Range: bytes */9", body=b"")
    ),
    _down("head", answer(b"200 OK", b"Content-Length: 1234", b'ETag: "a"'), method=b"HEAD"),
    _down(
        "head-json",
        answer(b"200 OK", b"Content-Type: application/json", b"Content-Length: 12", b'ETag: "a"'),
        method=b"HEAD",
    ),
    _down("head-no-length", answer(b"200 OK", b"X-Any: 1"), method=b"HEAD"),
    _down("head-chunked", answer(b"200 OK", b"Transfer-Encoding: chunked"), method=b"HEAD"),
    _down("head-404", answer(b"404 Not Found", b"Content-Length: 9"), method=b"HEAD"),
    _down("head-gzip", answer(b"200 OK", b"Content-Encoding: gzip", b"Content-Length: 9"), method=b"HEAD"),
    _down("204", answer(b"204 No Content", b"X-Any: 1")),
    _down("204-length", answer(b"204 No Content", b"Content-Length: 0", b"X-Any: 1")),
    _down("205", answer(b"205 Reset Content", body=b"")),
    _down("304", answer(b"304 Not Modified", b'ETag: "a"', b"Vary: b"), fields=(b'If-None-Match: "a"',)),
    _down("304-length", answer(b"304 Not Modified", b"Content-Length: 1234", b"Content-Type: a/b")),
    _down("304-to-head", answer(b"304 Not Modified", b"Content-Length: 1234"), method=b"HEAD"),
    _down("redirect", answer(b"302 Found", b"Location: /elsewhere?a=%2F", body=b"")),
    _down(
        "redirect-elsewhere",
        answer(b"307 Temporary Redirect", b"Location: https://other.example/a#b", body=b""),
    ),
    _down(
        "link",
        answer(b"200 OK", b'Link: <https://other.example/?page=2>; rel="next", </a>; rel=prev', body=b"[]"),
    ),
    _down(
        "json-links", answer(b"200 OK", b"Content-Type: application/json", body=b'{ "next":null, "a":1e400}')
    ),
    _down(
        "unauthorised", answer(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="a", Bearer', body=b"{}")
    ),
    _down("proxy-auth", answer(b"407 Proxy Authentication Required", b"X-Any: 1", body=b"{}")),
    _down("teapot", answer(b"418 I'm a teapot", body=b"short and stout")),
    _down("retry-date", answer(b"503 Service Unavailable", _RETRY, b"X-After: 1", body=b"{}")),
    _down("retry-seconds", answer(b"503 Service Unavailable", b"Retry-After: 7", body=b"{}")),
    _down("retry-nonsense", answer(b"503 Service Unavailable", b"Retry-After: soon", body=b"{}")),
    _down("own-id", answer(b"200 OK", b"x-request-id: theirs", body=b"a")),
    _down("own-via", answer(b"200 OK", b"Via: 1.1 cdn", b"X-After: 1", body=b"a")),
    _down("own-timing", answer(b"200 OK", b"Server-Timing: db;dur=1", b"Proxy-Status: cdn; hit", body=b"a")),
    _down("early-hints", answer(b"103 Early Hints", b"Link: </a.css>; rel=preload") + OK),
    _down("many-interim", (answer(b"100 Continue") + answer(b"102 Processing")) * 5 + OK),
    _down(
        "in-pieces",
        b"HTTP/1.1 200 O",
        0.01,
        b"K\r\nContent-Le",
        0.01,
        b"ngth: 4\r",
        0.01,
        b"\n\r\nab",
        0.01,
        b"cd",
    ),
    one("http-1.0-gets-chunks", request(version=b"1.0"), _CHUNKS + b"\r\n" + TWO),
    one("http-1.0-gets-until-close", request(version=b"1.0"), answer(b"200 OK") + b"until", End.CLOSE),
    one(
        "http-1.0-kept-gets-chunks",
        request(b"/", b"Connection: keep-alive", version=b"1.0"),
        _CHUNKS + b"\r\n" + TWO,
    ),
    one("http-1.0-head", request(method=b"HEAD", version=b"1.0"), answer(b"200 OK", b"Content-Length: 9")),
    one("http-1.0-204", request(version=b"1.0"), answer(b"204 No Content")),
    after("reused-head", request(method=b"HEAD"), answer(b"200 OK", b"Content-Length: 9")),
    after("reused-304", request(), answer(b"304 Not Modified", b"Content-Length: 9")),
    after("reused-204", request(), answer(b"204 No Content")),
)


def of_status(status: int) -> tuple[Exchange, Exchange]:
    """Make an exchange whose answer has this status, with a body and without one."""
    head = b"%d Of Its Own" % status
    bodiless = status in (204, 205, 304)
    return (
        _down(f"{status}", answer(head, body=b"" if bodiless else b'{"detail": "x"}')),
        _down(f"{status}-empty", answer(head, body=None if status in (204, 304) else b"")),
    )
