"""An admin listener that says what a test has it say."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Admin:
    """Say `status` when asked, and in the stream what `say` and `tell` hand on; None ends a stream.

    Of `refused` paths the status and the body are given; `asked` are the paths that were asked for. So many
    `watchers` follow the stream.
    """

    def __init__(self, status: Mapping[str, Any] | None = None) -> None:
        self.status = status or {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.port = 0
        self.watchers = 0
        self._runner: web.AppRunner | None = None
        self._said: asyncio.Queue[bytes | None] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def say(self, *chunks: bytes | None) -> None:
        """Put bytes into the stream as they are."""
        for chunk in chunks:
            self._said.put_nowait(chunk)

    def tell(self, status: Mapping[str, Any]) -> None:
        """Put a status into the stream."""
        self.say(f"event: status\ndata: {json.dumps(status)}\n\n".encode())

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._runner = web.AppRunner(
            web.Application(), handler_cancellation=True, shutdown_timeout=0.01, access_log=None
        )
        self._runner.app.router.add_get("/{path:.*}", self._answer)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Hang up on everybody, and listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path in self.refused:
            status, body = self.refused[request.path]
            return web.Response(status=status, text=body)
        if request.path == "/status":
            return web.json_response(self.status)
        return await self._stream(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        self.watchers += 1
        try:
            while (chunk := await self._said.get()) is not None:
                await response.write(chunk)
        finally:
            self.watchers -= 1
        return response


@asynccontextmanager
async def admin(status: Mapping[str, Any] | None = None) -> AsyncIterator[Admin]:
    """Have one listen."""
    one = Admin(status)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
