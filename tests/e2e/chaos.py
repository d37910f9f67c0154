"""A TCP connection as bad networks make them: late, and broken off in the middle."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Chaos:
    """Pass bytes on to a port; each piece is late by `delay` seconds (drawn), or breaks everything off."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay = (0.0, 0.0)
        self.resets = 0.0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand between one client and the port."""
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            self._reset(writer)
            return
        self._writers.add(back)
        ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._reset(writer)
            self._reset(back)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if self.delay[1]:
                    await asyncio.sleep(self._chance.uniform(*self.delay))
                if self._chance.random() < self.resets:
                    return
                writer.write(piece)
                await writer.drain()

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        """Close without a word more (RST)."""
        self._writers.discard(writer)
        if (ours := writer.get_extra_info("socket")) is not None and not writer.transport.is_closing():
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def close(self) -> None:
        """Break everything off."""
        for writer in list(self._writers):
            self._reset(writer)


@asynccontextmanager
async def chaos(port: int, seed: int) -> AsyncIterator[Chaos]:
    """Stand before a port; `url` is that of a store there."""
    made = Chaos(port, seed)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.close()
        await asyncio.sleep(0)
