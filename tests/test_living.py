"""What is promised to those who share a key with others, and when limits move, at true scale."""

import asyncio
import statistics

import pytest

from proxy.config import DOCUMENTED_LIMITS, Limit
from proxy.events import LimitMoved
from proxy.sandbox.limits import Rate
from proxy.virtual import run_virtual
from tests.living import Api, Proxy

HALF = 50 / 60
"""Requests a second of others: half of the 100 a minute."""

EARLIER, MINUTES = 120.0, 20
"""Seconds for which others have been at it when we come, and minutes that follow."""


def reserving(standard: int, burst: int) -> tuple[Limit, ...]:
    reserves = {"standard": standard, "burst": burst}
    return tuple(
        limit.model_copy(update={"reserve": reserves.get(limit.name, 0)}) for limit in DOCUMENTED_LIMITS
    )


def beside_others(
    seed: int, limits: tuple[Limit, ...] = DOCUMENTED_LIMITS
) -> tuple[Api, Proxy, dict[str, float]]:
    """Saturate the proxy with 20 callers while others spend half of the budget."""
    api = Api(seed=seed)

    async def main() -> Proxy:
        proxy = Proxy(api, limits=limits, seed=seed)
        others = asyncio.create_task(api.others(HALF, seed))
        await asyncio.sleep(EARLIER)
        await proxy.saturate(20, EARLIER + MINUTES * 60)
        others.cancel()
        return proxy

    proxy = run_virtual(main())
    ours, theirs = api.count("ours", 200), api.count("others", 200, EARLIER)
    figures = {
        "refusals per 100": 100 * api.count("ours", 429) / ours,
        # What was left: what any schedule at all could have got, given what they got.
        "of what was left": ours / (100 * MINUTES - theirs),
        "others refused": api.count("others", 429, EARLIER),
        "refused twice": api.refused_twice(),
    }
    return api, proxy, figures


@pytest.mark.timeout(240)
def test_beside_others_who_spend_half_of_it_the_rest_is_used_and_refusals_are_few() -> None:
    runs = [beside_others(seed) for seed in range(4)]
    for _, _, figures in runs:
        print("\n", {name: round(value, 3) for name, value in figures.items()})
        assert figures["refusals per 100"] <= 3
    assert statistics.mean(figures["of what was left"] for *_, figures in runs) >= 0.95
    assert sum(figures["refused twice"] for *_, figures in runs) == 0
    assert all(set(proxy.outcomes) == {200} for _, proxy, _ in runs), "nobody heard of it"


@pytest.mark.parametrize("seed", range(3))
def test_with_a_reserve_others_are_never_refused(seed: int) -> None:
    _, proxy, figures = beside_others(seed, reserving(20, 4))
    print("\n", figures, proxy.outcomes)
    assert figures["others refused"] == 0
    assert proxy.outcomes[200] >= 10 * MINUTES


def test_a_limit_that_is_cut_costs_no_more_refusals_than_were_under_way() -> None:
    api = Api(seed=1)

    async def main() -> None:
        proxy = Proxy(api)
        load = asyncio.create_task(proxy.saturate(200, 600.0))
        await asyncio.sleep(62.0)  # in the middle of a burst
        under_way = 20 + 20  # what leaves in the two seconds that an answer takes at the most
        api.throttles.resize({"standard": Rate(40, 60.0)})
        await asyncio.sleep(298.0)
        refused = api.count("ours", 429)
        print(f"\nrefused after the cut: {refused}")
        assert 1 <= refused <= under_way
        assert proxy.capacity("standard") == 40
        assert api.count("ours", 200, 300.0) == pytest.approx(40, abs=1), "a window's worth, and all of it"
        api.throttles.resize({"standard": Rate(200, 60.0)})
        await asyncio.sleep(240.0)
        assert api.count("ours", 429) == refused
        assert proxy.capacity("standard") == 200
        assert api.count("ours", 200, 480.0) >= 0.97 * 400, "all of the larger one, within a window"
        assert {event.capacity for event in proxy.events if isinstance(event, LimitMoved)} == {40, 200}
        await load

    run_virtual(main())


def test_a_smaller_plan_is_known_from_the_first_answer_on() -> None:
    api = Api(limits={**Api().limits, "standard": Rate(30, 60.0)})

    async def main() -> None:
        proxy = Proxy(api)
        await proxy.saturate(100, 600.0)
        assert api.count("ours", 429) == 0
        assert api.count("ours", 200) == pytest.approx(300, abs=3)

    run_virtual(main())


def test_what_was_spent_before_a_start_is_found_out_by_one_request() -> None:
    async def main() -> None:
        api = Api()
        spent = Proxy(api)
        await asyncio.gather(*(spent.ask() for _ in range(70)))
        await asyncio.sleep(10.0)
        fresh = Proxy(api)
        await fresh.saturate(50, api.clock.now() + 300.0)
        assert api.count("ours", 429) == 0

    run_virtual(main())
