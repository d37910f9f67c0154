"""What the admin listener answers: metrics, health, readiness, status, breakers, log level, and an index.

All of it only shows, but for two things that can be changed: a breaker is opened and closed by hand, and the
level of the log is set (`log_level`). Who may do what is decided in `visitors`. It knows where its answers
come from as functions, not as the metrics, the queue or the breakers.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from proxy.admin.log_level import LEVEL_PAGE, LEVEL_SET, LEVELS, LogLevel
from proxy.admin.visitors import Visitor
from proxy.clock import Clock, LoopClock
from proxy.errors import Refusal
from proxy.messages import Headers
from proxy.relay import Parting
from proxy.state import BreakerState, State

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
    "/breakers": "the breaker of each group; POST /breakers/{group}/open or …/close turns one by hand",
    LEVEL_PAGE: f"the level of the log; POST /log/{{{'|'.join(LEVELS)}}} sets it until the next reload",
}

_TURNED = re.compile(r"/breakers/(?P<group>[^/]+)/(?P<how>open|close)")

INDEX = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>avala-proxy</title>\n'
    "<h1>avala-proxy</h1>\n<ul>\n"
    + "".join(f'<li><a href="{path}">{path}</a>: {text}\n' for path, text in PAGES.items())
    + "</ul>\n</html>\n"
)


class Admin:
    """Answer the requests of the admin listener; `handle` is a handler for `aiohttp.web.Server`.

    `render_metrics` takes an Accept header and a state, and runs in a thread; the other functions are called
    on the event loop. `force` opens (True) or closes the breaker of a group that is in the state; `token`
    returns the admin token of this moment, and is None if none is configured. `effective` is the
    configuration in force as TOML, secrets masked; it may be set anew.
    """

    def __init__(
        self,
        *,
        render_metrics: Callable[[str, State], tuple[bytes, str]],
        state: Callable[[], State],
        ready: Callable[[], tuple[bool, str]],
        force: Callable[[str, bool], None],
        token: Callable[[], str] | None,
        log_level: LogLevel,
        effective: str,
        version: str,
        clock: Clock | None = None,
    ) -> None:
        self.effective = effective
        self._render_metrics = render_metrics
        self._state = state
        self._ready = ready
        self._force = force
        self._token = token
        self._log_level = log_level
        self._version = version
        self._clock = clock or LoopClock()
        self._started = self._clock.now()
        self._pages = {
            "/": self._index,
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
            "/breakers": self._breakers,
            LEVEL_PAGE: self._log,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        response = await self._answer(request, _visitor(request))
        response.headers.update(HEADERS)
        return response if request.content.is_eof() else _last(response)

    async def _answer(self, request: web.BaseRequest, visitor: Visitor) -> web.Response:
        if denial := visitor.may_not_read():
            return _error(denial.status, denial.detail)
        if turned := _TURNED.fullmatch(request.path):
            return self._turn(request, visitor, turned["group"], opened=turned["how"] == "open")
        if wanted := LEVEL_SET.fullmatch(request.path):
            return self._set_log_level(request, visitor, wanted["level"])
        page = self._pages.get(request.path)
        if page is None:
            return _error(HTTPStatus.NOT_FOUND, f"There is nothing here; see {', '.join(PAGES)}.")
        if request.method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD", "This page can only be read.")
        return await page(request)

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

    async def _breakers(self, _request: web.BaseRequest) -> web.Response:
        return _json([_breaker(one) for one in self._state().breakers])

    def _turn(self, request: web.BaseRequest, visitor: Visitor, group: str, *, opened: bool) -> web.Response:
        """Open or close a breaker by hand, if it is there and they may."""
        if request.method != "POST":
            return _not_allowed("POST", "A breaker is opened and closed with POST; GET /breakers shows them.")
        if denied := self._denied(visitor):
            return denied
        # Those that are shown, which are those configured: others may be known from before a reload.
        names = [one.name for one in self._state().breakers]
        if group not in names:
            return _error(HTTPStatus.NOT_FOUND, f"There is no such group; there are {', '.join(names)}.")
        self._force(group, opened)
        return _json(next(_breaker(one) for one in self._state().breakers if one.name == group))

    async def _log(self, _request: web.BaseRequest) -> web.Response:
        return _json(self._log_level.shown())

    def _set_log_level(self, request: web.BaseRequest, visitor: Visitor, name: str) -> web.Response:
        if request.method != "POST":
            return _not_allowed("POST", "The level is set with POST; GET /log shows it.")
        if denied := self._denied(visitor):
            return denied
        if not self._log_level.set(name):
            return _error(HTTPStatus.NOT_FOUND, f"There is no such level; there are {', '.join(LEVELS)}.")
        return _json(self._log_level.shown())

    def _denied(self, visitor: Visitor) -> web.Response | None:
        """Answer who may change nothing."""
        denial = visitor.may_not_change(self._token() if self._token else None)
        if denial is None:
            return None
        response = _error(denial.status, denial.detail)
        if denial.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="avala-proxy admin"'
        return response


def _visitor(request: web.BaseRequest) -> Visitor:
    transport = request.transport
    here, peer = (transport.get_extra_info(end) if transport else None for end in ("sockname", "peername"))
    return Visitor(here, peer, Headers(tuple(request.raw_headers)))


def _breaker(breaker: BreakerState) -> dict[str, object]:
    return {"group": breaker.name, "state": breaker.state, "forced": breaker.forced}


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        text=json.dumps(content, indent=2) + "\n", status=status, content_type="application/json"
    )


def _error(status: HTTPStatus, detail: str) -> web.Response:
    return _json({"detail": detail, "code": status.name.lower()}, status)


def _not_allowed(allowed: str, detail: str) -> web.Response:
    response = _error(HTTPStatus.METHOD_NOT_ALLOWED, detail)
    response.headers["Allow"] = allowed
    return response


def _last(response: web.Response) -> web.Response:
    """Make an answer the last of its connection: a body is still coming, which nobody here wants."""
    last = Parting(body=response.body, status=response.status, headers=response.headers)
    last.force_close()
    return last
