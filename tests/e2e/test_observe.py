"""Observing over real sockets: nothing is delayed, and everything that would have been is told."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.sandbox import Concurrent, Rate, SandboxSettings
from tests.e2e import programs
from tests.e2e.stack import KEY, Stack, running
from tests.fakes import until

LIST = "/api/v1/datasets/?limit=2"
UPLOADS = "/api/v1/uploads/"
WINDOW = 3.0
"""Seconds: so long that who was held up by it is told from who was held up by a busy machine."""
LIMITS = [
    {"name": "window", "requests": 2, "per": WINDOW},
    {"name": "uploads", "concurrent": 1, "match": {"paths": [UPLOADS]}},
]
OBSERVE: dict[str, Any] = {
    "queue": {"observe": True},
    "limits": LIMITS,
    "upstream": {"transit": 0.2, "clock_drift": 0.0},
}
LENIENT = SandboxSettings(
    limits={"standard": Rate(10_000, 60.0), "burst": Rate(10_000, 1.0), "uploads": Concurrent(100)}
)
AT_ONCE = 1.5
"""Seconds within which all is answered that nobody holds back, on a busy machine too."""


async def told(stack: Stack, target: str = LIST, fields: dict[str, str] | None = None) -> tuple[int, float]:
    """Ask; return the status and the seconds that `would-wait` says in Server-Timing."""
    async with stack.session.get(stack.url + target, headers=KEY | (fields or {})) as answer:
        await answer.read()
        timing = answer.headers["Server-Timing"]
        assert "coalesced" not in timing
        found = re.match(r"queue;dur=([0-9.]+), .*, would-wait;dur=([0-9.]+)$", timing)
        assert found is not None
        assert float(found[1]) / 1000 < AT_ONCE
        return answer.status, float(found[2]) / 1000


def of(metrics: dict[str, float], name: str, labels: str = "") -> float:
    return metrics.get(f"avala_proxy_{name}{{{labels}}}" if labels else f"avala_proxy_{name}", 0.0)


async def ghosts(stack: Stack, count: int) -> dict[str, float]:
    """Wait until so many ghosts have met their end; return the metrics."""
    while True:
        metrics = await stack.metrics()
        waited = sum(
            value for name, value in metrics.items() if name.startswith("avala_proxy_observed_wait_seconds_c")
        )
        refused = sum(
            value for name, value in metrics.items() if name.startswith("avala_proxy_observed_rejected_total")
        )
        if waited + refused == count:
            return metrics
        await asyncio.sleep(0.02)


def ghosts_running() -> int:
    """Count the tasks that wait in somebody's stead."""
    return sum("Observation._wait_instead" in repr(task) for task in asyncio.all_tasks())


async def test_nothing_is_delayed_and_what_would_have_waited_is_told_three_times() -> None:
    async with running(LENIENT, **OBSERVE) as stack:
        (line,) = stack.lines("observing")
        assert line["level"] == "warning"
        assert "queue.observe" in line["detail"]
        loop = asyncio.get_running_loop()
        began = loop.time()
        answers = []
        for _ in range(6):
            answers.append(await told(stack))
        assert loop.time() - began < AT_ONCE, "it would have been two windows"
        assert {status for status, _ in answers} == {200}
        said = [wait for _, wait in answers]
        assert said[:2] == [0.0, 0.0]
        assert said[3] == pytest.approx(WINDOW, abs=WINDOW / 3)
        assert said[5] == pytest.approx(2 * WINDOW, abs=WINDOW / 3)
        lines = stack.lines("request")
        assert [line["would_wait"] for line in lines] == pytest.approx(said, abs=1e-3)
        assert {(line["limit"], line["coalesced"]) for line in lines} == {("none", False)}
        assert max(line["waited"] for line in lines) < AT_ONCE
        metrics = await ghosts(stack, 6)
        assert of(metrics, "observed_wait_seconds_count", 'limit="none"') == 2
        assert of(metrics, "observed_wait_seconds_count", 'limit="window"') == 4
        # Two of them wait for one window, and two for two.
        assert of(metrics, "observed_wait_seconds_sum", 'limit="window"') == pytest.approx(
            6 * WINDOW, abs=WINDOW
        )
        assert of(metrics, "queue_wait_seconds_sum", 'limit="none"') < AT_ONCE
        assert of(metrics, "queue_wait_seconds_count", 'limit="window"') == 0
        assert stack.sandbox.ledger.summary()["requests"] == 6


PATIENT = {"name": "window", "requests": 1, "per": 30.0}


async def test_who_would_find_the_line_full_is_counted_and_gets_its_answer() -> None:
    queue = {"observe": True, "size": 2}
    async with running(LENIENT, **OBSERVE | {"limits": [PATIENT], "queue": queue}) as stack:
        for _ in range(5):
            assert (await told(stack))[0] == 200
        metrics = await ghosts(stack, 3)  # and two wait for half a minute and a minute
        assert of(metrics, "observed_rejected_total", 'reason="queue_full"') == 2
        assert not [
            name for name in metrics if name.startswith(("avala_proxy_rejected", "avala_proxy_errors"))
        ]
        assert of(metrics, "queue_depth", 'limit="window"') == 2
        assert {line["error_class"] for line in stack.lines("request")} == {"none"}


async def test_who_would_not_wait_so_long_is_counted_and_gets_its_answer() -> None:
    async with running(LENIENT, **OBSERVE | {"limits": [PATIENT]}) as stack:
        assert (await told(stack))[0] == 200
        assert (await told(stack, fields={"Prefer": "wait=5"}))[0] == 200
        metrics = await stack.metrics()
        assert of(metrics, "observed_rejected_total", 'reason="queue_timeout"') == 1
        assert not [
            name for name in metrics if name.startswith(("avala_proxy_rejected", "avala_proxy_errors"))
        ]


