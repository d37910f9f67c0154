"""What is promised when the API fails: it is left alone, nobody is lost, and retries have a budget."""

import asyncio
import random
from collections import Counter

import pytest

from proxy.config import Breaker, Retry
from proxy.errors import ErrorClass, UpstreamError
from proxy.events import RetryScheduled, RetryStopped
from proxy.messages import Request, Response
from proxy.virtual import run_virtual
from tests.fakes import response
from tests.living import Api, Proxy, works

RATE = 80 / 60
"""Requests a second that clients send: less than the limit, so that a line that has formed gets shorter."""

BEGIN, PHASE = 120.0, 200.0
END = BEGIN + 3 * PHASE
HEAD_TIMEOUT = 120.0
DRAIN = 500.0
RULES = Breaker()


class Outage:
    """Ten minutes: at first all answers are 503, then there are none, then nobody can connect."""

    def __init__(self) -> None:
        self.api = Api(operation=self.answer, connects=self.connect)

    @property
    def now(self) -> float:
        return self.api.clock.now()

    async def answer(self, made: Request) -> Response:
        if BEGIN <= self.now < BEGIN + PHASE:
            return response(503)
        if BEGIN + PHASE <= self.now < BEGIN + 2 * PHASE:
            await asyncio.sleep(HEAD_TIMEOUT)
            raise UpstreamError(ErrorClass.READ_TIMEOUT, "The API did not answer in time.", written=True)
        return await works(made)

    def connect(self) -> None:
        if BEGIN + 2 * PHASE <= self.now < END:
            raise UpstreamError(ErrorClass.CONNECTION_REFUSED, "It does not accept.", written=False)


def test_an_outage_of_ten_minutes_costs_few_calls_and_nobody_who_has_the_time() -> None:
    outage, lost = Outage(), list[tuple[float, float, object]]()
    finished = list[float]()

    async def main() -> Proxy:
        proxy = Proxy(outage.api)
        chance = random.Random(1)

        async def client() -> None:
            came, patience = outage.now, chance.choice([5.0, 60.0, 300.0, 900.0])
            outcome = await proxy.ask(patience, f"/api/v1/datasets/?n={came}")
            if outcome == 200:
                finished.append(outage.now)
            else:
                lost.append((came, came + patience, outcome))

        tasks = []
        while outage.now < END + DRAIN:
            await asyncio.sleep(chance.expovariate(RATE))
            tasks.append(asyncio.create_task(client()))
        await asyncio.gather(*tasks)
        return proxy

    proxy = run_virtual(main())
    tried = [at for at in outage.api.tried if BEGIN <= at < END]
    normal = RATE * (END - BEGIN)
    recovered = min(at for at in finished if at > END)
    print(f"\ntried {len(tried)} of {normal:.0f} in the outage; recovered after {recovered - END:.1f} s")
    print(Counter(outcome for *_, outcome in lost), proxy.changes[:3], proxy.changes[-2:])
    assert len(tried) <= 0.05 * normal
    assert recovered - END <= 2 * RULES.longest_interval
    # Nobody is lost whose deadline lies beyond the outage and the line that has formed in it.
    assert [one for one in lost if one[1] > END + DRAIN] == []
    assert proxy.changes[-1][1] == "closed"


@pytest.mark.parametrize("budget", [0.2, 100.0], ids=["with the budget", "without it"])
def test_retries_of_an_hour_of_random_failures_stay_within_their_budget(budget: float) -> None:
    chance = random.Random(2)

    async def answer(made: Request) -> Response:
        return response(503) if chance.random() < 0.3 else await works(made)

    async def main() -> Proxy:
        proxy = Proxy(Api(operation=answer), retry=Retry(budget=budget))
        tasks = []
        while proxy.clock.now() < 3600:
            await asyncio.sleep(1.0)
            tasks.append(asyncio.create_task(proxy.ask()))
        await asyncio.gather(*tasks)
        return proxy

    proxy = run_virtual(main())
    requests, retries = sum(proxy.outcomes.values()), proxy.seen(RetryScheduled)
    stopped = Counter(event.reason for event in proxy.events if isinstance(event, RetryStopped))
    print(f"\n{requests} requests, {retries} retries, {dict(proxy.outcomes)}, stopped {dict(stopped)}")
    share = retries / requests
    if budget == 0.2:
        assert share <= 0.2
        assert stopped["retry_budget"] > 0
    else:
        assert share > 0.3
        assert stopped["retry_budget"] == 0
