"""Another avala-proxy that runs on this machine, as its admin listener tells of it."""

import asyncio
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from proxy.config_places import Place, collide, parse_place
from proxy.config_values import parse_address

_PATIENCE = 3.0
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Running:
    """What it says of itself: its version, whether it is ready (else why not), and where it listens."""

    version: str
    ready: bool
    reason: str
    places: tuple[Place, ...]

    def __str__(self) -> str:
        state = "ready" if self.ready else f"not ready ({self.reason})"
        return f"a running avala-proxy {self.version}, {state}"

    def listens(self, place: Place) -> bool:
        """Tell whether it is the one that has a place."""
        return any(collide(place, one) for one in self.places)


async def ask(admin: Place) -> Running | None:
    """Ask at an admin address who is there; None if it is no admin listener of an avala-proxy."""
    authority = admin.authority
    try:
        async with asyncio.timeout(_PATIENCE):
            if await _sends_on(authority):
                return None
            async with aiohttp.ClientSession() as session:
                status = await _read(session, f"http://{authority}/status")
                readiness = await _read(session, f"http://{authority}/readyz")
        addresses = tomllib.loads(status["configuration"])["listen"]["addresses"]
        return Running(
            str(status["version"]),
            readiness["ready"] is True,
            str(readiness["reason"]),
            tuple(map(parse_place, addresses)),
        )
    except (OSError, EOFError, aiohttp.ClientError, ValueError, LookupError, TypeError, AttributeError):
        return None


async def _sends_on(authority: str) -> bool:
    """Tell whether an avala-proxy listens there for clients: asked for a page, it would ask the API.

    It refuses `OPTIONS *` by itself, and says so.
    """
    host, port = parse_address(authority)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"OPTIONS * HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    return b"\nproxy-status:" in head.lower()


async def _read(session: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    async with session.get(url, allow_redirects=False) as answer:
        content = b""
        async for piece in answer.content.iter_any():
            content += piece
            if len(content) > _LARGEST:
                raise ValueError("it is no page of ours")
        page: Mapping[str, Any] = json.loads(content)
        return page
