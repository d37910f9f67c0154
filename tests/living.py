"""The API's throttles in virtual time, others who use the same key, and the proxy before both.

The throttles are the sandbox's own, so what refuses here is what refuses there.
"""

import asyncio
import itertools
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from proxy.account import Account
from proxy.adapters.guard import Guard
from proxy.adapters.local_ledger import LocalLedger
from proxy.admission import Admission
from proxy.coalescing import Coalescing as Together
from proxy.config import DOCUMENTED_LIMITS, Breaker, Coalescing, Limit, Queue, Retry
from proxy.errors import Refusal
from proxy.events import Event, Events
from proxy.forwarder import Forwarder, Progress
from proxy.messages import Bytes, Headers, Request, Response
from proxy.pacing import Pacing
from proxy.policy.alike import Alike
from proxy.policy.groups import Groups
from proxy.policy.limits import LimitTable
from proxy.sandbox.errors import Throttled
from proxy.sandbox.limits import DOCUMENTED_LIMITS as API_LIMITS
from proxy.sandbox.limits import Limit as ApiLimit
from proxy.sandbox.throttle import Throttles
from proxy.virtual import VirtualClock
from tests.fakes import jitter, request, response

Operation = Callable[[Request], Awaitable[Response]]


async def works(made: Request) -> Response:
    """Do what is asked."""
    return response()


@dataclass(frozen=True)
class Call:
    """One call that reached the API: when, of whom, which one, and its status (None: not known yet)."""

    at: float
    whose: str
    id: str
    status: int | None


@dataclass
class Api:
    """Count on arrival as the API does, refuse, and tell what is left; what passes is done by `operation`."""

    limits: Mapping[str, ApiLimit] = field(default_factory=lambda: dict(API_LIMITS))
    seed: int = 0
    operation: Operation = works
    connects: Callable[[], None] = lambda: None
    """Raises what keeps a connection from being made."""

    def __post_init__(self) -> None:
        self.throttles = Throttles(self.limits, lambda scope, count: None)
        self.clock = VirtualClock()
        self.calls: list[Call] = []
        self.tried: list[float] = []
        """When the proxy tried to connect."""
        self._transit = jitter(0.01, 0.04, self.seed)
        self._work = jitter(0.02, 0.1, self.seed + 1)

    def ask(self, whose: str, made: Request) -> tuple[int, dict[str, str]]:
        """Count a request, or refuse it; return its status and what is told of limits."""
        now, user = self.clock.now(), made.credential or ""
        scopes = ["standard", "burst", *(["inference"] if "inference" in made.path else [])]
        status, told, fields = 200, "standard", dict[str, str]()
        try:
            self.throttles.enter(dict.fromkeys(scopes, user), now).release()
        except Throttled as refused:
            status, told = 429, refused.scope
            if (wait := refused.reply.headers.get("Retry-After")) is not None:
                fields["Retry-After"] = wait
        window = self.throttles.window(told, user, now)
        fields |= {
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.clock.wall() + window.resets_in)),
        }
        self.calls.append(Call(now, whose, made.id, status))
        return status, fields

    async def send(self, made: Request, progress: Progress) -> Response:
        """Answer the proxy."""
        self.tried.append(self.clock.now())
        self.connects()
        progress.started()
        progress.sent()
        await asyncio.sleep(self._transit())
        status, fields = self.ask("ours", made)
        told = tuple((name.encode(), value.encode()) for name, value in fields.items())
        if status == 429:
            answer = Response(429, "", Headers(told), Bytes(b'{"detail":"Request was throttled."}'))
        else:
            await asyncio.sleep(self._work())
            done = await self.operation(made)
            answer = Response(done.status, "", Headers((*told, *done.headers)), done.body)
        await asyncio.sleep(self._transit())
        return answer

    def count(self, whose: str, status: int, since: float = 0.0) -> int:
        """Return how many calls of somebody got this status."""
        return sum((one.whose, one.status) == (whose, status) and one.at >= since for one in self.calls)

    def refused_twice(self) -> int:
        """Return how many of our requests were refused more than once."""
        refusals = Counter(one.id for one in self.calls if (one.whose, one.status) == ("ours", 429))
        return sum(count > 1 for count in refusals.values())

    async def others(self, rate: float, seed: int) -> None:
        """Let others ask directly, at random, so many times a second."""
        chance = random.Random(seed)
        while True:
            await asyncio.sleep(chance.expovariate(rate))
            self.ask("others", request())


class Proxy:
    """The inside of the proxy, before an API."""

    def __init__(
        self,
        api: Api,
        *,
        limits: tuple[Limit, ...] = DOCUMENTED_LIMITS,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = clock = VirtualClock()
        self.events: list[Event] = []
        self.changes: list[tuple[float, str]] = []
        self.outcomes: Counter[object] = Counter()
        retry = retry or Retry()
        table = LimitTable(limits)
        self.ledger = LocalLedger(table, clock, transit=1.0, clock_drift=0.0005, probe=True)
        self.groups = Groups(breaker or Breaker(), retry)
        self.admission = Admission(
            Guard(self.ledger, self.groups, clock, self._changed),
            Pacing(limits),
            Queue(size=100_000),
            clock,
        )
        off = Coalescing(enabled=False)
        self.forwarder = Forwarder(
            self.admission,
            api,
            table,
            self.groups,
            Together(Alike(off, forwarded=False), off.gather, clock),
            retry=retry,
            replay=1000,
            clock=clock,
            chance=random.Random(seed).random,
            events=Events(self.events.append),
        )
        self._tickets = itertools.count(1)

    def _changed(self, _group: str, state: str) -> None:
        self.changes.append((self.clock.now(), state))
        self.admission.review()

    def seen(self, kind: type) -> int:
        """Return how many events of a kind there were."""
        return sum(isinstance(event, kind) for event in self.events)

    def capacity(self, limit: str) -> int:
        """Return the size of a limit, as the proxy knows it."""
        (capacity,) = {one.capacity for one in self.ledger.lanes() if one.lane.limit == limit}
        return capacity

    async def ask(self, patience: float = 300.0, target: str = "/api/v1/datasets/") -> object:
        """Send one request of a client; return the status, or the class of a refusal."""
        now = self.clock.now()
        made = request(target=target, ticket=next(self._tickets), arrived=now, deadline=now + patience)
        outcome: object
        try:
            async with self.forwarder.exchange(made, Account()) as answer:
                outcome = answer.status
        except Refusal as refusal:
            outcome = str(refusal.error_class)
        self.outcomes[outcome] += 1
        return outcome

    async def saturate(self, callers: int, until: float) -> None:
        """Let callers send one request after the other until a time, and leave then."""

        async def caller() -> None:
            while True:
                if await self.ask() != 200:
                    await asyncio.sleep(1.0)

        tasks = [asyncio.create_task(caller()) for _ in range(callers)]
        await asyncio.sleep(until - self.clock.now())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
