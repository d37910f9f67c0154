"""What the admin listener answers: metrics, health, readiness, status, and an index of them.

It only shows; nothing can be changed here. It knows where its answers come from as functions, not as the
metrics or the queue.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from proxy.clock import Clock, LoopClock
from proxy.errors import Refusal
from proxy.policy.pages import is_own_name
from proxy.state import State

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        f"{what} 'none'" for what in ("default-src", "base-uri", "form-action", "frame-ancestors")
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

PAGES = {
    "/metrics": "every series, for Prometheus",
    "/healthz": "is it alive",
    "/readyz": "should it get traffic",
    "/status": "what it is doing, and its configuration in force",
}

INDEX = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>avala-proxy</title>\n'
    "<h1>avala-proxy</h1>\n<ul>\n"
    + "".join(f'<li><a href="{path}">{path}</a>: {text}\n' for path, text in PAGES.items())
    + "</ul>\n</html>\n"
)


class Admin:
    """Answer the requests of the admin listener; `handle` is a handler for `aiohttp.web.Server`.

    `render_metrics` takes an Accept header and a state, and runs in a thread; the other functions are called
    on the event loop. `effective` is the configuration in force as TOML, secrets masked; it may be set anew.
    """

    def __init__(
        self,
        *,
        render_metrics: Callable[[str, State], tuple[bytes, str]],
        state: Callable[[], State],
        ready: Callable[[], tuple[bool, str]],
        effective: str,
        version: str,
        clock: Clock | None = None,
    ) -> None:
        self.effective = effective
        self._render_metrics = render_metrics
        self._state = state
        self._ready = ready
        self._version = version
        self._clock = clock or LoopClock()
        self._started = self._clock.now()
        self._pages = {
            "/": self._index,
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        page = self._pages.get(request.path)
        if not _is_addressed_to_us(request):
            response = _error(HTTPStatus.FORBIDDEN, "On loopback, ask for localhost or an IP address.")
        elif page is None:
            response = _error(HTTPStatus.NOT_FOUND, f"There is nothing here; see {', '.join(PAGES)}.")
        elif request.method not in ("GET", "HEAD"):
            response = _error(HTTPStatus.METHOD_NOT_ALLOWED, "Nothing can be changed here.")
            response.headers["Allow"] = "GET, HEAD"
        else:
            response = await page(request)
        response.headers.update(HEADERS)
        return response

    def refuse(self, _request: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
        """Answer what is refused before it became a request."""
        answer = _error(HTTPStatus(refusal.status), refusal.detail)
        answer.force_close()
        return answer

    async def _index(self, _request: web.BaseRequest) -> web.Response:
        return web.Response(text=INDEX, content_type="text/html")

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        accept = ",".join(request.headers.getall("Accept", []))
        # The state belongs to the event loop. The page is written beside it: many series take 30 ms and more.
        state = self._state()
        body, content_type = await asyncio.to_thread(self._render_metrics, accept, state)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _request: web.BaseRequest) -> web.Response:
        # That this runs is the answer: the event loop turns.
        return web.Response(text="ok\n")

    async def _readiness(self, _request: web.BaseRequest) -> web.Response:
        ready, reason = self._ready()
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json({"ready": ready, "reason": reason}, status)

    async def _status(self, _request: web.BaseRequest) -> web.Response:
        about = {"version": self._version, "uptime": round(self._clock.now() - self._started, 3)}
        return _json(about | {"state": asdict(self._state()), "configuration": self.effective})


def _json(content: dict[str, object], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        text=json.dumps(content, indent=2) + "\n", status=status, content_type="application/json"
    )


def _error(status: HTTPStatus, detail: str) -> web.Response:
    return _json({"detail": detail, "code": status.name.lower()}, status)


def _is_addressed_to_us(request: web.BaseRequest) -> bool:
    """Refuse DNS rebinding: a page of evil.example, whose name was made to mean 127.0.0.1.

    To a browser such a page and this listener are one site, so it could read everything here. What gives it
    away is the Host header, which has its name; an address or `localhost` can't be made to mean another
    place. Elsewhere than on loopback the listener has names that we can't know.
    """
    transport = request.transport
    here = transport.get_extra_info("sockname") if transport else None
    if not isinstance(here, tuple) or not ipaddress.ip_address(here[0].partition("%")[0]).is_loopback:
        return True
    return all(is_own_name(host) for host in request.headers.getall("Host", []))
