"""The demonstration: the shipped proxy between a burst of real requests and the pretend API.

Everything here is what a user would start by hand, in one process; the figures are read from the
sandbox's own ledger and from the proxy's answers.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import aiohttp

from proxy.app import App
from proxy.config import DOCUMENTED_LIMITS, Limit, Settings, load
from proxy.process import signalled
from proxy.sandbox import Rate, Sandbox, SandboxSettings
from proxy.telemetry.series import PREFIX

_KEY = "avk_demo"
_SPEED = 10
_FAULTS = {"500": 0.03, "503": 0.03, "reset": 0.02}


def best_possible(count: int, limits: Sequence[tuple[int, float]]) -> float:
    """Return the seconds in which `count` requests can be counted at best, under `(requests, per)` windows.

    Each goes as early as the windows allow: one window after the request that was `requests` before it.
    """
    counted: list[float] = []
    for index in range(count):
        earliest = [counted[index - size] + per for size, per in limits if index >= size]
        counted.append(max(earliest, default=0.0))
    return counted[-1] if counted else 0.0


def scaled_limits() -> list[Limit]:
    """Return the documented limits, the minutes shortened so that nobody waits for one."""
    return [
        limit.model_copy(update={"per": limit.per / _SPEED}) if limit.per == 60.0 else limit
        for limit in DOCUMENTED_LIMITS
    ]


async def run_sandbox(settings: SandboxSettings, host: str, port: int) -> None:
    """Serve the pretend API until SIGTERM or SIGINT. Raises OSError when the port is taken."""
    async with Sandbox(settings).running(host, port) as url:
        print(f"A pretend Avala API serves {url}/api/v1/ with any key that begins with avk_.")
        print(
            f"What it really did: {url}/_sandbox/ledger   What can be tried: {url}/   Stop: Ctrl-C",
            flush=True,
        )
        await signalled()


async def run(*, requests: int, callers: int, once: bool) -> bool:
    """Start sandbox and proxy, send the burst, print what happened; stay up unless `once`.

    Return whether it got to the end of the burst, or was stopped before by SIGTERM or SIGINT.
    """
    sandbox_limits = {limit.name: Rate(limit.size, limit.per) for limit in scaled_limits() if limit.per}
    sandbox = Sandbox(SandboxSettings(limits=sandbox_limits, faults=_FAULTS))
    with tempfile.NamedTemporaryFile("w", prefix="avala-proxy-demo-", suffix=".log", buffering=1) as log:
        async with sandbox.running() as upstream:
            app = App(_settings(upstream), log_stream=log)  # type: ignore[arg-type]  # it is a TextIO
            await app.start()
            try:
                print(f"A pretend Avala API is at {upstream}, its minutes shortened to {60 / _SPEED:g} s,")
                print(f"failing now and then on purpose. The proxy is at {app.url};")
                print(
                    f"watch it in a browser at {app.admin_url}, or by avala-proxy top --admin {app.admin_url}"
                )
                print(f"{callers} clients send {requests} requests, all at once:", flush=True)
                burst = Burst(app.url, callers=callers, requests=requests)
                seconds = await _unless_signalled(burst.run())
                if seconds is None:
                    return False
                print("\n" + report(burst.answers, seconds, sandbox.ledger.summary(), await _metrics(app)))
                if not once:
                    print("\n" + _next_steps(app, upstream, log.name), flush=True)
                    await signalled()
                return True
            finally:
                await app.stop(grace=0 if once else app.settings.listen.grace)


def _settings(upstream: str) -> Settings:
    return load(
        None,
        {
            "upstream": {"base_url": upstream},
            "listen": {"addresses": ["127.0.0.1:0"], "admin_address": "127.0.0.1:0"},
            "limits": [limit.model_dump(exclude_none=True) for limit in scaled_limits()],
            "log": {"format": "json"},
        },
    )


async def _unless_signalled(work: Coroutine[Any, Any, float]) -> float | None:
    """Return what the work returns, or None when SIGTERM or SIGINT ends it."""
    task, signal = asyncio.create_task(work), asyncio.create_task(signalled())
    await asyncio.wait({task, signal}, return_when=asyncio.FIRST_COMPLETED)
    signal.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


class Burst:
    """Clients that know nothing of limits: each sends one request after the other, as fast as it can."""

    def __init__(self, url: str, *, callers: int, requests: int) -> None:
        self._url = url
        self._callers = callers
        self._requests = requests
        self._next = 0
        self.answers: Counter[int] = Counter()

    async def run(self) -> float:
        """Send everything and return the seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"X-Avala-Api-Key": _KEY}
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
            progress = asyncio.create_task(self._show_progress())
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self._callers):
                        group.create_task(self._caller(session))
            finally:
                progress.cancel()
        seconds = loop.time() - began
        print(self._progress())
        return seconds

    async def _caller(self, session: aiohttp.ClientSession) -> None:
        while self._next < self._requests:
            index, self._next = self._next, self._next + 1
            async with session.get(self._url + _path(index)) as response:
                await response.read()
                self.answers[response.status] += 1

    def _progress(self) -> str:
        done = sum(self.answers.values())
        filled = 40 * done // self._requests
        return f"\r  [{'#' * filled}{'.' * (40 - filled)}] {done}/{self._requests} answered"

    async def _show_progress(self) -> None:
        while sys.stdout.isatty():
            print(self._progress(), end="", flush=True)
            await asyncio.sleep(0.1)


