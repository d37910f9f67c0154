"""The order of the checks, and which of them need what another one found.

Nothing is judged here. What costs most patience comes late, and what costs a request last.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.adapters.names import Resolver, system_resolver
from proxy.adapters.upstream import Upstream
from proxy.clock import Clock, LoopClock
from proxy.doctor import configuration, files, network, places, running, skew, spend, store
from proxy.doctor.report import Finding, Result, skipped

NEEDS_SETTINGS = (
    *(files.SECRETS, files.STATE, files.BODIES, files.CERTIFICATE, files.OPEN),
    *(places.LISTEN, places.ADMIN),
    *(network.DNS, network.TCP, network.TLS),
    *(skew.CHECK, store.CHECK, spend.CHECK),
)
"""Every check but the first, in their order."""

_UNREACHED = "The API can't be reached: see above."


@dataclass(frozen=True)
class World:
    """What is around the proxy; as it really is, if not said otherwise."""

    clock: Clock = field(default_factory=LoopClock)
    resolver: Resolver = system_resolver
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    ask: places.Ask = running.ask


async def examine(
    path: Path | None,
    overrides: Mapping[str, Any],
    *,
    spending: bool,
    told: Callable[[Finding], None],
    world: World | None = None,
) -> list[Finding]:
    """Make every check; `told` hears of each finding at once. `spending` allows one request to the API."""
    findings = []
    async for finding in _checks(path, overrides, spending, world or World()):
        told(finding)
        findings.append(finding)
    return findings


async def _checks(
    path: Path | None, overrides: Mapping[str, Any], spending: bool, world: World
) -> AsyncIterator[Finding]:
    finding, settings = configuration.read(path, overrides)
    yield finding
    if settings is None:
        for check in NEEDS_SETTINGS:
            yield skipped(check, "There is no configuration to go by.")
        return
    for finding in files.examine(settings, world.clock, os.geteuid()):
        yield finding
    for finding in await places.examine(settings.listen, world.ask):
        yield finding
    bounded = network.bounded(settings.upstream)
    reached = True
    async for finding in _way(bounded, world):
        reached = reached and finding.result is not Result.FAIL
        yield finding
    upstream = Upstream(bounded, settings.headers, resolver=world.resolver)
    try:
        yield await skew.examine(upstream, world.clock) if reached else skipped(skew.CHECK, _UNREACHED)
        for finding in await store.examine(settings.redis, world.clock):
            yield finding
        if not spending:
            yield spend.not_wished_for(settings)
        elif reached:
            yield await spend.examine(settings, upstream, world.clock, world.environ)
        else:
            yield skipped(spend.CHECK, f"{_UNREACHED} No request was sent.")
    finally:
        await upstream.close()


def _way(settings: config.Upstream, world: World) -> AsyncIterator[Finding]:
    dialer = Dialer(settings, resolver=world.resolver, now=world.clock.now)
    return network.Way(settings, dialer, world.clock, world.environ).examine()