async def test_an_at_once_limit_holds_nobody_and_its_ghosts_for_as_long_as_calls_take() -> None:
    async with running(LENIENT, **OBSERVE | {"limits": LIMITS[1:]}) as stack:
        slow = {"X-Sandbox-Fault": f"slow;seconds={AT_ONCE}"}
        began = asyncio.get_running_loop().time()
        asked = (stack.ask("POST", UPLOADS, data=b"x", fields=slow) for _ in range(3))
        assert [status for status, _ in await asyncio.gather(*asked)] == [201] * 3
        assert asyncio.get_running_loop().time() - began < 2 * AT_ONCE
        metrics = await ghosts(stack, 3)
        assert of(metrics, "observed_wait_seconds_count", 'limit="uploads"') == 2
        assert of(metrics, "observed_wait_seconds_sum", 'limit="uploads"') == pytest.approx(
            3 * AT_ONCE, abs=AT_ONCE / 2
        )
        await until(lambda: [one.remaining for one in stack.app._ledger.lanes()] == [1])


async def test_those_who_ask_for_the_same_in_one_moment_each_make_their_call() -> None:
    coalescing = {"enabled": True, "routes": [{"paths": ["/api/v1/datasets/"], "coalesce": True}]}
    async with running(LENIENT, **OBSERVE | {"coalescing": coalescing}) as stack:
        slow = {"X-Sandbox-Fault": "slow;seconds=0.05"}
        assert len(await asyncio.gather(*(told(stack, fields=slow) for _ in range(8)))) == 8
        assert stack.sandbox.ledger.summary()["requests"] == 8
        metrics = await stack.metrics()
        assert not [name for name in metrics if name.startswith("avala_proxy_coalesced_total{")]


async def test_a_refusal_of_the_api_is_told_and_holds_up_nobody_else() -> None:
    async with running(LENIENT, **OBSERVE) as stack:
        fault = {"X-Sandbox-Fault": "429;retry-after=3;times=1", "X-Sandbox-Key": "k"}
        refused = asyncio.create_task(told(stack, fields=fault))
        await until(lambda: len(stack.lines("limit_paused")) == 1)
        began = asyncio.get_running_loop().time()
        assert (await told(stack))[0] == 200
        assert asyncio.get_running_loop().time() - began < AT_ONCE
        assert (await refused)[0] == 200
        assert max(line["waited"] for line in stack.lines("request")) < AT_ONCE


async def test_who_was_refused_by_the_api_comes_back_when_it_said() -> None:
    async with running(LENIENT, **OBSERVE) as stack:
        fault = {"X-Sandbox-Fault": "429;retry-after=1;times=1", "X-Sandbox-Key": "k"}
        began = asyncio.get_running_loop().time()
        assert (await told(stack, fields=fault))[0] == 200
        assert asyncio.get_running_loop().time() - began >= 1.0


async def test_a_client_that_leaves_leaves_a_ghost_that_ends() -> None:
    async with running(LENIENT, **OBSERVE) as stack:
        asking = [
            asyncio.create_task(stack.ask("GET", LIST, fields={"X-Sandbox-Fault": "slow;seconds=20"}))
            for _ in range(3)
        ]
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 3)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 0)
        await ghosts(stack, 3)
        await until(lambda: [one.remaining for one in stack.app._ledger.lanes()] == [2])
        metrics = await stack.metrics()
        assert of(metrics, "errors_total", 'error_class="client_disconnected",fault="proxy"') == 3
        assert not ghosts_running()


async def test_no_ghost_outlives_the_proxy() -> None:
    async with running(LENIENT, **OBSERVE | {"limits": [{"name": "w", "requests": 1, "per": 60.0}]}) as stack:
        for _ in range(5):
            assert (await told(stack))[0] == 200
        assert ghosts_running() == 4
    assert not ghosts_running()
    assert stack.lines("crashed") == stack.lines("library") == []
    assert [line["event"] for line in map(json.loads, stack.log.splitlines())][:2] == [
        "listening",
        "observing",
    ]


async def test_without_observing_nothing_of_it_is_said() -> None:
    async with running(LENIENT) as stack:
        async with stack.session.get(stack.url + LIST, headers=KEY) as answer:
            assert "would-wait" not in answer.headers["Server-Timing"]
        await until(lambda: len(stack.lines("request")) == 1)
        assert "would_wait" not in stack.lines("request")[0]
        assert not stack.lines("observing")
        observed = [name for name in await stack.metrics() if name.startswith("avala_proxy_observed")]
        assert observed == []


async def test_serve_observe_holds_nothing_back(tmp_path: Path) -> None:
    config, log = tmp_path / "proxy.toml", tmp_path / "proxy.log"
    config.write_text('[[limits]]\nname = "tiny"\nrequests = 1\nper = 600.0\n')
    async with programs.sandbox(tmp_path) as upstream:
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        arguments = ["serve", "--observe", "--config", str(config), *where]
        async with programs.started(*arguments, log=log, traced=True) as process:
            url, _ = await programs.urls(process, log, 2)
            async with aiohttp.ClientSession(headers=KEY) as session:
                for _ in range(3):
                    async with asyncio.timeout(5), session.get(url + LIST) as answer:
                        assert answer.status == 200
                        assert "would-wait;dur=" in answer.headers["Server-Timing"]
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert events == ["listening", "observing", *["request"] * 3, "draining", "stopped"]
