"""A real Valkey in virtual time: the shipped script is carried out there, but for its clock.

The store can be cut off, lose everything, break connections, stand still, and have its clock set. On demand
it takes one call after the other, and each takes as long as it did: so a queue builds up, as at a server of
one thread.
"""

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import redis

from proxy.adapters.redis_ledger import RedisLedger
from proxy.adapters.store_gone import StoreGone
from proxy.adapters.ways import Ways
from proxy.clock import Clock
from proxy.policy.limits import LimitTable
from proxy.virtual import VirtualClock

PATIENCE = 0.2
"""Seconds after which a call is given up: `redis.timeout`, as it is by default."""

SCRIPT = resources.files("proxy.adapters").joinpath("ledger.lua").read_text()
_VIRTUAL = {
    "redis.call('TIME')": "{ARGV[2], ARGV[3]}",
    "redis.pcall('INFO', 'server')": "'uptime_in_seconds:' .. ARGV[4]",
    "redis.call('PUBLISH', channel, a.g)": "woken[#woken + 1] = channel",
}
_MEASURED = """
local began, woken = os.clock(), {}
local function carry_out()
%s
end
local answer = carry_out()
return {answer, string.format('%%.0f', (os.clock() - began) * 1e6), woken}
"""


@dataclass(slots=True)
class Counted:
    """What a store did: calls by answer, seconds in the script, bytes, wake-ups, and how long calls took."""

    calls: Counter[str] = field(default_factory=Counter)
    script: float = 0.0
    received: int = 0
    sent: int = 0
    woken: int = 0
    late: int = 0
    took: list[float] = field(default_factory=list)


class VirtualStore:
    """Carry out calls at `url`; each way takes what `way` draws (seconds).

    A call that was given up is carried out all the same. One whose connection breaks is made once more, as
    the proxy does. With `around`, calls wait for each other, and take that many seconds beside the script's.
    """

    def __init__(
        self, url: str, way: Callable[[], float] = lambda: 0.0, *, around: float | None = None
    ) -> None:
        script = SCRIPT
        for real, virtual in _VIRTUAL.items():
            assert script.count(real) == 1
            script = script.replace(real, virtual)
        self._client = redis.Redis.from_url(url)
        self._script = self._client.register_script(_MEASURED % script)
        self._client.flushall()
        self._clock = VirtualClock()
        self._around = around
        self._turn = nullcontext() if around is None else asyncio.Lock()
        self._under_way: set[asyncio.Task[bytes]] = set()
        self.way = way
        self.started = -math.inf
        self.jumped = 0.0
        self.cut: Callable[[str], bool] = lambda me: False
        self.breaks: Callable[[], bool] = lambda: False
        self.refuses = False
        self.broken: list[Callable[[], None]] = []
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.counted = Counted()
        self.tries = 0
        self.heard: dict[str, Callable[[bytes], None]] = {}

    async def run(self, me: str, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        """Carry out one call of a replica."""
        self.tries += 1
        began = self._clock.now()
        task = asyncio.create_task(self._call(me, keys, args))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await asyncio.shield(task)
        except TimeoutError:
            self.counted.late += 1
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise StoreGone("timeout", "the store does not answer") from None
        self.counted.took.append(self._clock.now() - began)
        return answer

    async def _call(self, me: str, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        for _ in range(2):
            await asyncio.sleep(self.way())
            if self.refuses:
                raise StoreGone("refused", "nobody is there")
            if self.cut(me):
                await asyncio.sleep(2 * PATIENCE)
                raise StoreGone("timeout", "the store does not answer")
            if self.breaks():
                continue
            await self.thawed.wait()
            async with self._turn:
                answer, took = self._carry_out(keys, args)
                if self._around is not None:
                    await asyncio.sleep(took + self._around)
            if self.breaks():
                continue
            await asyncio.sleep(self.way())
            return answer
        raise StoreGone("lost", "the connection broke")

    def _carry_out(self, keys: Sequence[str], args: Sequence[bytes | str]) -> tuple[bytes, float]:
        now = self._clock.wall() + self.jumped
        time = f"{int(now)}", f"{int(now % 1 * 1e6)}", f"{int(min(1e6, self._clock.now() - self.started))}"
        said: Any = self._script(keys=list(keys), args=[*args, *time])
        answer, microseconds, woken = said
        assert isinstance(answer, bytes)
        took, counted = int(microseconds) / 1e6, self.counted
        counted.calls[json.loads(answer)[0]] += 1
        counted.script += took
        counted.received += on_the_wire("EVALSHA", "0" * 40, str(len(keys)), *keys, *args)
        counted.sent += len(answer) + len(str(len(answer))) + 5
        counted.woken += len(woken)
        for channel in woken:
            heard = self.heard.get(channel.decode().rpartition(":")[2])
            if heard is not None:
                about = json.loads(args[0])["g"].encode()
                asyncio.get_running_loop().call_later(self.way(), heard, about)
        return answer, took

    def go_away(self) -> None:
        """Refuse everything from now on."""
        self.refuses = True
        for broken in self.broken:
            broken()

    def forget(self) -> None:
        """Lose everything, and be there again if it was not: then it was just started."""
        self._client.flushall()
        if self.refuses:
            self.refuses, self.started = False, self._clock.now()

    def expiries(self) -> dict[str, int]:
        """Return the seconds until each key is gone: -1 if it never is."""
        keys: Any = self._client.scan_iter()
        return {key.decode(): self._client.ttl(key) for key in keys}

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()


def on_the_wire(*parts: bytes | str) -> int:
    """Return how many bytes a command of these parts is (RESP: an array of bulk strings)."""
    return sum(len(part) + len(str(len(part))) + 5 for part in parts) + len(str(len(parts))) + 3


def replica(
    store: VirtualStore,
    limits: LimitTable,
    clock: Clock,
    me: str,
    *,
    transit: float = 1.0,
    probe: bool = False,
    assumed: int = 4,
    changes: list[tuple[float, bool]] | None = None,
) -> RedisLedger:
    """Make the ledger of one replica; `changes` gets when the store was lost or back."""

    def changed(up: bool, sentence: str) -> None:
        assert sentence
        if changes is not None:
            changes.append((clock.now(), up))

    ledger = RedisLedger(
        limits,
        Ways(
            lambda keys, args: store.run(me, keys, args),
            me,
            "test",
            PATIENCE,
            changed,
            lambda reason: None,
            random.Random(me).random,
        ),
        clock,
        transit=transit,
        clock_drift=0.0,
        probe=probe,
        assumed=assumed,
    )
    store.heard[me] = ledger.woken
    store.broken.append(ledger.doubt)
    return ledger
