"""The API fails, is maintained, changes its limits and serves others: what is seen of it."""

import asyncio
import itertools
from typing import Any

from proxy.sandbox import Rate
from tests.e2e.stack import KEY, Stack, running

QUICK = {"interval": 0.2, "longest_interval": 0.4}
RETRY = {"base": 0.01, "cap": 0.02, "budget": 100.0}
LIST = "/api/v1/datasets/?limit=1"
_numbers = itertools.count()


async def got(stack: Stack, path: str = LIST, **fields: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    url = f"{stack.url}{path}&n={next(_numbers)}"
    async with stack.session.get(url, headers=KEY | fields) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


async def admin(stack: Stack, method: str, path: str) -> tuple[int, Any]:
    async with stack.session.request(method, stack.app.admin_url + path) as answer:
        return answer.status, await answer.json()


async def limit(stack: Stack, name: str = "standard") -> dict[str, Any]:
    _, status = await admin(stack, "GET", "/status")
    (found,) = [one for one in status["state"]["limits"] if one["name"] == name]
    assert isinstance(found, dict)
    return found


async def test_ten_failures_in_a_row_open_it_and_who_will_not_wait_is_told_when_to_come_back() -> None:
    async with running(retry=RETRY, breaker={"interval": 20.0}) as stack:
        stack.sandbox.set_faults({"503": 1.0}, retry_after=None)
        for _ in range(2):
            assert (await got(stack))[0] == 503
        status, content, fields = await got(stack, Prefer="wait=2")
        assert (status, content["detail"]) == (
            503,
            "Service temporarily unavailable. Please try again later.",
        )
        status, content, fields = await got(stack, Prefer="wait=2")
        assert (status, content["code"]) == (503, "proxy_circuit_open")
        assert 15 <= int(fields["Retry-After"]) <= 20
        assert fields["Proxy-Status"] == "avala-proxy; error=destination_unavailable"
        assert stack.sandbox.ledger.summary()["requests"] == 10
        assert await admin(stack, "GET", "/readyz") == (
            503,
            {"ready": False, "reason": "circuit_open: the API fails, and is left alone until it is back"},
        )
        metrics = await stack.metrics()
        assert metrics['avala_proxy_breaker_state{group="upstream",state="open"}'] == 1
        assert metrics['avala_proxy_rejected_total{reason="circuit_open"}'] == 1


async def test_when_it_is_back_those_who_waited_are_answered() -> None:
    async with running(retry=RETRY | {"max_retries": 20}, breaker=QUICK) as stack:
        stack.sandbox.set_faults({"503": 1.0}, retry_after=None)
        asked = asyncio.gather(*(got(stack) for _ in range(15)))
        await asyncio.sleep(2.0)
        probes = stack.sandbox.ledger.summary()["requests"]
        stack.sandbox.set_faults({}, retry_after=None)
        assert {status for status, *_ in await asked} == {200}
        assert probes <= 10 + 15 + 8
        assert [line["event"] for line in stack.lines("breaker_closed")] == ["breaker_closed"]
        assert (await admin(stack, "GET", "/readyz"))[0] == 200


async def test_maintenance_that_is_announced_opens_it_at_once() -> None:
    async with running(retry=RETRY) as stack:
        stack.sandbox.set_faults({"503": 1.0}, retry_after=60.0)
        assert (await got(stack, Prefer="wait=2"))[0] == 503
        status, content, fields = await got(stack, Prefer="wait=2")
        assert (status, content["code"]) == (503, "proxy_circuit_open")
        assert int(fields["Retry-After"]) >= 55
        assert stack.sandbox.ledger.summary()["requests"] == 1


async def test_opened_by_hand_it_holds_requests_until_it_is_closed() -> None:
    async with running() as stack:
        assert (await admin(stack, "POST", "/breakers/upstream/open"))[1]["state"] == "open"
        held = asyncio.create_task(got(stack, Prefer="wait=60"))
        await asyncio.sleep(0.3)
        assert not held.done()
        assert stack.app.state().queued == 1
        assert (await admin(stack, "POST", "/breakers/upstream/close"))[1]["state"] == "closed"
        assert (await held)[0] == 200
        assert [line["group"] for line in stack.lines("breaker_open")] == ["upstream"]


async def test_a_group_that_fails_leaves_the_rest_alone() -> None:
    groups = [{"name": "exports", "paths": ["/api/v1/exports/**"]}]
    async with running(retry=RETRY, breaker={"interval": 60.0, "groups": groups}) as stack:
        fault = {"X-Sandbox-Fault": "500"}
        for _ in range(3):
            await got(stack, "/api/v1/exports/?limit=1", **fault, Prefer="wait=2")
        status, content, _ = await got(stack, "/api/v1/exports/?limit=1", Prefer="wait=2")
        assert (status, content["code"]) == (503, "proxy_circuit_open")
        assert (await got(stack))[0] == 200
        assert (await admin(stack, "GET", "/breakers"))[1] == [
            {"group": "upstream", "state": "closed", "forced": False},
            {"group": "exports", "state": "open", "forced": False},
        ]
        assert (await admin(stack, "GET", "/readyz"))[0] == 200


async def test_limits_move_with_what_the_api_says_and_are_seen() -> None:
    async with running() as stack:
        for size in (100, 40, 200):
            stack.sandbox.set_limits({"standard": Rate(size, 60.0)})
            assert (await got(stack))[0] == 200
            assert (await limit(stack))["capacity"] == size
            metrics = await stack.metrics()
            assert metrics['avala_proxy_limit_capacity{limit="standard"}'] == size
        assert [line["capacity"] for line in stack.lines("limit_moved")] == [40, 200]


async def test_what_others_spend_is_seen() -> None:
    async with running() as stack:
        await got(stack)
        for _ in range(7):
            async with stack.session.get(stack.upstream + LIST, headers=KEY) as answer:
                assert answer.status == 200
        await asyncio.sleep(1.1)  # until nothing of ours can be under way any more
        await got(stack)
        assert ((await limit(stack))["foreign"], (await limit(stack))["remaining"]) == (7, 91)
        metrics = await stack.metrics()
        assert metrics['avala_proxy_foreign_requests_total{limit="standard"}'] == 7


async def test_a_name_that_cannot_be_resolved_is_told_by_readiness_and_costs_no_request() -> None:
    async with running(upstream={"base_url": "http://does-not-exist.invalid"}) as stack:

        async def unresolved() -> bool:
            return (await admin(stack, "GET", "/readyz"))[0] == 503

        async with asyncio.timeout(20):
            while not await unresolved():  # noqa: ASYNC110 - it is looked up in the background
                await asyncio.sleep(0.1)
        _, answer = await admin(stack, "GET", "/readyz")
        assert answer["reason"] == "dns_error: The name does-not-exist.invalid cannot be resolved."
        assert len(stack.lines("upstream_unresolved")) == 1
