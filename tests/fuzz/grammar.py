"""What clients send: mostly what is right, often enough what is not."""

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.conversation import Seen

MOSTLY = 5


def mostly(*right: bytes, or_else: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw from what is right, and now and then from what is not."""
    weight = MOSTLY * max(1, len(or_else) // len(right) * 2)
    return st.sampled_from([*right * weight, *or_else])


METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND")
TARGETS = (b"/", b"/a%2Fb//c", b"/x?q=%ff&&", b"/..;/a?", b'/[x]{y}|^"', b"/" + b"a" * 200, b"//h/")
FIELDS = (
    b"X-Any: thing",
    b"x-any:\tother ",
    b"X-Empty:",
    b"X-High: \xe9\xff",
    b"Cookie: a=1; b=2",
    b"X-Avala-Api-Key: avk_1",
    b"X-Request-Id: mine",
    b"Prefer: wait=1",
    b"Connection: keep-alive",
    b"Connection: X-Any, Host",
    b"TE: trailers",
    b"Accept: text/event-stream",
    b"Expect: 100-continue",
)
ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b"\0\r\n", b"", b"\r\n\r\n")

target = mostly(
    *TARGETS,
    or_else=[
        b"*",
        b"",
        b"a",
        b"/a b",
        b"/a#b",
        b"/\x00",
        b"/caf\xc3\xa9?\xff",
        b"/a\\b",
        b"/" + b"a" * 310,
        b"http://127.0.0.1:8080/a",
        b"HTTP://127.0.0.1:8080?b",
        b"http://h@127.0.0.1:8080/",
        b"http://evil/",
        b"evil:443",
    ],
)
request_line = st.tuples(
    mostly(*METHODS, or_else=[b"get", b"CONNECT", b"BREW", b"G\tT", b"", b" GET", b"\r\nGET", b"PRI"]),
    mostly(b" ", or_else=[b"  ", b"\t", b""]),
    target,
    st.just(b" "),
    mostly(
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.0",
        or_else=[b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"", b"HTTP/1.1 "],
    ),
    st.just(b"\r\n"),
).map(b"".join)
host = mostly(
    b"Host: h\r\n",
    or_else=[
        b"",
        b"Host:\r\n",
        b"Host: h\r\nHost: h\r\n",
        b"Host : h\r\n",
        b"host: h:1\r\n",
        b"Host: h/a\r\n",
    ],
)
plain_field = mostly(
    *FIELDS,
    or_else=[
        b"Connection: close",
        b"Connection: X-Avala-Api-Key, Content-Length, Transfer-Encoding",
        b"Connection: Upgrade\r\nUpgrade: h2c",
        b"Connection: Upgrade\r\nUpgrade: websocket",
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"X Y: z",
        b": empty",
        b"nothing",
        b" folded: x",
        b"\tfolded",
        b"X-Any : z",
        b"X-Nul: a\0b",
        b"X-Cr: a\rb",
        b"X-Bell: \x07",
        b"X-Long: " + b"y" * 300,
        b"Expect: 200-ok",
    ],
).map(lambda line: line + b"\r\n")
chunk_size = mostly(
    b"%x",
    b"%X",
    b"000%x",
    or_else=[
        b"0x%x",
        b"-%x",
        b"+%x",
        b" %x",
        b"%x ",
        b"%xg",
        b"%x\t",
        b"0" * 30 + b"%x",
        b"1" * 16 + b"%x",
        b"",
    ],
)
extension = mostly(
    b"",
    or_else=[
        b";a",
        b";a=b",
        b';a="q;\\""',
        b";",
        b" ;a",
        b"; a = b",
        b";a\nb",
        b";a\rb",
        b";" + b"e" * 200,
        b";\0",
    ],
)
trailers = mostly(
    b"",
    or_else=[b"X-T: 1\r\n", b"Content-Length: 5\r\n", b"Host: evil\r\n", b"x\r\n", b" f\r\n", b"X-T: 1\n"],
)
payload = st.sampled_from(
    [
        b"x",
        b"0123456789",
        b"0\r\n\r\n",
        b"\r\n",
        b"GET /in HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\0\xff" * 30,
        b"z" * 250,
    ]
)


@st.composite
def chunk(draw: st.DrawFn) -> bytes:
    """Make one chunk, whose size may lie."""
    content = draw(payload)
    size = len(content) + draw(st.sampled_from([0] * 20 + [1, -1, 2, 300]))
    head = draw(chunk_size).replace(b"%x", b"%x" % max(size, 0)).replace(b"%X", b"%X" % max(size, 0))
    return head + draw(extension) + b"\r\n" + content + b"\r\n"


chunked = st.tuples(
    st.lists(chunk(), max_size=3).map(b"".join),
    mostly(b"0\r\n", b"00\r\n", or_else=[b"", b"0;last\r\n", b"0 \r\n", b"-0\r\n", b"0x0\r\n"]),
    trailers,
    st.just(b"\r\n"),
).map(b"".join)
CODING = mostly(
    b"Transfer-Encoding: chunked\r\n",
    or_else=[
        b"transfer-encoding:\tChunked \r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked,\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer_Encoding: chunked\r\n",
    ],
)


@st.composite
def sized(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Make a field that gives a length, and content of this length or nearly."""
    content = draw(payload)
    length = len(content) + draw(st.sampled_from([0] * 12 + [1, -1, 700]))
    form = draw(mostly(b"%d", or_else=[b"+%d", b"-%d", b"0%d", b"%d,%d", b"0x%d", b"%d ", b"", b"%d 1"]))
    return b"Content-Length: " + form.replace(b"%d", b"%d" % length) + b"\r\n", content


bodies = st.one_of(
    st.just((b"", b"")),
    st.just((b"", b"")),
    sized(),
    st.tuples(CODING, chunked),
)
requests = st.tuples(request_line, host, st.lists(plain_field, max_size=3).map(b"".join), bodies).map(
    lambda parts: b"".join([*parts[:3], parts[3][0], b"\r\n", parts[3][1]])
)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Flip, insert, delete or repeat a few bytes or the end of a line, in half of the cases."""
    content = draw(whole)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            place = max(content.rfind(b"\r\n", 0, place), 0)
            length, other = 2, draw(st.sampled_from(ENDS))
        else:
            length = draw(st.sampled_from([0, 1, 1, 2, 9]))
            there = content[place : place + length]
            other = draw(st.sampled_from([b"", b"\r", b"\n", b" ", b"\0", b":", b"\xff", b"0", there * 2]))
        content = content[:place] + other + content[place + length :]
    return content


@st.composite
def split(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> list[bytes]:
    """Cut bytes into the pieces in which they arrive."""
    content = draw(whole)
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    return [content[at:to] for at, to in zip([0, *places], [*places, len(content)], strict=True) if at < to]


conversations = st.lists(requests, min_size=1, max_size=2).map(b"".join)
uploads = chunked.map(
    lambda body: b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body
)
noise = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.text("GET /HTP1.:\r\n\t 0aXx;,", min_size=1, max_size=80).map(str.encode),
)


@st.composite
def right(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """Make a request in which nothing is wrong, and say what it is."""
    method, target = draw(st.sampled_from(METHODS)), draw(st.sampled_from(TARGETS))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique=True))
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: h", *fields])
    pieces = draw(st.lists(payload, max_size=2))
    body = b"".join(pieces)
    if draw(st.booleans()):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    elif pieces:
        framed = b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        framed = b"\r\n"
    return head + b"\r\n" + framed, Seen(method, target, body)
