"""What crosses the proxy: requests, responses, and their parts, as plain values.

Nothing here decides or touches the world. Header names and values are bytes, in the order and the case
in which they came; bodies are read through the two protocols at the end.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Headers:
    """Hold header fields as they came: order, case and repeats kept."""

    raw: tuple[tuple[bytes, bytes], ...] = ()
    _index: dict[bytes, list[bytes]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.raw)

    def get(self, name: bytes) -> str | None:
        """Return the first value of a field (name in lower case), decoded as Latin-1; None if absent."""
        values = self._named(name)
        return values[0].decode("latin-1") if values else None

    def all(self, name: bytes) -> list[str]:
        """Return every value of a field (name in lower case), in order."""
        return [value.decode("latin-1") for value in self._named(name)]

    def __contains__(self, name: bytes) -> bool:
        return bool(self._named(name))

    def _named(self, name: bytes) -> Sequence[bytes]:
        # A dozen rules ask each head for their fields: it is gone through once, when the first one does.
        if not self._index:
            for key, value in self.raw:
                self._index.setdefault(key.lower(), []).append(value)
        return self._index.get(name, ())


class Body(Protocol):
    """A request body that can be sent more than once."""

    @property
    def size(self) -> int | None:
        """Bytes in all; None when the client sent no body (which is not an empty one)."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Read it from the start."""


class NoBody:
    """The body of a request that has none."""

    size: int | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        return
        yield b""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client, complete: its body has been read and can be replayed.

    `target` is the path and query exactly as on the request line. `arrived` and `deadline` are
    `Clock.now` seconds; no attempt starts after the deadline. `ticket` orders requests by arrival.
    `arrival_url` is where the client reached us; `client` the name of the token that it showed. `caller`
    takes turns with others of the credential; `urgency` is from 0, the most urgent, to 7.
    """

    method: str
    target: str
    headers: Headers
    peer: str
    arrived: float
    deadline: float
    id: str
    body: Body = field(default_factory=NoBody)
    secure: bool = False
    arrival_url: str = ""
    credential: str | None = None
    client: str | None = None
    caller: str = ""
    urgency: int = 3
    version: bytes = b"1.1"
    route: str = "other"
    ticket: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class ResponseBody(Protocol):
    """A response body: read once, and given back whether or not it was read to its end."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Read it. Raises `errors.UpstreamError` when it breaks off."""

    async def close(self) -> None:
        """Give back what it holds; a body not read to its end costs the connection."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A response body that is already here."""

    content: bytes = b""

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.content:
            yield self.content

    async def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Begun:
    """A response body whose beginning is already here; `rest` are the chunks that follow, of `source`."""

    first: bytes
    rest: AsyncIterator[bytes]
    source: ResponseBody

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.first:
            yield self.first
        async for chunk in self.rest:
            yield chunk

    async def close(self) -> None:
        await self.source.close()


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of the upstream: its head, and a body still to be read."""

    status: int
    reason: str
    headers: Headers
    body: ResponseBody = field(default_factory=Bytes)
    version: bytes = b"1.1"
