"""A real Prometheus beside a proxy at work, with what is shipped."""

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy.sandbox import Rate, SandboxSettings
from tests.deploy.programs import Prometheus, prometheus, promtool
from tests.deploy.promql import metrics_of, metrics_of_the_page
from tests.deploy.shipped import rules, shown
from tests.e2e.stack import KEY, Stack, running

LIST = "/api/v1/datasets/?limit=1"
QUICK = {"base": 0.01, "cap": 0.02, "budget": 100.0}
MAY_BE_EMPTY = {
    "Alerts",  # none has to fire
    "annotation Breaker",  # it does not open
    "Spent by others",  # shown only where there is something
    "Spent by others a minute",
    "Failed calls to the store a minute",  # there is no store
    "Would have waited, p95",  # it does not observe
    "Would have been refused a minute",
}
"""Places that have nothing to show of a proxy alone and in good health."""

_numbers = itertools.count()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110 - another process decides it
            await asyncio.sleep(0.2)


async def ask(stack: Stack, fault: str = "", *, method: str = "GET", body: bytes | None = None) -> int:
    """Ask for something that nobody else asks for."""
    fields = {"X-Sandbox-Fault": fault, "X-Sandbox-Key": str(next(_numbers))} if fault else {}
    path = f"{LIST}&n={next(_numbers)}"
    status, _ = await stack.ask(method, path, fields=fields, data=body)
    return status


async def mixed_traffic(stack: Stack) -> None:
    """Send what ends well, what is tried again, and what fails by everybody's fault."""
    await asyncio.gather(
        *(stack.ask("GET", LIST) for _ in range(5)),  # some of which go as one
        *(
            ask(stack, fault)
            for fault in ("404", "500;times=1", "reset;times=1", "429;times=1;retry-after=1")
        ),
        ask(stack, "500", method="POST"),
        ask(stack, method="POST", body=b"x" * 2000),
    )


def admin(stack: Stack) -> str:
    return stack.app.admin_url.removeprefix("http://")


async def empty(server: Prometheus) -> set[str]:
    """Return the places of the dashboard with an expression that comes to nothing."""
    known = metrics_of_the_page() | {"ALERTS"}
    return {
        one.place for one in shown() if metrics_of(one.text) <= known and not await server.query(one.text)
    }


async def test_it_scrapes_the_proxy_evaluates_the_rules_and_fills_the_dashboard(tmp_path: Path) -> None:
    api = SandboxSettings(limits={"standard": Rate(1000, 60.0)})

    async def scraped() -> bool:
        return [one["health"] for one in await server.targets()] == ["up"]

    async def evaluated() -> bool:
        return all(rule["health"] == "ok" for rule in await server.rules())

    async def filled() -> bool:
        await mixed_traffic(stack)
        return await empty(server) <= MAY_BE_EMPTY

    async with (
        running(api, retry=QUICK, body={"max_size": 1000}, queue={"interim": {"interval": 0.1}}) as stack,
        prometheus(tmp_path, admin(stack)) as server,
    ):
        await until(scraped)
        await until(evaluated)
        assert len(await server.rules()) == len(rules("rules.yml") + rules("alerts.yml"))
        await until(filled)


def in_seconds(text: str) -> str:
    """Let each minute of the rules be a second."""
    return re.sub(r"\b(\d+)m\b", r"\1s", text)


async def test_an_alert_fires_while_the_api_is_left_alone_and_ends_when_it_is_back(tmp_path: Path) -> None:
    async def fires() -> bool:
        return "AvalaProxyBreakerOpen" in await server.firing()

    async def is_over() -> bool:
        return "AvalaProxyBreakerOpen" not in await server.firing()

    async with (
        running(retry={"max_retries": 0}, breaker={"interval": 0.2, "longest_interval": 0.4}) as stack,
        prometheus(tmp_path, admin(stack), in_seconds) as server,
    ):
        stack.sandbox.set_faults({"503": 1.0})
        while not stack.lines("breaker_open"):
            assert await ask(stack) == 503
        await until(fires)
        said = (await server.firing())["AvalaProxyBreakerOpen"]
        assert said["labels"]["severity"] == "critical"
        assert said["annotations"]["summary"] == "avala-proxy leaves the API alone (upstream)."
        stack.sandbox.set_faults({})
        assert await ask(stack) == 200
        await until(is_over)


async def test_the_page_is_written_as_prometheus_would_have_it() -> None:
    async with running(retry=QUICK) as stack:
        for fault in ("", "404", "500;times=1"):
            await ask(stack, fault)
        async with stack.session.get(f"{stack.app.admin_url}/metrics", headers=KEY) as answer:
            page = await answer.text()
    assert await asyncio.to_thread(promtool, "check", "metrics", given=page) == ""
