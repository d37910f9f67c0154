"""The terminal, while it is ours: another screen, no cursor, keys as they are typed; then as it was before.

The only place that reads the keyboard, changes the terminal or takes signals.
"""

import asyncio
import os
import signal
import termios
import tty
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.live import Live

from proxy.top.frame import Frame
from proxy.top.keyboard import Keys
from proxy.top.news import News

_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """Draw on the terminal of `console`; keys come from the file `keyboard`, if there is one."""

    def __init__(self, console: Console, keyboard: int | None) -> None:
        self._console = console
        self._keyboard = keyboard
        self._modes: list[Any] = []
        # Each frame covers the one before, in one piece: nothing is cleared, so nothing flickers.
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    async def show(self, news: AsyncGenerator[News, None]) -> None:
        """Draw what is new as it comes, until somebody leaves or the terminal has gone."""
        drawing = asyncio.create_task(self._draw(news))
        with self._signals(drawing), self._held(), self._typing(drawing), suppress(asyncio.CancelledError):
            await drawing

    async def _draw(self, news: AsyncGenerator[News, None]) -> None:
        async with aclosing(news):
            async for one in news:
                with self._output():
                    self._live.update(Frame(one), refresh=True)
                if self._console.quiet:
                    return

    def _redraw(self) -> None:
        with self._output():
            self._live.refresh()

    @contextmanager
    def _output(self) -> Iterator[None]:
        """Write, or write nothing any more: who looked has closed the terminal."""
        try:
            yield
        except OSError:
            self._console.quiet = True
            # What is still in buffers must go somewhere when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._console.file.fileno())

    @contextmanager
    def _signals(self, drawing: asyncio.Task[None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = dict.fromkeys(_LEAVE, drawing.cancel)
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        loop.add_signal_handler(signal.SIGWINCH, self._redraw)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        try:
            yield
        finally:
            for number in (*_LEAVE, signal.SIGWINCH, signal.SIGTSTP):
                loop.remove_signal_handler(number)

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def _take(self) -> None:
        if self._keyboard is not None:
            self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)
        with self._output():
            self._live.start(refresh=True)

    def _give_back(self) -> None:
        with self._output():
            self._live.stop()
        if self._keyboard is not None:
            with suppress(termios.error):  # it has gone
                termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._modes)

    def _suspend(self) -> None:
        """Stop, on Ctrl-Z, with the terminal given back; and go on where it was left."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    @contextmanager
    def _typing(self, drawing: asyncio.Task[None]) -> Iterator[None]:
        """Read keys, if there is a keyboard."""
        if self._keyboard is None:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._keyboard, self._type, Keys(drawing.cancel, loop.call_later), drawing)
        try:
            yield
        finally:
            loop.remove_reader(self._keyboard)

    def _type(self, keys: Keys, drawing: asyncio.Task[None]) -> None:
        assert self._keyboard is not None
        data = b""
        with suppress(OSError):
            data = os.read(self._keyboard, 1024)
        if data:
            keys.typed(data)
        else:  # nobody is there any more
            drawing.cancel()
