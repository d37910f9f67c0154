"""A terminal that a command runs in, as a pseudo-terminal: what it shows, and keys to be typed."""

import asyncio
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tests.e2e.programs import environment
from tests.fakes import until

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"

# The command becomes the foreground of the terminal, so that its keys make signals.
_LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "proxy", *sys.argv[1:]])
"""


class Terminal:
    """One terminal, and the command that runs in it; `sent` is all that the command wrote."""

    def __init__(self, ours: int, theirs: int, process: asyncio.subprocess.Process) -> None:
        self.sent = b""
        self.process = process
        self._ours = ours
        self._theirs = theirs
        self._modes = termios.tcgetattr(theirs)
        asyncio.get_running_loop().add_reader(ours, self._read)

    def _read(self) -> None:
        try:
            self.sent += os.read(self._ours, 65536)
        except OSError:  # it has been closed on the other side
            asyncio.get_running_loop().remove_reader(self._ours)

    @property
    def screen(self) -> str:
        """What is to be seen: each frame covers the one before."""
        frame = self.sent.rpartition(b"\x1b[H")[2]
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame.decode(errors="replace"))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what the command does; not all of it is written."""
        async with asyncio.timeout(15):
            await until(true)

    async def shows(self, *texts: str) -> None:
        """Wait until all of this is to be seen at once."""
        try:
            await self.until(lambda: all(text in self.screen for text in texts))
        except TimeoutError:
            raise AssertionError(f"{texts} not in:\n{self.screen}") from None

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._ours, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, of which the foreground is told by a signal."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """Close the terminal, as a window is closed."""
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)
        self._ours = self._theirs = -1

    async def ended(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        async with asyncio.timeout(15):
            return await self.process.wait()

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was: the usual screen, a cursor, lines and echo."""
        return (
            self.sent.rfind(LEAVE) > self.sent.rfind(ENTER)
            and self.sent.rfind(SHOW) > self.sent.rfind(HIDE)
            and termios.tcgetattr(self._theirs) == self._modes
        )

    async def close(self) -> None:
        """Let nothing run on."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        if self._ours >= 0:
            self.hang_up()


@asynccontextmanager
async def terminal(
    *arguments: str, columns: int = 80, lines: int = 24, keyboard: bool = True, **variables: str
) -> AsyncIterator[Terminal]:
    """Run `avala-proxy` in a terminal of this size, which it is told is an xterm.

    Without a `keyboard` it is only the output, and none of what it can do besides: no keys, no signals.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    ignored = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    inherited = {name: value for name, value in environment(traced=True).items() if name not in ignored}
    start = ("-c", _LAUNCH) if keyboard else ("-m", "proxy")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*start, *arguments),
        stdin=theirs if keyboard else asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=inherited | {"TERM": "xterm-256color"} | variables,
        start_new_session=True,
    )
    one = Terminal(ours, theirs, process)
    try:
        yield one
    finally:
        await one.close()
