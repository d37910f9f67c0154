"""The admin listener of a proxy that plays a part, on a real socket, in a thread beside the test's own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from proxy.admin.changes import Changes
from proxy.admin.handlers import Admin
from proxy.config import Settings
from proxy.config_places import parse_place
from proxy.listener import Listener
from proxy.sockets import Sockets
from proxy.state import State
from tests.e2e.scenes import Scene, calm

T = TypeVar("T")


async def no_metrics(_accept: str, _state: State) -> tuple[bytes, str]:
    """Have none."""
    return b"", "text/plain"


class Site:
    """What is served, and how well: `scene` may be changed at any time, `mute` has the stream refused."""

    def __init__(self) -> None:
        self.scene: Scene = calm()
        self.effective = '[upstream]\nbase_url = "https://api.avala.ai"\n'
        self.mute = False
        self.url = "http://127.0.0.1:0"
        self._streams = 0
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve; from the end on nobody answers."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self.open()
            yield
            self.close()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def open(self) -> None:
        """Listen, on the same port as before."""
        self._do(self._open())

    def close(self) -> None:
        """Be gone."""
        self._do(self._close())

    def break_streams(self) -> None:
        """End what streams there are; new ones are refused if it is `mute`."""
        self._do(self._break_streams())

    @property
    def watching(self) -> int:
        """How many have a stream."""
        return self._streams

    def reconfigure(self, effective: str) -> None:
        """Have another configuration."""
        self.effective = self._admin.effective = effective

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        settings = Settings().listen
        self._admin = self._make()
        self._doors = Sockets(Listener(self._handle, self._admin.refuse, settings), settings)
        (self.url,) = await self._doors.open(parse_place(self.url.removeprefix("http://")))

    async def _close(self) -> None:
        self._admin.close()
        await self._doors.close()

    async def _break_streams(self) -> None:
        self._admin.close()
        self._admin = self._make()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.mute and request.path == "/events":
            return web.Response(status=503)
        streams = request.path == "/events"
        self._streams += streams
        try:
            return await self._admin.handle(request)
        finally:
            self._streams -= streams

    def _make(self) -> Admin:
        return Admin(
            render_metrics=no_metrics,
            state=lambda: self.scene.now(),
            callers=lambda: self.scene.callers,
            recent=lambda: self.scene.recent(),
            ready=lambda: self.scene.ready,
            changes=Changes(
                breakers=lambda: self.scene.now().breakers,
                force=lambda group, opened: None,
                level=lambda: "info",
                set_level=lambda level: None,
                token=None,
            ),
            effective=self.effective,
            version="1.2.3",
        )
