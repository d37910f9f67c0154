"""Request lines and fields that are malformed, name somebody else, or speak to whom they should not."""

from tests.wire.hostile import Hostile, get, post, refused, taken

_H = b"Host: h\r\n"
_KEY = b"X-Avala-Api-Key: avk_1\r\n"


def _line(name: str, line: bytes, *, status: int = 400) -> Hostile:
    return refused(f"line-{name}", line + b"\r\n" + _H + b"\r\n", status=status)


def _target(name: str, target: bytes, *, status: int = 400) -> Hostile:
    return refused(f"target-{name}", get(target), status=status)


def _target_taken(name: str, how: str, target: bytes, *, keeps: bytes = b"") -> Hostile:
    return taken(f"target-{name}", how, get(target), keeps=keeps)


def _host(name: str, lines: bytes) -> Hostile:
    return refused(f"host-{name}", b"GET / HTTP/1.1\r\n" + lines + b"\r\n")


def _field(name: str, line: bytes) -> Hostile:
    return refused(f"field-{name}", get(fields=b"X-Before: 1\r\n" + line + b"\r\nX-After: 1\r\n"))


def _naming(name: str, field: bytes) -> Hostile:
    """`Connection` names a field that must not go away."""
    named = field.partition(b":")[0]
    fields = field + b"Connection: close, %b\r\n" % named
    return taken(
        f"connection-names-{name}", "it cannot be named away", get(fields=fields), keeps=b"\r\n" + field
    )


