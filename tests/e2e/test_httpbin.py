"""`httpbin` answers `requests` and `httpx` through the proxy as it answers them directly."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from requests.auth import HTTPDigestAuth

from tests.e2e import programs

# What may differ, and nothing else

NOT_COMPARED = {
    "date": "the clock",
    "connection": "of one connection (RFC 9110 section 7.6.1)",
    "keep-alive": "of one connection",
    "transfer-encoding": "of one connection; the body that it framed is compared",
}
"""Fields of answers, and why."""

ADDED = {
    "via": "RFC 9110 section 7.6.3; headers.via",
    "proxy-status": "RFC 9209; headers.describe",
    "server-timing": "where the time went; headers.describe",
    "x-request-id": "so that an answer can be found in the log; headers.describe",
}
"""Fields that the proxy adds to answers; that they are there is demanded."""

ECHOED = {
    "Via": "the proxy names itself to the API; headers.via",
    "X-Request-Id": "made by the proxy, as the client sent none",
    "Connection": "of one connection: the client's ends at the proxy",
}
"""Fields of requests which httpbin shows in its echo, and why they are not compared there. The address of
the server in it (`url`, links) is: the proxy sends the upstream's Host. So the Content-Length of an echo is
not compared either; the clients themselves fail at one that is wrong."""

CONFIG = """
[retry]
max_retries = 0 # the statuses that httpbin is asked for are what is compared
[[limits]]
name = "standard"
requests = 100000
per = 1.0
"""


@dataclass(frozen=True)
class Call:
    """One call, as both libraries understand it."""

    name: str
    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    """`params`, `data`, `json`, `files`, `headers`."""
    auth: tuple[str, str] | None = None
    digest: bool = False
    follow: bool = True
    random: bool = False
    """Its answer holds hexadecimal digits by chance: they are compared by their number."""
    cookies: dict[str, str] = field(default_factory=dict)


def get(name: str, path: str, **options: Any) -> Call:
    """Describe a GET with options of `requests`."""
    return Call(name, "GET", path, options)


def post(name: str, path: str = "/post", **options: Any) -> Call:
    """Describe a POST with options of `requests`."""
    return Call(name, "POST", path, options)


ODD = "/anything/a%20b%2Fc//d;e=1/%C3%A9/.%2E/~x!$&'()*+,=:@"
FILE = {"f": ("ä.txt", b"one\r\ntwo", "text/plain")}
FILES = [("f", ("1", b"\0\xff")), ("f", ("2", b""))]
CALLS = (
    get("get", "/get"),
    get("query", "/get", params={"a": ["1", "2"], "empty": "", "ü": "ñ ☃"}),
    get("odd path", ODD),
    get("odd query", "/anything?x=%FF&y&&z==%2B+a%20b;c?d/e"),
    get("fields", "/headers", headers={"X-One": "1", "x-two": "a, b", "X-Empty": "", "Accept": "x/y;q=0.1"}),
    get("user agent", "/user-agent", headers={"User-Agent": "me/1.0 (äh)".encode("latin-1")}),
    get("address", "/ip"),
    Call("head", "HEAD", "/image/png"),
    Call("options", "OPTIONS", "/get"),
    post("form", data={"a": "1", "ü": "ñ"}),
    post("json", json={"a": [1, None, "☃"]}),
    post("bytes", data=bytes(range(256)), headers={"Content-Type": "application/octet-stream"}),
    post("nothing"),
    post("a megabyte", data=b"x" * 1_100_000, headers={"Content-Type": "text/plain"}),
    Call("file", "POST", "/post", {"files": FILE, "data": {"k": "v"}}, random=True),
    Call("two files", "POST", "/post", {"files": FILES}, random=True),
    Call("put", "PUT", "/put", {"data": b"put"}),
    Call("patch", "PATCH", "/patch", {"json": {"a": 1}}),
    Call("delete", "DELETE", "/delete"),
    Call("delete with a body", "DELETE", "/anything?a=1", {"json": {"why": 1}}),
    *(get(f"status {status}", f"/status/{status}") for status in (200, 204, 400, 404, 418, 429, 500, 503)),
    Call("wrong method", "PUT", "/get"),
    get("relative redirects", "/relative-redirect/3"),
    get("absolute redirects", "/absolute-redirect/3"),
    Call("redirect not followed", "GET", "/redirect/1", follow=False),
    get("redirect elsewhere", "/redirect-to?url=%2Fanything%2Fthere%3Fa%3D1"),
    Call("post redirected by 307", "POST", "/redirect-to?url=/post&status_code=307", {"data": {"a": "1"}}),
    Call("post redirected by 303", "POST", "/redirect-to?url=/get&status_code=303", {"data": {"a": "1"}}),
    get("cookies set", "/cookies/set?a=1&b=2"),
    Call("cookies sent", "GET", "/cookies", cookies={"a": "1", "b": "x=y"}),
    Call("cookies deleted", "GET", "/cookies/delete?a", cookies={"a": "1"}),
    Call("basic", "GET", "/basic-auth/me/secret", auth=("me", "secret")),
    Call("basic, wrong", "GET", "/basic-auth/me/secret", auth=("me", "wrong")),
    Call("basic, hidden", "GET", "/hidden-basic-auth/me/secret", auth=("me", "wrong")),
    get("bearer", "/bearer", headers={"Authorization": "Bearer token"}),
    get("bearer, none", "/bearer"),
    Call("digest", "GET", "/digest-auth/auth/me/secret", auth=("me", "secret"), digest=True, random=True),
    get("gzip", "/gzip"),
    get("deflate", "/deflate"),
    get("brotli", "/brotli"),
    get("utf-8", "/encoding/utf8"),
    get("xml", "/xml"),
    get("robots", "/robots.txt"),
    *(get(kind, f"/image/{kind}") for kind in ("png", "jpeg", "webp", "svg")),
    get("image by Accept", "/image", headers={"Accept": "image/webp"}),
    get("range", "/range/1024", headers={"Range": "bytes=100-199"}),
    get("range, open", "/range/1024", headers={"Range": "bytes=1000-"}),
    get("range, beyond", "/range/1024", headers={"Range": "bytes=2000-3000"}),
    get("stream", "/stream/5"),
    get("drip", "/drip?duration=0.2&numbytes=5&delay=0.1"),
    get("bytes by chance", "/bytes/100000?seed=7"),
    get("bytes streamed", "/stream-bytes/100000?seed=7&chunk_size=1000"),
    get("links", "/links/5/1"),
    get("etag", "/etag/one"),
    get("etag, the same", "/etag/one", headers={"If-None-Match": '"one"'}),
    get("etag, another", "/etag/one", headers={"If-Match": '"two"'}),
    get("not modified", "/cache", headers={"If-Modified-Since": "Tue, 24 Nov 2026 00:00:00 GMT"}),
    get("cached", "/cache/60"),
    get("fields of the answer", "/response-headers?X-A=1&X-A=2&x-b=%C3%A9&Content-Language=de"),
    get("delay", "/delay/0.2"),
    Call("uuid", "GET", "/uuid", random=True),
    get("base64", "/base64/SFRUUEJJTiBpcyBhd2Vzb21l"),
)


@dataclass(frozen=True)
class Answer:
    """What a library made of an answer."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    cookies: dict[str, str]
    hops: list[tuple[int, str]]
    """Status and Location of each redirect that was followed, then 0 and the last URL."""


