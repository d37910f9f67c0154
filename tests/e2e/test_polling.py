"""Twenty callers poll the same export: what coalescing saves; and no answer is older than its question."""

import asyncio
import json
import os
import time
from dataclasses import dataclass, field

import pytest

from proxy.sandbox import Rate, SandboxSettings
from proxy.sandbox.api import VERSION_HEADER
from tests.e2e.stack import KEY, Stack, running

CALLERS, WINDOWS = 20, 3
SCALE = float(os.environ.get("POLLING_SCALE", "10"))
"""How many times faster than the real API everything runs: its windows, and the callers' second."""


@dataclass
class Polls:
    """What came of polling for some windows."""

    answers: int = 0
    stale: int = 0
    statuses: set[int] = field(default_factory=set)
    calls: int = 0
    executed: int = 0


async def polled(*, coalesce: bool) -> Polls:
    """Poll through a proxy of its own, in front of an API of its own."""
    rates = {"standard": Rate(100, 60.0), "burst": Rate(20, 1.0)}
    ours = [
        {"name": name, "requests": rate.requests, "per": rate.per / SCALE, "match": {"anonymous": False}}
        for name, rate in rates.items()
    ]
    api = SandboxSettings(limits=rates, time_scale=SCALE, transit=(0.02 / SCALE, 0.2 / SCALE), seed=1)
    coalescing = {"enabled": coalesce, "gather": 0.5 / SCALE}
    async with running(api, limits=ours, coalescing=coalescing) as stack:
        polls, until = Polls(), time.monotonic() + WINDOWS * 60.0 / SCALE
        _, made = await stack.ask("POST", "/api/v1/exports/", json={})
        uid = json.loads(made)["uid"]
        stack.sandbox.ledger.clear()
        await asyncio.gather(
            *(_caller(stack, f"/api/v1/exports/{uid}/", number, until, polls) for number in range(CALLERS))
        )
        done = stack.sandbox.ledger.summary()
        polls.calls = done["requests"]
        polls.executed = done["executed"].get("GET", 0)
        assert not any(done["throttled"].values())
        metrics = await stack.metrics()
        coalesced = sum(
            value for name, value in metrics.items() if name.startswith("avala_proxy_coalesced_total")
        )
        assert coalesced == polls.answers - polls.calls
        return polls


async def _caller(stack: Stack, path: str, number: int, until: float, polls: Polls) -> None:
    """Ask each second, from a moment of one's own in the first one."""
    await asyncio.sleep(number / CALLERS / SCALE)
    while time.monotonic() < until:
        asked = time.monotonic_ns() // 1000
        fields = KEY | {"Avala-Proxy-Client": f"job-{number}", "X-Request-Id": f"{number}-{asked}"}
        async with stack.session.get(stack.url + path, headers=fields) as answer:
            whole = await answer.json()
            polls.statuses.add(answer.status)
            polls.answers += 1
            polls.stale += int(answer.headers[VERSION_HEADER]) < asked or "status" not in whole
        await asyncio.sleep(max(0.0, asked / 1e6 + 1 / SCALE - time.monotonic()))


@pytest.mark.timeout(400)
async def test_polling_the_same_costs_a_fifth_at_most_and_no_answer_is_older_than_its_question() -> None:
    together, alone = await asyncio.gather(polled(coalesce=True), polled(coalesce=False))
    saved = (together.answers / together.calls) / (alone.answers / alone.calls)
    print(
        f"\n{CALLERS} callers, {WINDOWS} windows: {together.calls} calls for {together.answers} answers"
        f" coalesced, {alone.calls} for {alone.answers} alone; {saved:.1f} times fewer calls an answer"
    )
    for polls in (together, alone):
        assert polls.statuses == {200}
        assert polls.stale == 0
        assert polls.executed == polls.calls
    assert alone.calls == alone.answers
    assert saved >= 5
    assert together.answers > 3 * alone.answers, "what is not spent twice is there for others"


async def test_a_write_in_between_is_seen_by_whoever_asks_after_it() -> None:
    """Readers and a writer of one webhook, through a narrow limit: nobody reads what was before it asked."""
    limits = {"standard": Rate(10, 1.0), "burst": Rate(1000, 1.0)}
    ours = [{"name": "standard", "requests": 10, "per": 1.0}]
    async with running(SandboxSettings(limits=limits, transit=(0.0, 0.02), seed=2), limits=ours) as stack:
        hook = {"target_url": "https://example.com/0", "events": ["task.completed"]}
        _, made = await stack.ask("POST", "/api/v1/webhooks/", json=hook)
        path = f"/api/v1/webhooks/{json.loads(made)['uid']}/"
        written, read = 0, list[int]()

        async def writer() -> None:
            nonlocal written
            for number in range(1, 11):
                change = {"target_url": f"https://example.com/{number}"}
                status, _ = await stack.ask("PATCH", path, json=change)
                assert status == 200
                written = number

        async def reader() -> None:
            while written < 10:
                before = written
                status, content = await stack.ask("GET", path)
                assert status == 200
                seen = int(json.loads(content)["target_url"].rpartition("/")[2])
                assert seen >= before, "an answer from before the question"
                read.append(seen)

        await asyncio.gather(writer(), *(reader() for _ in range(15)))
        assert len(read) > 2 * stack.sandbox.ledger.summary()["executed"]["GET"]
