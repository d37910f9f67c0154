"""Several replicas before one API, in virtual time, with callers and all."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence

from proxy.admission import Admission
from proxy.config import Limit, Match, Queue
from proxy.errors import Refusal
from proxy.pacing import Pacing
from proxy.party import Party
from proxy.policy.limits import LimitTable
from proxy.turn import Turn
from proxy.virtual import VirtualClock
from tests.fakes import jitter, request
from tests.stores import VirtualStore, replica

SIZE, PER = 100, 6.0
LIMIT = Limit(name="standard", requests=SIZE, per=PER, match=Match(anonymous=False))
_TEND = 0.1


class Sidecar:
    """One replica, and what its clients do; all send the same credential."""

    def __init__(self, fleet: "Fleet", me: str, credential: str) -> None:
        self.me = me
        self.changes: list[tuple[float, bool]] = []
        self.ledger = replica(
            fleet.store, fleet.table, fleet.clock, me, assumed=fleet.assumed, changes=self.changes
        )
        self._fleet = fleet
        self._credential = credential
        self._admission = Admission(self.ledger, Pacing(fleet.limits), Queue(size=1000), fleet.clock)
        self._tasks: set[asyncio.Task[object]] = set()
        self.does(self._tend())

    def does(self, what: Coroutine[None, None, object]) -> None:
        """Let something go on until it ends, or the replica does."""
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND)
            await self.ledger.tend()

    async def ask_always(self) -> None:
        """Always have one request waiting."""
        while True:
            await self.ask()

    async def admitted(self) -> Turn:
        """Wait until one request may go. Raises Refusal."""
        fleet = self._fleet
        now = fleet.clock.now()
        made = request(
            arrived=now, deadline=now + fleet.patience, credential=self._credential, ticket=fleet.ticket()
        )
        turn = await self._admission.admit(made, fleet.table.lanes(made))
        assert not isinstance(turn, Party)
        fleet.waits.append(fleet.clock.now() - now)
        return turn

    async def ask(self) -> None:
        """Have one request answered."""
        fleet = self._fleet
        try:
            turn = await self.admitted()
        except Refusal as refusal:
            fleet.failures.append(refusal)
            return
        turn.started()
        turn.sent()
        await asyncio.sleep(fleet.way())
        fleet.arrivals.append((fleet.clock.now(), self.me, self._credential))
        await asyncio.sleep(fleet.way())
        await turn.answered()
        await turn.end()

    def end(self) -> None:
        """Stop, without a word."""
        for task in self._tasks:
            task.cancel()


class Fleet:
    """Replicas, their callers, and what arrives at the API; they suppose that there are `assumed` of them."""

    def __init__(
        self,
        store: VirtualStore,
        limits: Sequence[Limit] = (LIMIT,),
        *,
        assumed: int = 4,
        patience: float = 60.0,
    ) -> None:
        self.store = store
        self.limits = limits
        self.assumed = assumed
        self.patience = patience
        self.clock = VirtualClock()
        self.table = LimitTable(limits)
        self.way = jitter(0.005, 0.05, 3)
        self.arrivals: list[tuple[float, str, str]] = []
        self.failures: list[object] = []
        self.waits: list[float] = []
        self.sidecars: dict[str, Sidecar] = {}
        self._tickets = 0

    def ticket(self) -> int:
        """Return the number of the next request."""
        self._tickets += 1
        return self._tickets

    def start(self, me: str, callers: int = 0, *, credential: str = "team") -> Sidecar:
        """Start a replica, with so many callers that always have a request waiting."""
        sidecar = self.sidecars[me] = Sidecar(self, me, credential)
        for _ in range(callers):
            sidecar.does(sidecar.ask_always())
        return sidecar

    def kill(self, me: str) -> None:
        """End a replica without a word."""
        self.sidecars[me].end()
        self.store.cut = lambda name, before=self.store.cut: name == me or before(name)  # type: ignore[misc]

    def refused(self, size: int = SIZE, per: float = PER) -> int:
        """Return how many requests found a window full that holds `size` in `per` seconds."""
        by_credential: dict[str, list[float]] = {}
        for at, _, credential in self.arrivals:
            by_credential.setdefault(credential, []).append(at)
        return sum(
            beyond - first < per
            for times in by_credential.values()
            for first, beyond in zip(times, times[size:], strict=False)
        )

    def slowest(self, since: float, size: int = SIZE) -> float:
        """Return how long (seconds) a window's worth of requests took at the most, from a time on."""
        return slowest([at for at, *_ in self.arrivals if at >= since], size)

    def counts(self, since: float = 0.0, until: float = math.inf) -> Counter[str]:
        """Return how many arrived, by replica."""
        return Counter(me for at, me, _ in self.arrivals if since <= at < until)


def slowest(times: Sequence[float], size: int) -> float:
    """Return how long so many requests took at the most, of those that arrived at these times."""
    return max(beyond - first for first, beyond in zip(times, times[size:], strict=False))


def jain(counts: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 if all have the same."""
    return float(sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts)))


TROUBLES = ("kill", "restart", "freeze", "late", "resets")


async def trouble(kind: str, fleet: Fleet, names: list[str], chance: random.Random) -> None:
    """Have something go wrong, and end; one that is killed has another name when it is back."""
    store = fleet.store
    near: Callable[[], float] = store.way
    match kind:
        case "kill":
            place = chance.randrange(len(names))
            fleet.kill(names[place])
            await asyncio.sleep(chance.uniform(0.5, 2.5))
            names[place] = f"{names[place]}+"
            fleet.start(names[place], 50)
        case "restart":
            store.go_away()
            await asyncio.sleep(chance.uniform(0.0, 4.0))
            store.forget()
        case "freeze":
            store.thawed.clear()
            await asyncio.sleep(5.0)
            store.thawed.set()
        case "late":
            most = chance.choice([0.1, 0.4])
            store.way = lambda: chance.uniform(0.0, most)
            await asyncio.sleep(4.0)
            store.way = near
        case "resets":
            store.breaks = lambda: chance.random() < 0.3
            await asyncio.sleep(4.0)
            store.breaks = lambda: False


async def rounds_of_trouble(url: str, seed: int) -> tuple[Fleet, float]:
    """Let four saturated replicas through ten rounds, and two windows more; return when those begin."""
    chance = random.Random(seed)
    rounds = [*TROUBLES, *chance.choices(TROUBLES, k=5)]
    chance.shuffle(rounds)
    fleet = Fleet(VirtualStore(url, jitter(0.0005, 0.003, seed)))
    names = ["ra", "rb", "rc", "rd"]
    for name in names:
        fleet.start(name, 50)
    await asyncio.sleep(3.0)
    for kind in rounds:
        await trouble(kind, fleet, names, chance)
        await asyncio.sleep(1.0)
    over = fleet.clock.now() + PER
    await asyncio.sleep(3 * PER)
    return fleet, over