def by_requests(base: str, call: Call) -> Answer:
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.update(call.cookies)
        answer = session.request(
            call.method,
            base + call.path,
            **call.options,
            auth=HTTPDigestAuth(*call.auth) if call.auth and call.digest else call.auth,
            allow_redirects=call.follow,
            timeout=10,
        )
        hops = [(hop.status_code, hop.headers.get("Location", "")) for hop in answer.history]
        return Answer(
            answer.status_code,
            list(answer.raw.headers.items()),
            answer.content,
            {cookie.name: cookie.value or "" for cookie in session.cookies},
            [*hops, (0, answer.url)],
        )


def by_httpx(base: str, call: Call) -> Answer:
    options = dict(call.options)
    if isinstance(options.get("data"), bytes):
        options["content"] = options.pop("data")
    auth = httpx.DigestAuth(*call.auth) if call.auth and call.digest else call.auth
    with httpx.Client(trust_env=False, timeout=10, cookies=call.cookies) as client:
        answer = client.request(
            call.method, base + call.path, **options, auth=auth, follow_redirects=call.follow
        )
        hops = [(hop.status_code, hop.headers.get("Location", "")) for hop in answer.history]
        return Answer(
            answer.status_code,
            [(name.decode(), value.decode("latin-1")) for name, value in answer.headers.raw],
            answer.content,
            dict(client.cookies),
            [*hops, (0, str(answer.url))],
        )