HEADS = (
    _line("no-method", b" / HTTP/1.1"),
    _line("no-target", b"GET HTTP/1.1"),
    _line("no-target-two-spaces", b"GET  HTTP/1.1"),
    _line("only-method", b"GET"),
    _line("http-0.9", b"GET /"),
    _line("http-0.9-named", b"GET / HTTP/0.9"),
    _line("http-1.2", b"GET / HTTP/1.2"),
    _line("http-1.10", b"GET / HTTP/1.10"),
    _line("http-01.1", b"GET / HTTP/01.1"),
    _line("http-1.01", b"GET / HTTP/1.01"),
    _line("http-2.0", b"GET / HTTP/2.0"),
    _line("http-3", b"GET / HTTP/3"),
    _line("http-1", b"GET / HTTP/1"),
    _line("http-1,1", b"GET / HTTP/1,1"),
    _line("http-lower-case", b"GET / http/1.1"),
    _line("other-protocol", b"GET / ICY/1.1"),
    _line("protocol-missing", b"GET / 1.1"),
    _line("space-in-version", b"GET / HTTP/1 .1"),
    _line("space-after-version", b"GET / HTTP/1.1 "),
    _line("tabs", b"GET\t/\tHTTP/1.1"),
    _line("space-first", b" GET / HTTP/1.1"),
    _line("lower-case-method", b"get / HTTP/1.1"),
    _line("method-with-nul", b"G\0ET / HTTP/1.1"),
    _line("method-with-cr", b"G\rET / HTTP/1.1"),
    _line("method-with-brackets", b"G(E)T / HTTP/1.1"),
    _line("method-no-ascii", b"G\xc3\x89T / HTTP/1.1"),
    _line("byte-order-mark", b"\xef\xbb\xbfGET / HTTP/1.1"),
    _line("an-answer", b"HTTP/1.1 200 OK"),
    refused("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    refused("http-2-preface-and-settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"),
    refused("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 32),
    refused("socks", b"\x05\x01\x00\r\n\r\n"),
    refused("proxy-protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get()),
    refused("bare-lf-everywhere", b"GET / HTTP/1.1\nHost: h\n\n"),
    refused("bare-lf-after-line", b"GET / HTTP/1.1\nHost: h\r\n\r\n"),
    refused("bare-lf-after-field", b"GET / HTTP/1.1\r\nHost: h\n\r\n"),
    refused("bare-lf-at-the-end", b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    refused("bare-cr-after-line", b"GET / HTTP/1.1\rHost: h\r\n\r\n"),
    refused("bare-cr-after-field", b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
    refused("cr-cr-lf", b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
    refused("lf-cr", b"GET / HTTP/1.1\n\rHost: h\n\r\n\r"),
    _target("fragment", b"/a#b"),
    _target("space", b"/a b"),
    _target("tab", b"/a\tb"),
    _target("nul", b"/a\0b"),
    _target("bell", b"/a\x07b"),
    _target("delete", b"/a\x7fb"),
    _target("cr", b"/a\rb"),
    _target("utf-8", b"/caf\xc3\xa9"),
    _target("latin-1", b"/a?b=\xe9"),
    _target("no-slash", b"a/b"),
    _target("only-query", b"?a=b"),
    _target("backslash-first", b"\\a"),
    _target("dots-first", b"../a"),
    _target("asterisk", b"*"),
    _target("authority", b"evil:443"),
    _target("own-authority", b"@HERE@"),
    _target("other-host", b"http://evil/"),
    _target("other-host-cases", b"HtTp://evil/"),
    _target("other-port", b"http://127.0.0.1:1/"),
    _target("no-host", b"http:///a"),
    _target("user", b"http://user@@HERE@/"),
    _target("we-are-the-user", b"http://@HERE@@evil/"),
    _target("we-are-user-and-password", b"http://@HERE@:x@evil/"),
    _target("we-begin-its-name", b"http://@HERE@.evil/"),
    _target("we-behind-a-backslash", b"http://evil\\@@HERE@/"),
    _target("backslash-behind-us", b"http://@HERE@\\.evil/"),
    _target("we-are-a-fragment", b"http://evil#@HERE@/"),
    _target("https-other", b"https://evil/"),
    _target("https-here", b"https://@HERE@/"),
    _target("file", b"file:///etc/passwd"),
    _target("ftp", b"ftp://@HERE@/"),
    _target("gopher", b"gopher://@HERE@/"),
    _target("javascript", b"javascript:alert(1)"),
    _target("one-slash", b"http:/@HERE@/"),
    _target("space-in-absolute", b"http://@HERE@ /"),
    _target("too-long", b"/" + b"a" * 16_384, status=414),
    _target("query-too-long", b"/?" + b"a" * 16_384, status=414),
    _target("far-too-long", b"/" + b"a" * 500_000, status=414),
    refused("connect", b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n"),
    refused("connect-us", b"CONNECT @HERE@ HTTP/1.1\r\nHost: @HERE@\r\n\r\n"),
    refused("connect-path", get(method=b"CONNECT")),
    refused("connect-absolute", get(b"http://@HERE@/", method=b"CONNECT")),
    refused("options-asterisk", get(b"*", method=b"OPTIONS")),
    _target_taken(
        "network-path", "a path that begins with two slashes", b"//evi1/a", keeps=b"GET //evi1/a HTTP/1.1"
    ),
    _target_taken("backslashes", "a path like any other", b"/\\evi1\\..", keeps=b"GET /\\evi1\\.. HTTP/1.1"),
    _target_taken("crlf-escaped", "never unescaped", b"/%0d%0aX:%201", keeps=b"GET /%0d%0aX:%201 HTTP"),
    _target_taken("nul-escaped", "never unescaped", b"/%00?%00", keeps=b"GET /%00?%00 HTTP"),
    _target_taken("space-escaped", "never unescaped", b"/a%20HTTP/1.1", keeps=b"GET /a%20HTTP/1.1 HTTP/1.1"),
    _target_taken("overlong-utf-8", "never unescaped", b"/%c0%ae%c0%ae/", keeps=b"GET /%c0%ae%c0%ae/ HTTP"),
    _target_taken(
        "absolute-other-host-field", "Host is the upstream's", b"http://@HERE@/a", keeps=b"GET /a HTTP"
    ),
    _target_taken("longest", "just as long as allowed", b"/" + b"a" * 16_383),
    _host("missing", b""),
    _host("twice", _H + _H),
    _host("two-hosts", _H + b"Host: evil\r\n"),
    _host("two-cases", _H + b"host: evil\r\n"),
    _host("empty", b"Host:\r\n"),
    _host("space-only", b"Host:  \r\n"),
    _host("list", b"Host: h, evil\r\n"),
    _host("two-words", b"Host: h evil\r\n"),
    _host("user", b"Host: u@h\r\n"),
    _host("path", b"Host: h/a\r\n"),
    _host("query", b"Host: h?a\r\n"),
    _host("fragment", b"Host: h#a\r\n"),
    _host("scheme", b"Host: http://h\r\n"),
    _host("backslash", b"Host: h\\a\r\n"),
    _host("port-letters", b"Host: h:http\r\n"),
    _host("port-sign", b"Host: h:-1\r\n"),
    _host("port-too-long", b"Host: h:800000\r\n"),
    _host("two-ports", b"Host: h:1:2\r\n"),
    _host("open-bracket", b"Host: [::1\r\n"),
    _host("no-brackets", b"Host: ::1\r\n"),
    _host("nul", b"Host: h\0.evil\r\n"),
    _host("utf-8", b"Host: caf\xc3\xa9\r\n"),
    _host("quoted", b'Host: "h"\r\n'),
    _host("folded", b"Host: h\r\n .evil\r\n"),
    _host("space-before-colon", b"Host : h\r\n"),
    _host("space-first", b" Host: h\r\n"),
    _field("folded", b"X-Any: a\r\n b"),
    _field("folded-by-a-tab", b"X-Any: a\r\n\tb"),
    _field("folded-empty", b"X-Any: a\r\n "),
    _field("folded-first", b" X-Any: a"),
    _field("space-before-colon", b"X-Any : a"),
    _field("tab-before-colon", b"X-Any\t: a"),
    _field("space-in-name", b"X Any: a"),
    _field("no-name", b": a"),
    _field("no-colon", b"X-Any"),
    _field("nul-in-name", b"X-\0Any: a"),
    _field("nul-in-value", b"X-Any: a\0b"),
    _field("bell-in-value", b"X-Any: a\x07b"),
    _field("delete-in-value", b"X-Any: a\x7fb"),
    _field("escape-in-value", b"X-Any: \x1b[2J"),
    _field("vertical-tab-in-value", b"X-Any: a\x0bb"),
    _field("cr-in-value", b"X-Any: a\rX-Evil: b"),
    _field("cr-at-the-end", b"X-Any: a\r"),
    _field("lf-in-value", b"X-Any: a\nX-Evil: b"),
    _field("lf-lf", b"X-Any: a\n\nGET /hidden HTTP/1.1"),
    _field("brackets-in-name", b"X-(Any): a"),
    _field("quoted-name", b'"X-Any": a'),
    _field("slash-in-name", b"X/Any: a"),
    _field("utf-8-name", b"X-Caf\xc3\xa9: a"),
    _field("high-byte-in-name", b"X-Any\xff: a"),
    _field("value-too-long", b"X-Any: " + b"a" * 5 + b"\x01"),
    refused("field-too-long", get(fields=b"X-Any: " + b"a" * 16_384 + b"\r\n"), status=431),
    refused("field-far-too-long", get(fields=b"X-Any: " + b"a" * 500_000 + b"\r\n"), status=431),
    refused("field-name-too-long", get(fields=b"X" * 16_385 + b": a\r\n"), status=431),
    refused("field-never-ends", b"GET / HTTP/1.1\r\nX-Any: " + b"a" * 300_000, status=431),
    refused("fields-too-many", get(fields=b"X: 1\r\n" * 128), status=431),
    refused("fields-far-too-many", get(fields=b"X: 1\r\n" * 50_000), status=431),
    refused("fields-never-end", b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 50_000, status=431),
    refused("head-too-large", get(fields=(b"X: " + b"a" * 16_000 + b"\r\n") * 5), status=431),
    refused("line-never-ends", b"GET /" + b"a" * 300_000, status=414),
    refused("method-never-ends", b"A" * 300_000),
    refused("websocket", get(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), status=501),
    refused("websocket-cases", get(fields=b"connection: upgrade\r\nUPGRADE: WebSocket\r\n"), status=501),
    refused(
        "websocket-among-others",
        get(fields=b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
        status=501,
    ),
    refused(
        "websocket-second-line",
        get(fields=b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n"),
        status=501,
    ),
    refused(
        "websocket-and-a-request",
        get(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + get(),
        status=501,
    ),
    taken(
        "h2c",
        "ignored: the answer is HTTP/1.1",
        get(fields=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        loses=b"Settings",
    ),
    taken(
        "h2c-and-a-request",
        "ignored, and so is what came behind it: nobody knows in which protocol it is",
        get(fields=b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + get(b"/hidden"),
        loses=b"hidden",
    ),
    taken(
        "h2c-with-a-body",
        "ignored: the answer is HTTP/1.1",
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n", b"abc"),
        keeps=b"abc",
        loses=b"h2c",
    ),
    taken("upgrade-unnamed", "ignored", get(fields=b"Upgrade: TLS/1.0\r\n"), loses=b"TLS"),
    _naming("key", _KEY),
    _naming("bearer", b"Authorization: Bearer evi1\r\n"),
    _naming("cookie", b"Cookie: a=b\r\n"),
    _naming("request-id", b"X-Request-Id: mine\r\n"),
    _naming("forwarded", b"X-Forwarded-For: 192.0.2.1\r\n"),
    _naming("idempotency-key", b"Idempotency-Key: k\r\n"),
    taken(
        "connection-names-host",
        "it cannot be named away",
        get(fields=b"Connection: Host\r\n"),
        keeps=b"\r\nHost: 127",
    ),
    taken(
        "connection-names-length",
        "it cannot be named away",
        post(b"Content-Length: 3\r\nConnection: Content-Length\r\n", b"abc"),
        keeps=b"\r\nContent-Length: 3\r\n",
    ),
    taken(
        "connection-names-coding",
        "the body goes up with a length",
        post(b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        keeps=b"\r\nContent-Length: 3\r\n",
    ),
    taken(
        "connection-names-key-oddly",
        "it cannot be named away",
        get(fields=_KEY + b"Connection: ,\tx-AVALA-api-KEY ,,\r\n"),
        keeps=_KEY,
    ),
    taken("connection-names-nonsense", "nothing is so named", get(fields=b'Connection: "a, \xff", ;\r\n')),
    taken("trace-with-key", "it is the upstream's to refuse", get(fields=_KEY, method=b"TRACE"), keeps=_KEY),
    taken("expect-unknown", "ignored (RFC 9110 section 10.1.1)", get(fields=b"Expect: evil\r\n")),
    taken("expect-list", "ignored", get(fields=b"Expect: 100-continue, evil\r\n")),
    taken(
        "expect-without-body",
        "there is nothing to wait for",
        get(fields=b"Expect: 100-continue\r\n"),
        loses=b"Expect",
    ),
    taken("request-id-odd", "the upstream's to judge", get(fields=b"X-Request-Id: a%0d%0aX: 1\r\n")),
    taken("forwarded-odd", "it is nobody whom we trust", get(fields=b'Forwarded: host="evi1";for="\r\n')),
    taken(
        "prefer-odd",
        "no time that makes sense",
        get(fields=b'Prefer: wait="; wait=1e9, wait=-1\r\n'),
        loses=b"wait=",
    ),
    taken(
        "priority-odd", "no priority that makes sense", get(fields=b"Priority: u=99999999999999999999, u\r\n")
    ),
    taken(
        "client-name-odd", "not passed on", get(fields=b"Avala-Proxy-Client: \xff" + b"evil" * 2000 + b"\r\n")
    ),
    taken("empty-lines-first", "skipped (RFC 9112 section 2.2)", b"\r\n\r\n\r\n" + get()),
    taken("spaces-behind-method", "one goes up (RFC 9112 section 3)", get(b"   /"), keeps=b"GET / HTTP"),
    taken("bad-behind-good", "the good one is served", get() + b"BAD\r\n\r\n", then=400),
    taken(
        "bad-behind-body",
        "the good one is served",
        post(b"Content-Length: 3\r\n", b"abc") + b"BAD\r\n\r\n",
        then=400,
    ),
    taken(
        "bad-behind-chunks",
        "the good one is served",
        post(b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n") + get(b"/a b"),
        then=400,
    ),
    taken("ambiguous-behind-good", "the good one is served", get() + get(b"http://evil/"), then=400),
    taken("host-missing-behind-good", "the good one is served", get() + b"GET / HTTP/1.1\r\n\r\n", then=400),
    taken("too-long-behind-good", "the good one is served", get() + get(b"/" + b"a" * 20_000), then=414),
    refused("good-behind-bad", b"BAD\r\n\r\n" + get(b"/hidden")),
    refused("good-behind-refused", get(b"http://evil/") + get(b"/hidden")),
    refused("good-behind-close", get(b"http://evil/", b"Connection: keep-alive\r\n") + get(b"/hidden")),
    taken(
        "good-behind-last",
        "nothing comes after `close`",
        get(fields=b"Connection: close\r\n") + get(b"/hidden"),
        loses=b"hidden",
    ),
)
