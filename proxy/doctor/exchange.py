"""One request straight to the API: no queue, no retry, and little patience."""

import asyncio
import math
import secrets

import proxy
from proxy.adapters.upstream import Upstream
from proxy.errors import ErrorClass, UpstreamError
from proxy.messages import Headers, Request, Response

_AGENT = (
    (b"User-Agent", b"avala-proxy-doctor/" + proxy.__version__.encode()),
    (b"Accept", b"application/json"),
)


class Timer:
    """Note when the request begins to leave; `now` is the event loop's time."""

    began = 0.0

    def started(self) -> None:
        """Connecting is over."""
        self.began = asyncio.get_running_loop().time()

    def sent(self) -> None:
        """Its last byte has left, which tells nothing here."""


def request(method: str, target: str) -> Request:
    """Make a request that says who asks, and has no key."""
    return Request(method, target, Headers(_AGENT), "", 0.0, math.inf, secrets.token_hex(16))


async def send(upstream: Upstream, asked: Request, timer: Timer, *, patience: float) -> Response:
    """Send it once and return the head of the answer, connecting included within so many seconds.

    Raises `UpstreamError`.
    """
    try:
        async with asyncio.timeout(patience):
            return await upstream.send(asked, timer)
    except TimeoutError as error:
        detail = f"The API did not answer within {patience:g} s."
        raise UpstreamError(ErrorClass.READ_TIMEOUT, detail, written=True) from error