# Two programs


@dataclass(frozen=True)
class Servers:
    """Where httpbin is, and where the proxy in front of it."""

    direct: str
    proxied: str


HTTPBIN = """
from httpbin import app
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@asynccontextmanager
async def both(tmp_path: Path) -> AsyncIterator[Servers]:
    """Run httpbin in a real WSGI server, and the shipped proxy in front of it."""
    with (tmp_path / "httpbin.log").open("wb") as log:
        httpbin = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HTTPBIN,
            stdout=subprocess.PIPE,
            stderr=log,
            env=programs.environment(traced=False),
        )
    assert httpbin.stdout is not None
    try:
        direct = f"http://127.0.0.1:{int(await httpbin.stdout.readline())}"
        async with programs.proxy(tmp_path, direct, CONFIG) as (proxied, _):
            yield Servers(direct, proxied)
    finally:
        httpbin.kill()
        await httpbin.communicate()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with asyncio.Runner() as runner:
        running = both(tmp_path_factory.mktemp("httpbin"))
        yield runner.run(running.__aenter__())
        runner.run(running.__aexit__(None, None, None))


# The comparison


def echoed(echo: dict[str, Any]) -> dict[str, Any]:
    """Reduce what httpbin shows of a request to what must be the same."""
    return echo | {"headers": {name: shown for name, shown in echo["headers"].items() if name not in ECHOED}}


def comparable(answer: Answer, base: str, call: Call) -> dict[str, Any]:
    """Reduce an answer to what must be the same."""

    def steady(text: str) -> str:
        return re.sub(r"\b[0-9a-f]{4,}\b", lambda found: "#" * len(found[0]), text) if call.random else text

    def anywhere(text: str) -> str:
        return steady(text.replace(base, "BASE"))

    body, echoes = answer.body, []
    if b'"headers"' in body:
        lines = re.split("(?<=})\n(?={)", steady(body.decode()))  # `/stream` gives several
        echoes = [echoed(json.loads(line)) for line in lines]
        body = b""
    dropped = set(NOT_COMPARED) | set(ADDED) | ({"content-length"} if echoes else set())
    return {
        "status": answer.status,
        "fields": [(name, anywhere(value)) for name, value in answer.fields if name.lower() not in dropped],
        "body": steady(body.decode("latin-1")),
        "echoes": echoes,
        "cookies": {name: anywhere(value) for name, value in answer.cookies.items()},
        "hops": [(status, anywhere(url)) for status, url in answer.hops],
    }


@pytest.mark.parametrize("ask", [by_requests, by_httpx], ids=["requests", "httpx"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_call_is_answered_as_it_is_directly(
    servers: Servers, call: Call, ask: Callable[[str, Call], Answer]
) -> None:
    directly, through = ask(servers.direct, call), ask(servers.proxied, call)
    assert comparable(through, servers.proxied, call) == comparable(directly, servers.direct, call)
    assert set(ADDED) <= {name.lower() for name, _ in through.fields}
    assert all(url.startswith((servers.proxied, "/")) for _, url in through.hops if url)  # nobody is led away
