"""Real clients with read timeouts shorter than their wait: with interim responses they get their answer."""

import asyncio
import json
import os
import re
import shutil
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import avala  # type: ignore[import-untyped]  # the SDK ships no types
import httpx
import pytest
import requests
import trustme
import urllib3

from proxy.config import Interim
from proxy.sandbox import SandboxSettings
from proxy.sandbox.limits import Rate
from tests.e2e.stack import KEY, Stack, running

LIST = "/api/v1/datasets/?limit=2"
CLIENTS = Path(__file__).parent / "clients"
ROOMY = {"standard": Rate(1000, 60.0), "burst": Rate(1000, 1.0)}

PATIENCE = 2.0
"""Seconds that the clients wait for a byte."""
HELD = 6.0
"""Seconds that they have to wait for their answer; programs that start slowly find less of it."""


@dataclass
class Outcome:
    """How a client fared: its answers, or that it gave up; seconds until the first of either."""

    waited: float
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    reused: bool | None = None
    interims: list[int] = field(default_factory=list)

    @property
    def timed_out(self) -> bool:
        return not self.answers


@asynccontextmanager
async def held(
    seconds: float, interim: dict[str, Any], **overrides: Any
) -> AsyncIterator[tuple[Stack, bytes]]:
    """Run a proxy that holds what comes now until a window has passed, then all goes; give a right answer."""
    narrow = [{"name": "held", "requests": 30, "per": seconds}]
    async with running(
        SandboxSettings(limits=ROOMY),
        limits=narrow,
        coalescing={"enabled": False},
        queue={"interim": interim},
        **overrides,
    ) as stack:
        answers = await asyncio.gather(*(stack.ask("GET", LIST) for _ in range(30)))
        assert {status for status, _ in answers} == {200}
        yield stack, answers[0][1]


def says(agent: str | None) -> dict[str, str]:
    return KEY | ({"User-Agent": agent} if agent else {})


async def by_httpx(
    url: str, agent: str | None = None, *, patience: float = PATIENCE, **transport: Any
) -> Outcome:
    began = time.monotonic()
    async with httpx.AsyncClient(
        timeout=patience, headers=says(agent), transport=httpx.AsyncHTTPTransport(**transport)
    ) as client:
        try:
            first = await client.get(url)
        except httpx.ReadTimeout:
            return Outcome(time.monotonic() - began)
        waited = time.monotonic() - began
        second = await client.get(url)
        streams = [answer.extensions["network_stream"] for answer in (first, second)]
        sockets = {id(stream.get_extra_info("socket")) for stream in streams}
        answers = [(answer.status_code, answer.content) for answer in (first, second)]
        return Outcome(waited, answers, reused=len(sockets) == 1)


async def by_aiohttp(url: str, agent: str | None = None) -> Outcome:
    reused = []

    async def note(*_: object) -> None:
        reused.append(True)

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    began = time.monotonic()
    timeout = aiohttp.ClientTimeout(sock_read=PATIENCE)
    async with aiohttp.ClientSession(timeout=timeout, headers=says(agent), trace_configs=[trace]) as session:
        try:
            async with session.get(url) as answer:
                waited = time.monotonic() - began
                first = answer.status, await answer.read()
        except aiohttp.SocketTimeoutError:
            return Outcome(time.monotonic() - began)
        async with session.get(url) as answer:
            return Outcome(waited, [first, (answer.status, await answer.read())], reused=len(reused) == 1)


