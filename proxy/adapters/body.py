"""Request bodies that can be sent more than once, in bounded memory.

A body of up to `body.memory` bytes stays in memory, as long as all those kept there stay within
`body.total_memory`; any other goes, whole, to a temporary file without a name. File access happens in
threads, so that a slow disk never stops the event loop.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import IO, Any, TypeVar

from proxy import config

_PIECE = 256 * 1024
_T = TypeVar("_T")


class Spools:
    """Make spools that share an amount of memory, so that a long queue of bodies cannot exhaust it."""

    def __init__(self, settings: config.Body) -> None:
        self._settings = settings
        self._left = settings.total_memory

    def new(self) -> "Spool":
        """Return a spool with nothing in it."""
        return Spool(self, self._settings.memory, self._settings.directory)

    def claim(self, size: int) -> bool:
        """Reserve so many bytes of memory, if there are as many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return what was reserved."""
        self._left += size


class Spool:
    """A request body while it arrives, and then each time it is sent."""

    def __init__(self, shared: Spools, memory: int, directory: str | None) -> None:
        self._shared = shared
        self._memory = memory
        self._directory = directory
        self._claimed = 0
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._file: _File | None = None
        self._work: asyncio.Future[Any] | None = None
        self._received = 0

    def __repr__(self) -> str:
        return f"<Spool {self._received} bytes in {'a file' if self._file else 'memory'}>"

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._received

    async def write(self, chunk: bytes) -> None:
        """Append; raises OSError when the disk does not take it."""
        self._pending.append(chunk)
        self._pending_size += len(chunk)
        self._received += len(chunk)
        if self._file is None:
            if self._received <= self._memory and self._shared.claim(len(chunk)):
                self._claimed += len(chunk)
            else:
                await self._flush()
        elif self._pending_size >= _PIECE:
            await self._flush()

    async def finish(self) -> None:
        """Note that the body is complete; raises OSError when the disk does not take it."""
        if self._file is not None:
            await self._flush()

    async def _flush(self) -> None:
        content = b"".join(self._pending)
        self._forget()
        if self._file is None:
            self._file = _File(self._directory)
        await self._in_thread(self._file.write, content)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read it from the start."""
        if self._file is None:
            if self._received:
                yield b"".join(self._pending)
            return
        offset = 0
        while piece := await self._in_thread(self._file.read, offset):
            offset += len(piece)
            yield piece

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Leave the event loop alone; what has begun is not given up, even if nobody waits for it."""
        self._work = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        return await asyncio.shield(self._work)

    def _forget(self) -> None:
        self._pending.clear()
        self._pending_size = 0
        self._shared.give_back(self._claimed)
        self._claimed = 0

    def close(self) -> None:
        """Free the memory, and the disk as soon as no thread is at it.

        Not before: a descriptor's number is soon that of another file, or of somebody's connection, and the
        thread would go on writing there.
        """
        self._forget()
        if self._file is None:
            return
        if self._work is None or self._work.done():
            self._file.close()
        else:
            self._work.add_done_callback(self._file.abandoned)


class _File:
    """A temporary file without a name; its methods may take long, and run in threads."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None

    def write(self, content: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - see `close`
        view = memoryview(content)
        while view:
            view = view[os.write(self._file.fileno(), view) :]

    def read(self, offset: int) -> bytes:
        assert self._file is not None, "it is read only after it was written"
        return os.pread(self._file.fileno(), _PIECE, offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def abandoned(self, work: asyncio.Future[Any]) -> None:
        """Close it after work whose end nobody waited for; whether that failed matters to nobody."""
        work.exception()
        self.close()
