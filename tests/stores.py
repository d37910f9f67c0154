"""A real Valkey in virtual time: the shipped script is carried out there, but for its clock.

The store can be cut off, lose everything, and have its clock set.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib import resources

import redis

from proxy.adapters.redis_ledger import RedisLedger, Ways
from proxy.adapters.store_gone import StoreGone
from proxy.clock import Clock
from proxy.policy.limits import LimitTable
from proxy.virtual import VirtualClock

PATIENCE = 0.2
SCRIPT = resources.files("proxy.adapters").joinpath("ledger.lua").read_text()
_TIME = "redis.call('TIME')"


class VirtualStore:
    """Carry out calls at `url`; each way takes what `way` draws (seconds).

    A call that was given up is carried out all the same. One whose connection breaks is made once more, as the
    proxy does.
    """

    def __init__(self, url: str, way: Callable[[], float] = lambda: 0.0) -> None:
        assert SCRIPT.count(_TIME) == 1
        self._client = redis.Redis.from_url(url)
        self._script = self._client.register_script(SCRIPT.replace(_TIME, "{ARGV[2], ARGV[3]}"))
        self._client.flushall()
        self._clock = VirtualClock()
        self._under_way: set[asyncio.Task[bytes]] = set()
        self.way = way
        self.jumped = 0.0
        self.cut: Callable[[str], bool] = lambda me: False
        self.breaks: Callable[[], bool] = lambda: False
        self.refuses = False
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.calls = 0
        self.heard: dict[str, Callable[[bytes], None]] = {}

    async def run(self, me: str, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        """Carry out one call of a replica."""
        task = asyncio.create_task(self._call(me, keys, args))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise StoreGone("timeout", "the store does not answer") from None

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
            answer = self._carry_out(keys, args)
            if self.breaks():
                continue
            await asyncio.sleep(self.way())
            return answer
        raise StoreGone("lost", "the connection broke")

    def _carry_out(self, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        now = self._clock.wall() + self.jumped
        self.calls += 1
        pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        pubsub.psubscribe("*")
        pubsub.get_message(timeout=1.0)
        answer = self._script(keys=list(keys), args=[*args, f"{int(now)}", f"{int(now % 1 * 1e6)}"])
        while (message := pubsub.get_message()) is not None:
            if message["type"] == "pmessage":
                heard = self.heard.get(message["channel"].decode().rpartition(":")[2])
                if heard is not None:
                    asyncio.get_running_loop().call_later(self.way(), heard, message["data"])
        pubsub.close()
        assert isinstance(answer, bytes)
        return answer

    def forget(self) -> None:
        """Lose everything."""
        self._client.flushall()

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()


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
        ),
        clock,
        transit=transit,
        clock_drift=0.0,
        probe=probe,
        assumed=assumed,
    )
    store.heard[me] = ledger.woken
    return ledger
