"""A proxy whose every word is kept, secrets that are marked, and the ways by which they come in."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from proxy.app import App
from proxy.config import load
from tests.wire.raw import Upstream, connected

MARK = "x7Q9leak"
"""In every secret, so that a part of one is found too."""

CLIENTS_KEY = f"avk_{MARK}-of-a-client_0123456789"
HELD = f"held-{MARK}-key/with+signs=="
TOKEN = f"token-{MARK}-of-the-lab"
ADMIN = f"admin-{MARK}-token"
ANOTHER = f"{MARK}AnotherServicesSecret"
"""Known to nobody: it is cut out where it stands in a place for secrets, and let through nowhere else."""

JWT = f"eyJhbGciOiJ{MARK}.eyJ{MARK}.{MARK}"
OPEN = [{"name": "standard", "requests": 100_000, "per": 0.01}]
# fmt: off
NAMES = (
    "X_Avala_Api_Key", "Authorization", "Cookie", "X_Request_Id", "Avala_Proxy_Client",
    "Avala_Proxy_Token", "Host", "Referer", "Via", "traceparent", "tracestate", "X_Forwarded_For",
    "X_Forwarded_Host", "Forwarded", "Prefer", "Priority", "User_Agent", "Origin", "TE", "Sec_Fetch_Site",
    "Accept", "Content_Type", "Idempotency_Key", "Expect", "Connection", "Upgrade", "Content_Length",
    "If_None_Match", "Transfer_Encoding", "X_Anything",
)
# fmt: on
PAGES = ("/metrics", "/status", "/", "/breakers", "/readyz", "/healthz", "/log", "/nowhere")


@dataclass
class Place:
    """A proxy whose every word is kept."""

    upstream: Upstream
    app: App
    stream: io.StringIO
    said: list[str]

    @property
    def log(self) -> str:
        """The log so far, whole."""
        self.app.observability.flush()
        return self.stream.getvalue()

    @property
    def port(self) -> int:
        return int(self.app.url.rpartition(":")[2])

    async def send(self, content: bytes, patience: float = 0.5) -> bytes:
        """Send bytes on a connection of their own, and return all that comes back in time."""
        async with connected(self.port) as wire:
            await wire.send(content)
            try:
                async with asyncio.timeout(patience):
                    return await wire.rest()
            except (TimeoutError, ConnectionResetError):
                return bytes(wire.received)

    async def refuse(self, content: bytes) -> None:
        """Send what the proxy answers itself; its answer may repeat nothing either."""
        self.said.append((await self.send(content)).decode("latin-1"))

    async def everything(self) -> str:
        """Return all that was said: answers, the log, and every page of the admin listener."""
        async with aiohttp.ClientSession(self.app.admin_url) as session:
            for page in PAGES:
                async with session.get(page) as answer:
                    self.said.append(f"{answer.headers} {await answer.text()}")
            async with session.get("/events") as stream:
                self.said.append((await stream.content.readuntil(b"\n\n")).decode())
                self.said.append((await stream.content.readuntil(b"\n\n")).decode())
        return "\n".join([self.log, *self.said])


def check(said: str, mark: str = MARK) -> None:
    """Demand that no secret is in what was said, and show where it is if it is."""
    at = said.find(mark)
    assert at < 0, said[max(0, at - 300) : at + 300]


@asynccontextmanager
async def placed(form: str = "json", **tables: Any) -> AsyncIterator[Place]:
    """Run one; `tables` are of the configuration."""
    async with Upstream().running() as upstream:
        settings: dict[str, Any] = {
            "upstream": {
                "base_url": f"http://127.0.0.1:{upstream.port}",
                "head_timeout": 0.1,
                "read_timeout": 0.1,
                "transit": 0.01,
            },
            "listen": {
                "addresses": ["127.0.0.1:0"],
                "admin_address": "127.0.0.1:0",
                "admin_token": ADMIN,
                "head_timeout": 1.0,
            },
            "log": {"format": form, "level": "debug"},
            "limits": OPEN,
            "retry": {"max_retries": 1, "base": 0.001, "jitter": 0.0, "longest_pause": 0.01},
            "breaker": {"failures": 1_000_000},
        }
        for name, table in tables.items():
            settings[name] = settings.get(name, {}) | table if isinstance(table, dict) else table
        log = io.StringIO()
        app = App(load(None, settings), log_stream=log)
        await app.start()
        try:
            yield Place(upstream, app, log, [])
        finally:
            await app.stop(grace=0)


def head(target: str = "/api/v1/datasets/", method: str = "GET", **fields: str) -> bytes:
    """Make a request; underscores of names stand for hyphens."""
    given = {"Host": "h", "Connection": "close"} | {name.replace("_", "-"): fields[name] for name in fields}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def targets(secret: str) -> Iterator[str]:
    """Put a secret into request targets, good and bad ones."""
    for text in (secret, quote(secret, safe=""), secret.upper()):
        yield f"/api/v1/datasets/?api_key={text}"
        yield f"/api/v1/{text}/"
        yield f"/api/v1/datasets/{text}/"
        yield f"http://h/{text}?token={text}"
        yield f"http://user:{text}@h/"
        yield f"/a b?token={text}"
        yield f"/a?sig={text}#fragment"
        yield text


def fields(secret: str) -> Iterator[dict[str, str]]:
    """Put a secret into the fields of a request."""
    for name in NAMES:
        yield {name: secret}
    for scheme in ("Bearer", "Basic", "Token", "Digest", "AWS4-HMAC-SHA256", "bearer"):
        yield {"Authorization": f"{scheme} {secret}"}
        yield {"X_Request_Id": f"{scheme}:{secret}", "Avala_Proxy_Client": f"{scheme} {secret}"}
    yield {"Forwarded": f'for="{secret}";host={secret};proto=http'}
    yield {"Prefer": f'wait=1, x="{secret}"', "Priority": f'u=1, x="{secret}"'}
    yield {"Cookie": f"session={secret}; b=c", "Avala_Proxy_Client": f"cookie={secret}"}
    yield {"X_Avala_Api_Key": secret, "X_Request_Id": secret, "Avala_Proxy_Client": secret}
    yield {"Authorization": f"Bearer {secret}", "X_Request_Id": secret, "Avala_Proxy_Client": secret}
    yield {"X_Request_Id": quote(secret, safe=""), "Avala_Proxy_Client": quote(secret, safe="")}
    yield {"X_Request_Id": f"https://h/?{secret}", "Avala_Proxy_Client": f"password={secret}"}


def answers(secret: str) -> Iterator[bytes]:
    """Put a secret into answers of the API."""
    detail = json.dumps({"detail": f"Invalid key {secret}", "code": secret, secret: [secret]}).encode()
    sized = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(detail) + detail
    for status in (400, 401, 403, 404, 429, 500, 503):
        yield b"HTTP/1.1 %d %b\r\n" % (status, secret.encode()) + sized
    for field in (
        f"Set-Cookie: session={secret}",
        f"Location: https://bucket.example/o?X-Amz-Signature={secret}&X-Amz-Credential={secret}",
        f'Link: <https://bucket.example/o?sig={secret}>; rel="next"',
        f"Retry-After: {secret}",
        f"X-RateLimit-Limit: {secret}",
        f'RateLimit-Policy: "{secret}";q=1;w=2',
        f'RateLimit: "{secret}";r=1;t=2',
        f"Content-Type: {secret}",
        f"X-Request-Id: {secret}",
        f"Via: 1.1 {secret}",
        f"Proxy-Status: {secret}",
        f"Content-Length: {secret}",
        f"{secret}: {secret}",
        f"{secret}",
    ):
        for line in (b"302 Found", b"429 Too Many", b"503 No"):
            yield b"HTTP/1.1 %b\r\n%b\r\nContent-Length: 0\r\n\r\n" % (line, field.encode())
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % secret.encode()
    yield secret.encode() + b"\r\n\r\n"
