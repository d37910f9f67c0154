"""What is wrong with the shared store, as `check` and `doctor` ask it: before anything depends on it.

What the store does not let its user know (INFO, CONFIG) is not held against it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from proxy.adapters.store_places import Places, Wire, dial, say
from proxy.adapters.store_trouble import StoreGone, code_of, gone, timed_out
from proxy.clock import Clock
from proxy.config_redis import Redis

_OLDEST = (6, 2)
_TIMES = 3
_TRIAL = """
redis.call('ZADD', KEYS[1], redis.call('TIME')[1], 'check')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('DEL', KEYS[1])
return 'fine'
"""
"""Needs of the store what the budget's own script does, and leaves nothing."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a store answers: seconds of the quickest round trip, and by how many its clock is ahead of ours."""

    round_trip: float
    ahead: float


async def examine(settings: Redis, *, password: Callable[[], str] | None) -> list[str]:
    """Try the store, and return a sentence for each thing that is wrong: what to do about it.

    Takes a few times `redis.timeout` at the most. Raises nothing that the store can cause.
    """
    places = Places(settings, password)
    found: list[str] = []
    try:
        async with _connected(places, settings) as wire:
            async for sentence in _faults(wire, settings, f"The store at {places}"):
                found.append(sentence)
    except TimeoutError:
        found.append(str(timed_out(str(places), settings.timeout)))
    except (RedisError, OSError, StoreGone) as error:
        found.append(str(gone(error, str(places))))
    return found


async def measure(settings: Redis, *, password: Callable[[], str] | None, clock: Clock) -> Pulse | None:
    """Ask the store for its time, a few times; None if it does not tell."""
    pulses: list[Pulse] = []
    try:
        async with _connected(Places(settings, password), settings) as wire:
            for _ in range(_TIMES):
                began = clock.now()
                async with asyncio.timeout(settings.timeout):
                    seconds, millionths = await say(wire, "TIME")
                took = clock.now() - began
                ahead = int(seconds) + int(millionths) / 1e6 - (clock.wall() - took / 2)
                pulses.append(Pulse(took, ahead))
    except (RedisError, OSError, StoreGone):
        return None
    return min(pulses, key=lambda pulse: pulse.round_trip)


@asynccontextmanager
async def _connected(places: Places, settings: Redis) -> AsyncIterator[Wire]:
    async with asyncio.timeout(settings.timeout):
        wire = places.make(await places.of(_key(settings)))
        await dial(wire)
    try:
        yield wire
    finally:
        await wire.disconnect(nowait=True)


def _key(settings: Redis) -> str:
    return f"{settings.prefix}:{{check}}"


async def _faults(wire: Wire, settings: Redis, store: str) -> AsyncIterator[str]:
    async def ask(*command: str | int) -> Any:
        async with asyncio.timeout(settings.timeout):
            return await say(wire, *command)

    about = await _told(ask, "INFO", "server")
    if about and (version := _version(about)) < _OLDEST:
        yield f"{store} is {'.'.join(map(str, version))}: Redis 6.2 or later is needed, or Valkey."
    if (await _told(ask, "INFO", "replication")).get("role") == "slave":
        yield f"{store} is a replica: let redis.url name the primary, or sentinels that know it."
        return
    limit = await _told(ask, "CONFIG", "GET", "maxmemory")
    policy = (await _told(ask, "CONFIG", "GET", "maxmemory-policy")).get("maxmemory-policy", "noeviction")
    if limit.get("maxmemory", "0") != "0" and policy != "noeviction":
        yield (
            f"{store} throws away what it holds when its memory is full (maxmemory-policy is {policy}), "
            "and the budget with it: set maxmemory-policy to noeviction."
        )
    channel, digest = f"{settings.prefix}:check", "0" * 40
    # SUBSCRIBE comes last: after it, the connection takes no other command.
    for command in (
        ("EVAL", _TRIAL, 1, _key(settings)),
        ("EVALSHA", digest, 1, _key(settings)),
        ("PUBLISH", channel, ""),
        ("SUBSCRIBE", channel),
    ):
        try:
            await ask(*command)
        except ResponseError as error:
            code = code_of(error)
            if code == "NOPERM":
                yield _forbidden(store, str(command[0]), settings.prefix)
            elif not isinstance(error, NoScriptError):
                yield str(gone(error, store.removeprefix("The store at ")))


def _forbidden(store: str, command: str, prefix: str) -> str:
    rules = f"+{command.lower()} ~{prefix}:* &{prefix}:*"
    return f"{store} forbids its user {command}, or names with the prefix: allow them (ACL SETUSER, {rules})."


def _version(about: dict[str, str]) -> tuple[int, ...]:
    parts = about.get("redis_version", "").split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


async def _told(ask: Callable[..., Any], *command: str) -> dict[str, str]:
    """Return what the store tells of itself; nothing if it may not, or does not know the command."""
    try:
        answer = await ask(*command)
    except ResponseError:
        return {}
    if isinstance(answer, list):
        words = [word.decode() for word in answer]
        return dict(zip(words[::2], words[1::2], strict=True))
    lines = [line.partition(":") for line in answer.decode().splitlines()]
    return {key: value for key, colon, value in lines if colon}
