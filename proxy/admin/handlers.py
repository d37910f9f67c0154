"""What the admin listener answers: a live page, and what is behind it: metrics, health, status, the breakers.

All of it only shows, but for one thing that can be changed: a breaker is opened and closed by hand. Who may
do what is decided in `visitors`. It knows where its answers come from as functions, not as the metrics, the
queue or the breakers.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from proxy.admin.answers import as_json, error, finished, not_allowed
from proxy.admin.overview import Overview
from proxy.admin.pages import Files
from proxy.admin.stream import Stream
from proxy.admin.visitors import Visitor
from proxy.clock import Clock, LoopClock
from proxy.errors import Refusal
from proxy.messages import Headers
from proxy.recent import Recent
from proxy.state import BreakerState, CallerState, State

PAGES = {
    "/": "a live page for people",
    "/metrics": "every series, for Prometheus",
    "/healthz": "is it alive",
    "/readyz": "should it get traffic",
    "/status": "what it is doing, and its configuration in force",
    "/events": "the same, every second",
    "/breakers": "the breaker of each group; POST /breakers/{group}/open or …/close turns one by hand",
}

_TURNED = re.compile(r"/breakers/(?P<group>[^/]+)/(?P<how>open|close)")


class Admin:
    """Answer the requests of the admin listener; `handle` is a handler for `aiohttp.web.Server`.

    `render_metrics` takes an Accept header and a state, and runs in a thread; the other functions are called
    on the event loop. `force` opens (True) or closes the breaker of a group that is in the state; `token`
    returns the admin token of this moment, and is None if none is configured. `effective` is the
    configuration in force as TOML, secrets masked; it may be set anew.
    Whoever stops serving calls `close` first.
    """

    def __init__(
        self,
        *,
        render_metrics: Callable[[str, State], tuple[bytes, str]],
        state: Callable[[], State],
        callers: Callable[[], tuple[CallerState, ...]],
        recent: Callable[[], Recent],
        ready: Callable[[], tuple[bool, str]],
        force: Callable[[str, bool], None],
        token: Callable[[], str] | None,
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
        clock = clock or LoopClock()
        self._overview = Overview(
            version=version, clock=clock, ready=ready, state=state, callers=callers, recent=recent
        )
        self._stream = Stream(self._overview, lambda: self.effective, clock)
        files = Files()
        self._pages: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            **dict.fromkeys(files.paths, files.serve),
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status": self._status,
            "/events": self._stream.serve,
            "/breakers": self._breakers,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        return finished(request, await self._answer(request, _visitor(request)))

    def close(self) -> None:
        """End the streams of those who watch: they would not end by themselves."""
        self._stream.close()

    async def _answer(self, request: web.BaseRequest, visitor: Visitor) -> web.StreamResponse:
        if denial := visitor.may_not_read():
            return error(denial.status, denial.detail)
        if turned := _TURNED.fullmatch(request.path):
            return self._turn(request, visitor, turned["group"], opened=turned["how"] == "open")
        page = self._pages.get(request.path)
        if page is None:
            return error(HTTPStatus.NOT_FOUND, f"There is nothing here; see {', '.join(PAGES)}.")
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD", "This page can only be read.")
        return await page(request)

    def refuse(self, _request: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
        """Answer what is refused before it became a request."""
        answer = error(HTTPStatus(refusal.status), refusal.detail)
        answer.force_close()
        return answer

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
        return as_json({"ready": ready, "reason": reason}, status)

    async def _status(self, _request: web.BaseRequest) -> web.Response:
        return as_json(self._overview.now() | {"configuration": self.effective})

    async def _breakers(self, _request: web.BaseRequest) -> web.Response:
        return as_json([_breaker(one) for one in self._state().breakers])

    def _turn(self, request: web.BaseRequest, visitor: Visitor, group: str, *, opened: bool) -> web.Response:
        """Open or close a breaker by hand, if it is there and they may."""
        if request.method != "POST":
            return not_allowed("POST", "A breaker is opened and closed with POST; GET /breakers shows them.")
        if denial := visitor.may_not_change(self._token() if self._token else None):
            response = error(denial.status, denial.detail)
            if denial.status is HTTPStatus.UNAUTHORIZED:
                response.headers["WWW-Authenticate"] = 'Bearer realm="avala-proxy admin"'
            return response
        # Those that are shown, which are those configured: others may be known from before a reload.
        names = [one.name for one in self._state().breakers]
        if group not in names:
            return error(HTTPStatus.NOT_FOUND, f"There is no such group; there are {', '.join(names)}.")
        self._force(group, opened)
        return as_json(next(_breaker(one) for one in self._state().breakers if one.name == group))


def _visitor(request: web.BaseRequest) -> Visitor:
    transport = request.transport
    here, peer = (transport.get_extra_info(end) if transport else None for end in ("sockname", "peername"))
    return Visitor(here, peer, Headers(tuple(request.raw_headers)))


def _breaker(breaker: BreakerState) -> dict[str, object]:
    return {"group": breaker.name, "state": breaker.state, "forced": breaker.forced}
