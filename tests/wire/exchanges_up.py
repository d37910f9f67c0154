"""What well-behaved clients send: targets, methods, fields, bodies and connections."""

import gzip
from itertools import chain

from tests.wire.exchange import TWO, Exchange, after, answer, chunked, one, request
from tests.wire.raw import OK

_LONG = b"0123456789abcdef" * 512
_TARGETS = (
    b"/a%2Fb",
    b"/a%2fb",
    b"/%00",
    b"/%ff%fe",
    b"/%C3%A9",
    b"/%zz",
    b"/%",
    b"/a%",
    b"//",
    b"//a//b//",
    b"//other.example/a",
    b"/a;b=1;c",
    b"/..",
    b"/../../etc/passwd",
    b"/a/../b",
    b"/a/./b",
    b"/a/.",
    b"/%2e%2e/b",
    b"/a%20b+c",
    b"/a:b@c",
    b"/*",
    b"/-._~!$&'()*+,=:@",
    b'/[a]{b}|^`"<>',
    b"/?",
    b"/a?",
    b"/a??",
    b"/a?b?c",
    b"/a?&&",
    b"/a?=",
    b"/a?b=",
    b"/a?b&c=&=d",
    b"/a?b=1&b=2&b=1",
    b"/a?b=%26%3D%23",
    b"/a?b=%2B+%20",
    b"/a?b=/c//d/../e",
    b"/a?b=%ff%00",
    b"/a?b[]=1&b[]=2",
    b'/a?b={c}|d^e`f"g',
    b"/a?next=http://other.example/b",
    b"/a?b=\\",
    b"/a?" + _LONG,
    b"/" + _LONG,
    b"/a;x?y;z",
    b"/index.html%3Fb",
    b"/a?%",
)
_METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"PROPFIND",
    b"REPORT",
    b"SEARCH",
    b"MKCOL",
    b"LOCK",
    b"PURGE",
    b"LINK",
    b"QUERY",
)
_FIELDS = {
    "empty": (b"X-Empty:",),
    "spaces-around": (b"X-Spaces: \t a b \t ",),
    "no-space": (b"X-Tight:a",),
    "case": (b"x-LOWER-uPPer: MiXeD",),
    "twice": (
        b"X-Twice: 1",
        b"X-Other: 0",
        b"X-Twice: 2",
    ),
    "twice-in-two-cases": (
        b"X-Twice: 1",
        b"x-twice: 2",
        b"X-TWICE: 1",
    ),
    "latin-1": (b"X-High: caf\xe9",),
    "utf-8": (b"X-High: caf\xc3\xa9",),
    "no-utf-8": (b"X-High: \x80\xff\xfe",),
    "long": (b"X-Long: " + _LONG,),
    "very-long": (b"X-Long: " + b"y" * 16000,),
    "many": (*(b"X-Many-%d: %d" % (number, number) for number in range(100)),),
    "commas": (b"Accept: a/b, c/d;q=0.5 ,, */*",),
    "quotes": (b'X-Quoted: "a, b", "c\\"d", \'e\'',),
    "tab-inside": (b"X-Tab: a\tb",),
    "colons": (b"X-Colon: a:b: c",),
    "odd-name": (b"!#$%&'*+-.^_`|~: odd",),
    "underscore": (
        b"X_Under: 1",
        b"X-Under: 2",
    ),
    "number": (b"123: 4",),
    "one-cookie": (b"Cookie: a=1; b=2",),
    "two-cookies": (
        b"Cookie: a=1",
        b"Cookie: b=2",
    ),
    "if-match": (b'If-Match: "a", W/"b"',),
    "if-none-match": (b"If-None-Match: *",),
    "if-modified": (b"If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT",),
    "if-unmodified": (b"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT",),
    "if-range": (
        b'If-Range: "a"',
        b"Range: bytes=0-1",
    ),
    "ranges": (b"Range: bytes=0-1, 4-, -2",),
    "accept-encoding": (b"Accept-Encoding: gzip, br;q=0.9, *;q=0",),
    "no-user-agent": (b"Accept: */*",),
    "user-agent": (b"User-Agent: curl/8.5.0 (x; y)",),
    "credential": (b"X-Avala-Api-Key: avk_1",),
    "bearer": (b"Authorization: Bearer a.b-c_d==",),
    "basic": (b"Authorization: Basic YTpi",),
    "both-credentials": (
        b"Authorization: Bearer a",
        b"X-Avala-Api-Key: avk_1",
    ),
    "request-id": (b"X-Request-Id: mine-1",),
    "odd-request-id": (b"X-Request-Id: two words",),
    "two-request-ids": (
        b"X-Request-Id: a",
        b"X-Request-Id: b",
    ),
    "priority": (b"Priority: u=1, i",),
    "idempotency-key": (b'Idempotency-Key: "8e03978e"',),
    "origin": (
        b"Origin: null",
        b"Referer: http://other.example/",
    ),
    "cors": (
        b"Access-Control-Request-Method: PUT",
        b"Access-Control-Request-Headers: a,b",
    ),
    "forwarded": (
        b"Forwarded: for=192.0.2.1",
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Forwarded-Host: h",
    ),
    "via": (
        b"Via: 1.0 first",
        b"X-Between: 1",
        b"VIA: 1.1 second",
        b"X-After: 1",
    ),
    "max-forwards": (b"Max-Forwards: 0",),
    "cache-control": (
        b"Cache-Control: no-cache, max-age=0",
        b"Pragma: no-cache",
    ),
    "trace-context": (b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    "method-override": (b"X-HTTP-Method-Override: DELETE",),
    "content-type-alone": (b"Content-Type: application/json",),
    "connection-names": (
        b"Connection: X-Gone, x-other",
        b"X-Gone: 1",
        b"X-Stays: 2",
        b"X-Other: 3",
    ),
    "connection-twice": (
        b"Connection: X-Gone",
        b"X-Gone: 1",
        b"Connection: keep-alive, X-More",
        b"X-More: 2",
    ),
    "connection-close": (b"Connection: close",),
    "connection-keep-alive": (
        b"Connection: Keep-Alive",
        b"Keep-Alive: timeout=5, max=10",
    ),
    "proxy-connection": (b"Proxy-Connection: keep-alive",),
    "proxy-authorization": (b"Proxy-Authorization: Basic YTpi",),
    "te": (
        b"TE: trailers, deflate;q=0.5",
        b"Connection: TE",
    ),
    "h2c": (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABk",
    ),
    "prefer-wait": (b"Prefer: wait=20",),
    "prefer-among-others": (b"Prefer: respond-async, wait=20;x=1, handling=lenient",),
    "prefer-other": (b'Prefer: return="minimal" , respond-async',),
    "client-name": (
        b"Avala-Proxy-Client: ci",
        b"avala-proxy-token: 0123456789abcdef",
    ),
}


def _sized(name: str, body: bytes, *fields: bytes, method: bytes = b"POST") -> Exchange:
    length = b"Content-Length: %d" % len(body)
    return one(f"body-{name}", request(b"/", b"X-Before: 1", length, *fields, method=method, body=body))


def _in_chunks(name: str, body: bytes, *fields: bytes, method: bytes = b"POST") -> Exchange:
    coding = b"Transfer-Encoding: chunked"
    return one(f"chunks-{name}", request(b"/", b"X-Before: 1", coding, *fields, method=method, body=body))


def _expecting(name: str, framing: bytes, body: bytes) -> Exchange:
    head = request(b"/", b"Expect: 100-continue", framing, method=b"PUT")
    return Exchange(f"expect-{name}", ((head, body),), ((OK,),))


_UPLOADS = (
    one("body-none", request(method=b"POST")),
    _sized("empty", b""),
    _sized("empty-get", b"", method=b"GET"),
    _sized("empty-delete", b"", method=b"DELETE"),
    _sized("json", b'{"a": "\xc3\xa9"}', b"Content-Type: application/json; charset=utf-8"),
    _sized("get", b"abc", method=b"GET"),
    _sized("delete", b"abc", method=b"DELETE"),
    _sized("options", b"abc", method=b"OPTIONS"),
    _sized("patch", b"abc", method=b"PATCH"),
    _sized("propfind", b"<a/>", b"Content-Type: text/xml", method=b"PROPFIND"),
    _sized("every-byte", bytes(range(256))),
    _sized("like-a-request", b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    _sized("large", b"x" * 300_000),
    _sized("larger-than-memory", b"y" * 2_000_000),
    _sized("gzip", gzip.compress(b"abc", mtime=0), b"Content-Encoding: gzip"),
    _sized("no-gzip", b"abc", b"Content-Encoding: gzip"),
    _sized("brotli", b"\x0b\x01\x80abc\x03", b"Content-Encoding: br"),
    _sized("form", b"a=1&a=2&%zz", b"Content-Type: application/x-www-form-urlencoded"),
    _sized("multipart", b"--b\r\n\r\na\r\n--b--", b"Content-Type: multipart/form-data; boundary=b"),
    _sized("range", b"abc", b"Content-Range: bytes 0-2/9", method=b"PUT"),
    _in_chunks("two", TWO),
    _in_chunks("none", chunked()),
    _in_chunks("get", TWO, method=b"GET"),
    _in_chunks("delete", TWO, method=b"DELETE"),
    _in_chunks("extensions", chunked(b"abc", b"d", extension=b';a;b=c;d="e;f"')),
    _in_chunks("trailers", chunked(b"abc", trailers=b"X-Sum: 1\r\nX-Other: 2\r\n"), b"Trailer: X-Sum"),
    _in_chunks("capitals-and-zeros", b"00A\r\n0123456789\r\n0\r\n\r\n"),
    _in_chunks("of-one-byte", chunked(*(b"x",) * 500)),
    _in_chunks("large", chunked(*(b"x" * 50_000,) * 6)),
    _in_chunks("gzip", chunked(gzip.compress(b"abc", mtime=0)), b"Content-Encoding: gzip"),
    _in_chunks("field-after", TWO, b"X-After: 1", method=b"PUT"),
    _expecting("sized", b"Content-Length: 3", b"abc"),
    _expecting("chunked", b"Transfer-Encoding: chunked", TWO),
    _expecting("large", b"Content-Length: 200000", b"x" * 200_000),
    one("expect-nothing", request(b"/", b"Expect: 100-continue", b"Content-Length: 0", method=b"PUT")),
)


def _from_1_0(name: str, *fields: bytes, host: bytes | None = b"api.example", **parts: bytes) -> Exchange:
    return one(f"http-1.0-{name}", request(b"/", *fields, version=b"1.0", host=host, **parts))


def _pipeline(name: str, count: int, *others: bytes) -> Exchange:
    requests = [(request(b"/%d" % number),) for number in range(count)] + [(other,) for other in others]
    answers = [(answer(b"200 OK", body=b"answer %d" % number),) for number in range(len(requests))]
    return Exchange(f"pipeline-{name}", tuple(requests), tuple(answers), pipelined=True)


_CONNECTIONS = (
    _from_1_0("plain"),
    _from_1_0("no-host", host=None),
    _from_1_0("kept", b"Connection: keep-alive"),
    _from_1_0("closed", b"Connection: close"),
    _from_1_0("body", b"Content-Length: 3", method=b"POST", body=b"abc"),
    _from_1_0("via", b"Via: 0.9 first"),
    _from_1_0("expect", b"Expect: 100-continue", b"Content-Length: 3", method=b"PUT", body=b"abc"),
    after("reused", request(b"/second")),
    after("reused-after-body", request(b"/", b"Content-Length: 3", method=b"PUT", body=b"abc")),
    after("reused-after-chunks", request(b"/", b"Transfer-Encoding: chunked", method=b"PUT", body=TWO)),
    Exchange("ten-in-turn", tuple((request(b"/%d" % n),) for n in range(10)), ()),
    _pipeline("2", 2),
    _pipeline("3", 3),
    _pipeline("10", 10),
    _pipeline("sized", 1, request(b"/", b"Content-Length: 3", method=b"PUT", body=b"abc"), request(b"/last")),
    _pipeline(
        "chunks",
        1,
        request(b"/", b"Transfer-Encoding: chunked", method=b"PUT", body=TWO),
        request(b"/last"),
    ),
    one("absolute-form", request(b"http://@HERE@/a%2Fb?c", host=b"@HERE@")),
    one("absolute-form-no-path", request(b"http://@HERE@", host=b"@HERE@")),
    one("absolute-form-query-only", request(b"http://@HERE@?a=b", host=b"@HERE@")),
    one("absolute-form-in-capitals", request(b"HTTP://@HERE@/a", host=b"@HERE@")),
    one("host-with-port", request(host=b"api.example:8080")),
    one("host-ipv6", request(host=b"[::1]:8080")),
    one("host-lower-case", request(b"/", b"host: api.example", b"X-After: 1", host=None)),
    one("host-last", request(b"/", b"X-Before: 1", b"Host: api.example", host=None)),
    one("empty-line-first", b"\r\n" + request()),
)

SENT = tuple(
    chain(
        (one(f"target-{target[:40].decode()}", request(target)) for target in _TARGETS),
        (one(f"method-{method.decode()}", request(method=method)) for method in _METHODS),
        (one(f"field-{name}", request(b"/", *fields)) for name, fields in _FIELDS.items()),
        _UPLOADS,
        _CONNECTIONS,
    )
)
