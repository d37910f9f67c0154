"""Put together what watches a proxy: the only place here that asks what the output is, and makes a client."""

import sys
from typing import TextIO

import aiohttp
from rich.console import Console

from proxy.clock import LoopClock
from proxy.top.feed import Feed
from proxy.top.frame import Frame
from proxy.top.terminal import Terminal


async def run(url: str, *, once: bool) -> None:
    """Show the proxy whose admin listener is at `url`: until somebody leaves, or else once, as plain text.

    What is no terminal, or a terminal that can't be redrawn, is shown it once. Raises `feed.Trouble` where
    there is nothing to be shown.
    """
    async with aiohttp.ClientSession() as session:
        feed = Feed(session, url, LoopClock())
        screen = Console(force_terminal=True)
        if once or not _is_terminal(sys.stdout) or screen.is_dumb_terminal:
            frame = Frame(await feed.once(), whole=True)
            Console(force_terminal=False, color_system=None).print(frame)
        else:
            keyboard = sys.stdin.fileno() if _is_terminal(sys.stdin) else None
            await Terminal(screen, keyboard).show(feed.news())


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
