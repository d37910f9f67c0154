"""News of the proxy, as they come: by its stream, else by asking again and again, and after it was gone.

The only place here that speaks HTTP. What goes wrong with that becomes a `Trouble`.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import aiohttp

from proxy.clock import Clock
from proxy.top import sse
from proxy.top.marks import harmless
from proxy.top.news import News
from proxy.top.status import Status, Unreadable, read

_QUIET = 5.0
"""Seconds without a word after which a proxy is gone, though it may still be connected: five are missing."""
_POLL = 2.0
"""Seconds between two questions where there is no stream."""
_POLLS = 15
"""Questions until the stream is tried again: another watcher may have left."""
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts at the most; the first follows after one."""
_LARGEST = 4 * 1024 * 1024
"""Bytes that a status may have, with its configuration."""

_RUNNING = "is `avala-proxy serve` running there, and is it this address (--admin)?"
_RIGHT = "is it the admin listener of an avala-proxy, and of this version (--admin)?"


class Trouble(Exception):
    """Why there is no news, and what may help against it, if there never was any.

    Whatever answered may have a part in the words, and they go to a terminal: they are made harmless.
    """

    def __init__(self, what: str, advice: str) -> None:
        self.what = harmless(what)
        super().__init__(f"{self.what}; {advice}")


class Feed:
    """Bring news of the proxy whose admin listener is at `url`; `sleep` takes seconds."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        quiet: float = _QUIET,
    ) -> None:
        self._session = session
        self._url = url
        self._clock = clock
        self._sleep = sleep
        self._timeout = aiohttp.ClientTimeout(total=None, connect=quiet, sock_read=quiet)

    async def news(self) -> AsyncGenerator[News, None]:
        """Yield what is new, for ever: that it begins, each status, and each attempt that failed."""
        last, attempts = News(self._url), 0
        yield last
        while True:
            try:
                async for manner, status in self._statuses():
                    last, attempts = News(self._url, status, self._clock.wall(), manner), 0
                    yield last
            except Trouble as trouble:
                what = trouble.what if last.status else str(trouble)
                yield News(self._url, last.status, last.heard, trouble=what)
                await self._sleep(min(2.0**attempts, _LONGEST_PAUSE))
                attempts += 1

    async def once(self) -> News:
        """Ask once. Raises Trouble."""
        return News(self._url, await self._ask(), self._clock.wall())

    async def _statuses(self) -> AsyncIterator[tuple[Literal["live", "polling"], Status]]:
        async for status in self._stream():
            yield "live", status
        for _ in range(_POLLS):
            yield "polling", await self._ask()
            await self._sleep(_POLL)

    async def _stream(self) -> AsyncIterator[Status]:
        """Yield what the stream says until it breaks; nothing if there is none."""
        accept = {"Accept": "text/event-stream"}
        with self._troubles():
            async with self._session.get(
                f"{self._url}/events", headers=accept, timeout=self._timeout, allow_redirects=False
            ) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    return
                parser = sse.Parser()
                async for chunk in response.content.iter_any():
                    for event in parser.feed(chunk):
                        if event.type == "status":
                            yield read(event.data)
        raise Trouble(f"{self._url} ended its stream", _RUNNING)

    async def _ask(self) -> Status:
        with self._troubles():
            async with self._session.get(
                f"{self._url}/status", timeout=self._timeout, allow_redirects=False
            ) as response:
                content = await _content(response)
                if response.status == 200:
                    return read(content)
                answer = f"{self._url} answers {response.status} instead of a status"
                raise Trouble(f"{answer}{_detail(content)}", _RIGHT)

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        """Make whatever goes wrong ours."""
        try:
            yield
        except (Unreadable, sse.TooLarge) as error:
            what = f"what {self._url} says is no status that can be read here"
            raise Trouble(f"{what} ({error})" if str(error) else what, _RIGHT) from None
        except TimeoutError:
            raise Trouble(f"{self._url} says nothing", _RUNNING) from None
        except aiohttp.ClientConnectorError:
            raise Trouble(f"nothing answers at {self._url}", _RUNNING) from None
        except aiohttp.ClientError as error:
            raise Trouble(f"{self._url} broke off ({type(error).__name__})", _RUNNING) from None


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _LARGEST:
            raise Unreadable("it does not end")
    return content


def _detail(content: bytes) -> str:
    """Return the reason that an admin listener gives with a refusal."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    return f" ({said['detail']})" if isinstance(said, dict) and "detail" in said else ""
