"""aiohttp's server with the proxy's manners: what its parser refuses gets the proxy's own answer.

The only place that touches the inside of aiohttp's server protocol; the version range is pinned, and
`tests/test_front.py` fails loudly on a version that differs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refusing = Callable[[web.BaseRequest], web.StreamResponse]

_MAX_FIELD = 64 * 1024


class Listener(web.Server):
    """Serve a handler; `refuse` answers what is no HTTP, and is handed a request that says nothing."""

    def __init__(self, handler: Handler, refuse: Refusing) -> None:
        self.refuse = refuse
        self._options: dict[str, Any] = {
            "auto_decompress": False,
            "access_log": None,
            "max_line_size": _MAX_FIELD,
            "max_field_size": _MAX_FIELD,
        }
        super().__init__(handler, handler_cancellation=True)

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class _Connection(RequestHandler):
    def __init__(self, manager: Listener, **options: Any) -> None:
        super().__init__(manager, **options)
        self._refuse = manager.refuse

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp queues its refusal behind the request whose body is malformed, and lets that one's handler
        # wait for the rest of it for ever.
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo) and self._current_request:
            body = self._current_request.content
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError("malformed"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused; aiohttp's own words would repeat it, and log a traceback."""
        return self._refuse(request) if status == 400 else super().handle_error(request, status, exc, message)
