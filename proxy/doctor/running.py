"""Another avala-proxy that runs on this machine, as its admin listener tells of it."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from proxy.config_places import Place, collide, parse_place

_PATIENCE = aiohttp.ClientTimeout(total=2.0)
_LARGEST = 2**20
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to ask what listens everywhere."""


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
    """Ask at an admin address who is there; None if it is no avala-proxy."""
    host = _ANY.get(admin.host, admin.host)
    url = f"http://[{host}]:{admin.port}" if ":" in host else f"http://{host}:{admin.port}"
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
            status, readiness = [await _read(session, f"{url}/{page}") for page in ("status", "readyz")]
        addresses = tomllib.loads(status["configuration"])["listen"]["addresses"]
        return Running(
            str(status["version"]),
            readiness["ready"] is True,
            str(readiness["reason"]),
            tuple(map(parse_place, addresses)),
        )
    except (OSError, aiohttp.ClientError, ValueError, LookupError, TypeError, AttributeError):
        return None


async def _read(session: aiohttp.ClientSession, url: str) -> Mapping[str, Any]:
    async with session.get(url, allow_redirects=False) as answer:
        content = b""
        async for piece in answer.content.iter_any():
            content += piece
            if len(content) > _LARGEST:
                raise ValueError("it is no page of ours")
        page: Mapping[str, Any] = json.loads(content)
        return page