async def by_requests(url: str, agent: str | None = None) -> Outcome:
    def ask() -> Outcome:
        began = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            session.headers.update(says(agent))
            try:
                first = session.get(url, timeout=PATIENCE)
            except requests.ReadTimeout:
                return Outcome(time.monotonic() - began)
            waited = time.monotonic() - began
            second = session.get(url, timeout=PATIENCE)
            adapter = session.get_adapter(url)
            assert isinstance(adapter, requests.adapters.HTTPAdapter)
            pools = adapter.poolmanager.pools
            (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118 - it is no mapping that iterates
            answers = [(answer.status_code, answer.content) for answer in (first, second)]
            return Outcome(waited, answers, reused=(pool.num_connections, pool.num_requests) == (1, 2))

    return await asyncio.to_thread(ask)


async def by_urllib3(url: str, agent: str | None = None) -> Outcome:
    def ask() -> Outcome:
        began = time.monotonic()
        with urllib3.PoolManager() as manager:
            pool = manager.connection_from_url(url)
            options: dict[str, Any] = {"headers": says(agent), "timeout": PATIENCE, "retries": False}
            try:
                first = pool.request("GET", LIST, **options)
            except urllib3.exceptions.ReadTimeoutError:
                return Outcome(time.monotonic() - began)
            waited = time.monotonic() - began
            second = pool.request("GET", LIST, **options)
            answers = [(answer.status, answer.data) for answer in (first, second)]
            return Outcome(waited, answers, reused=(pool.num_connections, pool.num_requests) == (1, 2))

    return await asyncio.to_thread(ask)


async def output_of(program: str, *arguments: str) -> bytes:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    return output


async def by_node(script: str, *arguments: str) -> Outcome:
    told = json.loads(await output_of("node", str(CLIENTS / script), *arguments))
    if "error" in told:
        assert told["error"] == "timed out"
    answers = [(answer["status"], answer["body"].encode()) for answer in told.get("answers", [])]
    return Outcome(told["waited"], answers, told.get("reused"), told.get("interims", []))


async def by_node_http(url: str, agent: str | None = None) -> Outcome:
    return await by_node("http.mjs", url, str(PATIENCE), *([agent] if agent else []))


async def by_node_fetch(url: str, _: str | None = None) -> Outcome:
    return await by_node("fetch.mjs", url)


async def by_curl(url: str, _: str | None = None) -> Outcome:
    """Let it write heads and bodies one behind the other, and after each what it knows."""
    options = ["-q", "-sS", "-i", "--max-time", "60", "-H", f"X-Avala-Api-Key: {KEY['X-Avala-Api-Key']}"]
    form = "\n<%{http_code} %{num_connects} %{time_starttransfer} %{time_total}>\n"
    output = await output_of("curl", *options, "-w", form, url, url)
    told = re.findall(
        rb"(.*?)\r\n\r\n((?:(?!\r\n\r\n).)*)\n<(\d+) (\d+) ([\d.]+) ([\d.]+)>\n", output, re.DOTALL
    )
    assert len(told) == 2, output
    interims = [int(status) for status in re.findall(rb"HTTP/1\.1 (1\d\d) ", output)]
    answers = [(int(status), body) for _, body, status, *_ in told]
    return Outcome(float(told[0][5]), answers, told[1][3] == b"0", interims)


Asking = Callable[[str, str | None], Coroutine[Any, Any, Outcome]]
NEEDS: dict[Asking, str] = {by_node_http: "node", by_node_fetch: "node", by_curl: "curl"}

UNKNOWN = "unknown-software/1.0"
SURVIVE: dict[str, tuple[Asking, str | None]] = {
    "httpx": (by_httpx, None),
    "aiohttp": (by_aiohttp, None),
    "requests": (by_requests, None),
    "urllib3": (by_urllib3, None),
    "Node http, named": (by_node_http, "my-service/1.0"),
    "Node fetch": (by_node_fetch, None),
    "curl": (by_curl, None),
}
TIME_OUT: dict[str, tuple[Asking, str | None]] = {
    "httpx, unknown": (by_httpx, UNKNOWN),
    "aiohttp, unknown": (by_aiohttp, UNKNOWN),
    "requests, unknown": (by_requests, UNKNOWN),
    "urllib3, unknown": (by_urllib3, UNKNOWN),
    "Node http": (by_node_http, None),
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Let all clients wait in one line at once, as each of them takes as long as that."""

    async def all_of_them() -> dict[str, Outcome]:
        ours = [family.model_dump() for family in Interim().families]
        ours.append({"agent": "my-service", "status": 102})
        runnable = {
            name: (ask, agent)
            for name, (ask, agent) in (SURVIVE | TIME_OUT).items()
            if shutil.which(NEEDS.get(ask, "sh"))
        }
        async with held(HELD, {"interval": 0.5, "families": ours}) as (stack, right):
            found = await asyncio.gather(*(ask(stack.url + LIST, agent) for ask, agent in runnable.values()))
            for outcome in found:
                assert {content for _, content in outcome.answers} <= {right}
            sent = (await stack.metrics())["avala_proxy_interim_responses_total"]
            survivors = sum(not outcome.timed_out for outcome in found)
            assert survivors * 4 <= sent <= survivors * (HELD + 3.0) / 0.5
            return dict(zip(runnable, found, strict=True))

    return asyncio.run(all_of_them())


def outcome_of(name: str, outcomes: dict[str, Outcome]) -> Outcome:
    ask, _ = (SURVIVE | TIME_OUT)[name]
    if name not in outcomes:
        pytest.skip(f"{NEEDS[ask]} is not on this machine")
    return outcomes[name]


@pytest.mark.parametrize("name", SURVIVE)
def test_a_client_that_takes_interims_waits_longer_than_its_timeout_and_goes_on_with_its_connection(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcome_of(name, outcomes)
    print(f"\n{name}: {outcome.waited:.1f} s, interims seen: {outcome.interims or 'it tells of none'}")
    assert [status for status, _ in outcome.answers] == [200, 200]
    assert PATIENCE + 0.5 < outcome.waited < HELD + 3.0
    assert outcome.reused is True
    assert set(outcome.interims) <= ({100} if name == "curl" else {102})
    if name in ("Node http, named", "curl"):
        assert len(outcome.interims) >= 4


@pytest.mark.parametrize("name", TIME_OUT)
def test_a_client_that_is_sent_none_gives_up_after_its_timeout(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcome_of(name, outcomes)
    print(f"\n{name}: {outcome.waited:.1f} s")
    assert outcome.timed_out
    assert outcome.interims == []
    assert PATIENCE - 0.1 < outcome.waited < HELD


async def test_they_keep_a_client_alive_by_tls_and_by_a_unix_socket(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    listen = {
        "addresses": ["127.0.0.1:0", "https://127.0.0.1:0", f"unix:{tmp_path / 's'}"],
        "tls": {"certificate": str(tmp_path / "tls.pem"), "key": str(tmp_path / "key.pem")},
    }
    async with held(4.0, {"interval": 0.25}, listen=listen) as (stack, _):
        secure = re.search(r"https://127\.0\.0\.1:\d+", stack.lines("listening")[0]["detail"])
        assert secure is not None
        ways: list[tuple[str, dict[str, Any]]] = [
            (secure[0] + LIST, {"verify": trusting}),
            ("http://localhost" + LIST, {"uds": str(tmp_path / "s")}),
        ]
        found = await asyncio.gather(
            *(by_httpx(url, agent, patience=1.5, **way) for url, way in ways for agent in (None, UNKNOWN))
        )
    assert [outcome.timed_out for outcome in found] == [False, True, False, True]
    for outcome in found[::2]:
        assert [status for status, _ in outcome.answers] == [200, 200]
        assert [len(json.loads(content)["results"]) for _, content in outcome.answers] == [2, 2]
        assert (outcome.waited > 2.0, outcome.reused) == (True, True)


async def callers_of(stack: Stack) -> tuple[Counter[str], float]:
    """Let fifty callers list datasets at once, half of them by each form of the SDK."""
    options = {"api_key": "avk_team", "base_url": f"{stack.url}/api/v1", "timeout": 3.0}
    began = time.monotonic()
    ended: Counter[str] = Counter()

    async def one(listing: Awaitable[Any]) -> None:
        try:
            ended[f"{len(await listing)} datasets"] += 1
        except httpx.ReadTimeout:
            ended["timed out"] += 1

    blocking, loop = avala.Client(**options), asyncio.get_running_loop()
    async with avala.AsyncClient(**options) as waiting:
        with ThreadPoolExecutor(25) as threads:
            listings = [loop.run_in_executor(threads, blocking.datasets.list) for _ in range(25)]
            await asyncio.gather(*map(one, listings), *(one(waiting.datasets.list()) for _ in range(25)))
    blocking.close()
    return ended, time.monotonic() - began


@pytest.mark.timeout(120)
async def test_fifty_callers_of_the_sdk_with_three_seconds_of_patience_wait_for_twenty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("AVALA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
    api = SandboxSettings(limits=ROOMY | {"standard": Rate(10, 5.0)})
    ours: dict[str, Any] = {
        "limits": [{"name": "standard", "requests": 10, "per": 5.0}],
        "coalescing": {"enabled": False},
    }
    async with (
        running(api, **ours, queue={"interim": {"interval": 1.0}}) as kept,
        running(api, **ours, queue={"interim": {"interval": 1.0, "families": []}}) as left_alone,
    ):
        (with_them, lasted), (without, _) = await asyncio.gather(callers_of(kept), callers_of(left_alone))
        sent = [
            (await stack.metrics())["avala_proxy_interim_responses_total"] for stack in (kept, left_alone)
        ]
        asked = [stack.sandbox.ledger.summary(entries=False)["by_status"] for stack in (kept, left_alone)]
    print(f"\nwith: {dict(with_them)} in {lasted:.1f} s, {sent[0]:.0f} interims; without: {dict(without)}")
    assert with_them == {"20 datasets": 50}
    assert without == {"20 datasets": 10, "timed out": 40}
    assert 19.5 < lasted < 30
    assert (sent[0] > 300, sent[1]) == (True, 0)
    assert asked == [{"200": 50}, {"200": 10}]
