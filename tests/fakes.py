"""Stand-ins for the world, shared by all tests: an upstream with the API's throttle, and makers of values."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from proxy.adapters.body import Spool, Spools
from proxy.config import Body, Limit, Match
from proxy.errors import ErrorClass, UpstreamError
from proxy.forwarder import Progress
from proxy.messages import Bytes, Headers, Request, Response


def headers(**fields: str) -> Headers:
    """Make header fields; underscores stand for hyphens."""
    return Headers(
        tuple((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items())
    )


def request(
    method: str = "GET",
    target: str = "/api/v1/datasets/",
    *,
    credential: str | None = "team",
    ticket: int = 0,
    arrived: float = 0.0,
    deadline: float = 1e9,
    fields: Headers | None = None,
    caller: str = "192.0.2.1",
    urgency: int = 3,
) -> Request:
    """Make a request of a client with a key."""
    return Request(
        method=method,
        target=target,
        headers=fields or Headers(),
        peer="192.0.2.1",
        arrived=arrived,
        deadline=deadline,
        id=f"request-{ticket}",
        credential=credential,
        caller=caller,
        urgency=urgency,
        route="/api/v1/datasets/",
        ticket=ticket,
    )


def response(status: int = 200, content: bytes = b"{}", **fields: str) -> Response:
    """Make a small answer of the upstream."""
    sized = {"content_length": str(len(content)), **fields}
    return Response(status, "", headers(**sized), Bytes(content))


STANDARD = Limit(name="standard", requests=5, per=6.0, match=Match(anonymous=False))
BURST = Limit(name="burst", requests=2, per=1.0, match=Match(anonymous=False))
INFERENCE = Limit(name="inference", requests=2, per=6.0, match=Match(paths=("/api/v1/inference/**",)))
UPLOADS = Limit(name="uploads", concurrent=2, match=Match(paths=("/api/v1/uploads/",)))


@dataclass
class ThrottledUpstream:
    """An upstream that counts on arrival, in the sliding windows of the API, and takes its time.

    `up`, `work` and `down` draw seconds: until arrival, until the answer, until it is back. `script`
    answers instead, attempt by attempt, where it has something to say.
    """

    limits: Sequence[Limit] = ()
    up: Callable[[], float] = lambda: 0.0
    work: Callable[[], float] = lambda: 0.0
    down: Callable[[], float] = lambda: 0.0
    script: list[Response | UpstreamError] = field(default_factory=list)
    arrivals: list[tuple[float, Request]] = field(default_factory=list)
    refused: int = 0
    under_way: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)

    async def send(self, request: Request, progress: Progress) -> Response:
        outcome = self.script.pop(0) if self.script else response()
        if isinstance(outcome, UpstreamError) and not outcome.written:
            raise outcome
        progress.started()
        progress.sent()
        await asyncio.sleep(self.up())
        self._count(request)
        path = request.path
        self.under_way[path] += 1
        self.peak[path] = max(self.peak[path], self.under_way[path])
        try:
            await asyncio.sleep(self.work())
        finally:
            self.under_way[path] -= 1
        await asyncio.sleep(self.down())
        if isinstance(outcome, UpstreamError):
            raise outcome
        return outcome

    def _count(self, request: Request) -> None:
        now = asyncio.get_running_loop().time()
        self.arrivals.append((now, request))
        for limit in self.limits:
            if limit.per is not None and applies(limit, request):
                since = now - limit.per
                counted = [at for at, other in self.arrivals if at > since and applies(limit, other)]
                self.refused += len(counted) > limit.size


def applies(limit: Limit, request: Request) -> bool:
    """Tell whether one of the limits above counts a request: written anew, so as not to repeat a mistake."""
    prefix = limit.match.paths[0].removesuffix("**") if limit.match.paths else "/"
    return request.path.startswith(prefix)


def jitter(low: float, high: float, seed: int) -> Callable[[], float]:
    """Draw seconds uniformly."""
    source = random.Random(seed)
    return lambda: source.uniform(low, high)


def spool(memory: int, directory: str | None = None, *, total: int = 10_000_000) -> Spool:
    """Make an empty request body that keeps so many bytes in memory."""
    return Spools(Body(memory=memory, directory=directory, total_memory=total)).new()


class BrokenBody:
    """A response body that breaks off after its first chunk."""

    def __init__(self, first: bytes = b"{") -> None:
        self._first = first
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._first
        raise UpstreamError(ErrorClass.RESPONSE_INCOMPLETE, "The API's answer broke off.", written=True)

    async def close(self) -> None:
        self.closed = True


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about; pytest's timeout ends it when they don't."""
    while not condition():  # noqa: ASYNC110 - what is watched is the program's own state, not an event
        await asyncio.sleep(0.005)
