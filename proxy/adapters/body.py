"""Request bodies that can be sent more than once, in bounded memory.

The first `memory` bytes stay in memory; a longer body goes, whole, to a temporary file without a name.
File access happens in threads, so that a slow disk never stops the event loop.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from typing import IO

_PIECE = 256 * 1024


class Spool:
    """A request body while it arrives, and then each time it is sent."""

    def __init__(self, memory: int, directory: str | None) -> None:
        self._memory = memory
        self._directory = directory
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
        if self._received > self._memory and (self._file is None or self._pending_size >= _PIECE):
            await self._flush()

    async def finish(self) -> None:
        """Note that the body is complete; raises OSError when the disk does not take it."""
        if self._file is not None:
            await self._flush()

    async def _flush(self) -> None:
        content = b"".join(self._pending)
        self._pending.clear()
        self._pending_size = 0
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

    def close(self) -> None:
        """Free the memory and the disk."""
        self._pending.clear()
        if self._file is not None:
            self._file.close()


def _unnamed_file(directory: str | None) -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0, dir=directory)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