def _path(index: int) -> str:
    """Return what is asked: now and then for what does not exist, which has to come through untouched.

    Each is for something else, but for one in ten, which all poll the same.
    """
    if index % 20 == 7:
        return f"/api/v1/datasets/missing-{index}/"
    return "/api/v1/users/me/" if index % 10 == 3 else f"/api/v1/datasets/?limit=5&page={index}"


async def _metrics(app: App) -> dict[str, float]:
    """Return the totals that a scraper would see: series name, without its prefix -> sum over its labels."""
    totals: dict[str, float] = {}
    async with aiohttp.ClientSession() as session, session.get(app.admin_url + "/metrics") as response:
        for line in (await response.text()).splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                name = series.partition("{")[0].removeprefix(f"{PREFIX}_")
                totals[name] = totals.get(name, 0.0) + float(value)
    return totals


def report(answers: Counter[int], seconds: float, ledger: dict[str, Any], metrics: dict[str, float]) -> str:
    """Return what happened, as a table."""
    limits = [
        (limit.size, limit.per)
        for limit in scaled_limits()
        if limit.name in ("standard", "burst") and limit.per
    ]
    bound = best_possible(ledger["requests"], limits)
    throttled = sum(ledger["throttled"].values())
    rows = [
        ("asked by the clients", f"{sum(answers.values())} requests"),
        ("answered", ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))),
        (
            "waited in line",
            f"{metrics.get('queue_wait_seconds_sum', 0.0):.0f} s in all, nobody was refused"
            if not metrics.get("rejected_total")
            else f"{metrics['rejected_total']:.0f} refused",
        ),
        ("went as one", f"{metrics.get('coalesced_total', 0):.0f} with another that asked for the same"),
        (
            "failures of the API",
            f"{_failures(ledger)}, cured by {metrics.get('retries_total', 0):.0f} retries",
        ),
        (
            "sent to the API",
            f"{ledger['requests']} requests, of which it refused {throttled} by its rate limits",
        ),
        ("took", f"{seconds:.1f} s; the limits allow {bound:.1f} s at best ({100 * bound / seconds:.0f} %)"),
    ]
    return "\n".join(f"  {name:<20} {value}" for name, value in rows)


def _failures(ledger: dict[str, Any]) -> int:
    by_status: dict[str, int] = ledger["by_status"]
    return sum(count for status, count in by_status.items() if status == "none" or status >= "500")


def _next_steps(app: App, upstream: str, log: str) -> str:
    return "\n".join(
        [
            "Try by hand:",
            f"  curl -H 'X-Avala-Api-Key: {_KEY}' {app.url}/api/v1/datasets/",
            f"  curl -H 'X-Avala-Api-Key: {_KEY}' -H 'X-Sandbox-Fault: 503;times=2' -H 'X-Sandbox-Key: 1' \\",
            f"       {app.url}/api/v1/users/me/          (fails twice, then works: the proxy retries)",
            f"  {app.admin_url}/   {app.admin_url}/metrics   {app.admin_url}/status",
            f"  {upstream}/_sandbox/ledger           (what the API really did)",
            f"  {log}   (one line a request)",
        ]
    )
