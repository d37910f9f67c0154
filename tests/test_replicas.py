"""Four replicas before one API, in virtual time: whatever becomes of the store, nothing is refused."""

import asyncio
import math
from collections import Counter

import pytest

from proxy.adapters.redis_ledger import RedisLedger
from proxy.admission import Admission
from proxy.config import Limit, Match, Queue
from proxy.errors import Refusal
from proxy.pacing import Pacing
from proxy.party import Party
from proxy.policy.limits import LimitTable
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import jitter, request
from tests.servers import StoreServer
from tests.stores import VirtualStore, replica

SIZE, PER = 100, 6.0
LIMIT = Limit(name="standard", requests=SIZE, per=PER, match=Match(anonymous=False))
NAMES = ("ra", "rb", "rc", "rd")


class Fleet:
    """Replicas, their callers, and what arrives at the API."""

    def __init__(self, store: VirtualStore) -> None:
        self.store = store
        self.clock = VirtualClock()
        self.table = LimitTable([LIMIT])
        self.arrivals: list[tuple[float, str]] = []
        self.changes: dict[str, list[tuple[float, bool]]] = {}
        self.failures: list[object] = []
        self._tickets = 0
        self._way = jitter(0.005, 0.05, 3)
        self.ledgers: dict[str, RedisLedger] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, me: str, callers: int) -> None:
        self.changes[me] = []
        ledger = replica(self.store, self.table, self.clock, me, changes=self.changes[me])
        admission = Admission(ledger, Pacing([LIMIT]), Queue(size=1000), self.clock)
        self.ledgers[me] = ledger
        self._tasks[me] = [asyncio.create_task(self._tend(ledger))]
        self._tasks[me] += [asyncio.create_task(self._caller(me, admission)) for _ in range(callers)]

    async def _tend(self, ledger: RedisLedger) -> None:
        while True:
            await asyncio.sleep(0.1)
            await ledger.tend()

    async def _caller(self, me: str, admission: Admission) -> None:
        while True:
            await self.ask(me, admission)

    async def ask(self, me: str, admission: Admission) -> None:
        now, self._tickets = self.clock.now(), self._tickets + 1
        made = request(arrived=now, deadline=now + 60.0, ticket=self._tickets)
        try:
            turn = await admission.admit(made, self.table.lanes(made))
        except Refusal as refusal:
            self.failures.append(refusal)
            return
        assert not isinstance(turn, Party)
        turn.started()
        turn.sent()
        await asyncio.sleep(self._way())
        self.arrivals.append((self.clock.now(), me))
        await asyncio.sleep(self._way())
        await turn.answered()
        await turn.end()

    def kill(self, me: str) -> None:
        """End a replica without a word."""
        for task in self._tasks.pop(me):
            task.cancel()
        self.store.cut = lambda name, before=self.store.cut: name == me or before(name)  # type: ignore[misc]

    def refused(self) -> int:
        """Return how many of the API's windows held one too many."""
        times = [at for at, _ in self.arrivals]
        return sum(beyond - first < PER for first, beyond in zip(times, times[SIZE:], strict=False))

    def counts(self, since: float = 0.0, until: float = math.inf) -> Counter[str]:
        """Return how many arrived, by replica."""
        return Counter(me for at, me in self.arrivals if since <= at < until)


def jain(counts: Counter[str]) -> float:
    """Return Jain's index of fairness: 1 if all have the same."""
    values = [counts[name] for name in NAMES]
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def test_four_replicas_spend_one_budget_and_no_more(valkey: StoreServer) -> None:
    async def main() -> Fleet:
        fleet = Fleet(VirtualStore(valkey.url, jitter(0.0005, 0.003, 1)))
        for name in NAMES:
            fleet.start(name, 50)
        await asyncio.sleep(61.0)
        return fleet

    fleet = run_virtual(main())
    assert fleet.refused() == 0
    assert not fleet.failures
    assert len(fleet.arrivals) >= 1000
    assert jain(fleet.counts()) >= 0.98
    assert fleet.store.calls <= 3 * len(fleet.arrivals)
    print(len(fleet.arrivals), jain(fleet.counts()), fleet.store.calls / len(fleet.arrivals))


@pytest.mark.parametrize("trouble", ["outage", "forgets", "jumps", "one_is_cut_off", "one_dies"])
def test_whatever_becomes_of_the_store(valkey: StoreServer, trouble: str) -> None:
    async def main() -> Fleet:
        store = VirtualStore(valkey.url, jitter(0.0005, 0.003, 1))
        fleet = Fleet(store)
        for name in NAMES:
            fleet.start(name, 50)
        await asyncio.sleep(20.0)
        match trouble:
            case "outage":
                store.cut = lambda me: True
                await asyncio.sleep(12.0)
                store.cut = lambda me: False
            case "forgets":
                store.forget()
            case "jumps":
                store.jumped = 3600.0
                await asyncio.sleep(8.0)
                store.jumped = -100.0
            case "one_is_cut_off":
                store.cut = lambda me: me == "ra"
                await asyncio.sleep(5.0)
                store.cut = lambda me: False
            case "one_dies":
                fleet.kill("ra")
        await asyncio.sleep(42.0 - fleet.clock.now())
        return fleet

    fleet = run_virtual(main())
    by_window = [fleet.counts(at, at + PER).total() for at in (6.0, 12.0, 18.0, 24.0, 30.0, 36.0)]
    print(
        by_window,
        [fleet.counts(at, at + PER) for at in (24.0, 30.0)],
        fleet.changes,
        fleet.store.calls / len(fleet.arrivals),
    )
    assert fleet.refused() == 0
    assert not fleet.failures
    assert by_window[-1] >= 0.97 * SIZE
