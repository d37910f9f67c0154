"""Request bodies that can be sent more than once, in bounded memory.

A body of up to `body.memory` bytes stays in memory, as long as all those kept there stay within
`body.total_memory`; any other goes, whole, to a temporary file without a name. File access happens in
threads, so that a slow disk never stops the event loop.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from typing import IO

from proxy import config

_PIECE = 256 * 1024


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
        self._file: IO[bytes] | None = None
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
            self._file = await asyncio.to_thread(_unnamed_file, self._directory)
        await asyncio.to_thread(_write_all, self._file.fileno(), content)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read it from the start."""
        if self._file is None:
            if self._received:
                yield b"".join(self._pending)
            return
        offset = 0
        while piece := await asyncio.to_thread(os.pread, self._file.fileno(), _PIECE, offset):
            offset += len(piece)
            yield piece

    def _forget(self) -> None:
        self._pending.clear()
        self._pending_size = 0
        self._shared.give_back(self._claimed)
        self._claimed = 0

    def close(self) -> None:
        """Free the memory and the disk."""
        self._forget()
        if self._file is not None:
            self._file.close()


def _unnamed_file(directory: str | None) -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0, dir=directory)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
