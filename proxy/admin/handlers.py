"""What the admin listener answers: a live page, and what is behind it: metrics, health, status, breakers.

All of it only shows, but for what `changes` does; who may read is decided in `visitors`. It knows where its
answers come from as functions, not as the metrics, the queue or the breakers.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from proxy.admin.answers import as_json, error, finished, not_allowed
from proxy.admin.changes import LEVELS, Changes
from proxy.admin.overview import Overview
from proxy.admin.pages import Files
from proxy.admin.stream import Stream
from proxy.admin.visitors import Visitor
from proxy.clock import Clock, LoopClock
from proxy.errors import Refusal
from proxy.messages import Headers
from proxy.recent import Recent
from proxy.state import CallerState, State

PAGES = {
    "/": "a live page for people",
    "/metrics": "every series, for Prometheus",
    "/healthz": "is it alive",
    "/readyz": "should it get traffic",
    "/status": "what it is doing, and its configuration in force",
    "/events": "the same, every second",
    "/breakers": "the breaker of each group; POST /breakers/{group}/open or …/close turns one by hand",
    "/log": f"the level of the log; POST /log/{{{'|'.join(LEVELS)}}} sets it until the next reload",
}


class Admin:
    """Answer the requests of the admin listener; `handle` is a handler for `aiohttp.web.Server`.

    `render_metrics` takes an Accept header and a state. `effective` is the configuration in force as TOML,
    secrets masked; it may be set anew. Whoever stops serving calls `close` first.
    """

    def __init__(
        self,
        *,
        render_metrics: Callable[[str, State], Awaitable[tuple[bytes, str]]],
        state: Callable[[], State],
        callers: Callable[[], tuple[CallerState, ...]],
        recent: Callable[[], Recent],
        ready: Callable[[], tuple[bool, str]],
        changes: Changes,
        effective: str,
        version: str,
        clock: Clock | None = None,
    ) -> None:
        self.effective = effective
        self._render_metrics = render_metrics
        self._state = state
        self._ready = ready
        self._changes = changes
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
            "/breakers": changes.show_breakers,
            "/log": changes.show_level,
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
        if (changed := self._changes.answer(request, visitor)) is not None:
            return changed
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
        body, content_type = await self._render_metrics(accept, self._state())
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


def _visitor(request: web.BaseRequest) -> Visitor:
    transport = request.transport
    here, peer = (transport.get_extra_info(end) if transport else None for end in ("sockname", "peername"))
    return Visitor(here, peer, Headers(tuple(request.raw_headers)))
