"""The connection to the store that several proxies share: one script is run there, and one channel heard.

The only place where the time of a call is bounded, connections are kept, and a call is repeated. What is in
the script is the caller's matter, and so is whether running it twice is harmless: it must be.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from redis.exceptions import AskError, MovedError, NoScriptError, RedisError, ResponseError

from proxy.adapters.store_places import Address, Places, Wire, dial, say
from proxy.adapters.store_trouble import STALE, StoreGone, code_of, gone, timed_out, worth_dialling
from proxy.config_redis import Redis

__all__ = ["Store", "StoreGone"]

_AT_ONCE = 8
"""Calls at the same time, and so connections to one server, beside the one that listens."""
_REDIRECTS = 4
_PAUSE = 0.2


class Store:
    """Run one script in the shared store, and hear what is published on one channel.

    `heard` gets what is published, as bytes; what it raises ends `listen`. `broken` is called when the
    connection that listens is lost. `password` is asked at each connection. After `quiet` seconds without a
    message, the connection that listens is tried by a PING. Every connection is made when it is first needed.
    """

    def __init__(
        self,
        settings: Redis,
        *,
        script: str,
        channel: str,
        heard: Callable[[bytes], None],
        broken: Callable[[], None],
        password: Callable[[], str] | None,
        quiet: float = 5.0,
    ) -> None:
        self._places = Places(settings, password)
        self._timeout = settings.timeout
        self._script = script
        self._digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        self._channel = channel
        self._heard = heard
        self._broken = broken
        self._listens = False
        self._quiet = quiet
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._free: dict[Address, list[Wire]] = {}
        # Connections of an era that is over are not kept: the server behind them may be the wrong one.
        self._era = 0

    def __repr__(self) -> str:
        return f"<Store {self.shown} free={sum(map(len, self._free.values()))}>"

    @property
    def shown(self) -> str:
        """The place without secrets, for log lines."""
        return str(self._places)

    async def run(self, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        """Run the script and return its answer; in a cluster, the keys must be of one slot.

        It may be run twice. Takes `redis.timeout` seconds at the most, connecting included. Raises StoreGone.
        """
        try:
            async with asyncio.timeout(self._timeout), self._room:
                answer = await self._dialling_again(keys, args)
        except TimeoutError:
            await self._forget()
            raise timed_out(self.shown, self._timeout) from None
        except (RedisError, OSError, StoreGone) as error:
            if code_of(error) in STALE:
                await self._forget()
            # `from None`: what a server says may repeat what it was sent, and so the password.
            raise gone(error, self.shown) from None
        if not isinstance(answer, bytes):
            raise StoreGone("error", f"The script at {self.shown} answered no text, which is a bug of ours.")
        return answer

    async def _dialling_again(self, keys: Sequence[str], args: Sequence[bytes | str]) -> object:
        """Run the script, and once more if the connection was gone, as after a restart of the server."""
        try:
            return await self._following(keys, args)
        except (RedisError, OSError) as error:
            if not worth_dialling(error):
                raise
        await self._forget()
        return await self._following(keys, args)

    async def _following(self, keys: Sequence[str], args: Sequence[bytes | str]) -> object:
        """Run the script where its keys are, and where a cluster says that they have gone."""
        address = await self._places.of(keys[0] if keys else "")
        asking = False
        for _ in range(_REDIRECTS):
            try:
                return await self._at(address, asking, keys, args)
            except AskError as elsewhere:  # MovedError is one
                # Without a host, it is the one that says so.
                address = (elsewhere.host or address[0], elsewhere.port)
                asking = not isinstance(elsewhere, MovedError)
                if not asking:
                    self._places.moved(elsewhere.slot_id, address)
        raise StoreGone("busy", f"The cluster at {self.shown} is moving its keys: wait until it is done.")

    async def _at(
        self, address: Address, asking: bool, keys: Sequence[str], args: Sequence[bytes | str]
    ) -> object:
        rest = (len(keys), *keys, *args)
        async with self._wire(address) as wire:
            if asking:
                await say(wire, "ASKING")
            try:
                return await say(wire, "EVALSHA", self._digest, *rest)
            except NoScriptError:
                if asking:
                    await say(wire, "ASKING")
                return await say(wire, "EVAL", self._script, *rest)

    @asynccontextmanager
    async def _wire(self, address: Address) -> AsyncIterator[Wire]:
        """Lend a connection; keep it only if every answer was read, as a late one would be the next's."""
        era, wire, sound = self._era, await self._take(address), False
        try:
            await dial(wire)
            yield wire
            sound = True
        except ResponseError:
            sound = True
            raise
        finally:
            if sound and wire.is_connected and era == self._era:
                self._free.setdefault(address, []).append(wire)
            else:
                await wire.disconnect(nowait=True)

    async def _take(self, address: Address) -> Wire:
        """Return the connection that was used last and is still open, or one that is yet to be made."""
        free = self._free.get(address, [])
        while free:
            wire = free.pop()
            if not await wire.can_read():
                return wire
            await wire.disconnect(nowait=True)
        return self._places.make(address)

    async def _forget(self) -> None:
        """Drop what is known of the store: where it is, and the connections to it."""
        self._era += 1
        self._places.forget()
        free, self._free = self._free, {}
        for wires in free.values():
            for wire in wires:
                await wire.disconnect(nowait=True)

    async def listen(self) -> None:
        """Hand on what is published on the channel, until cancelled; subscribe again after each failure.

        What is published between a failure and the new subscription is not heard.
        """
        while True:
            try:
                await self._hear()
            except (RedisError, OSError, StoreGone):  # TimeoutError is an OSError
                self._places.forget()
            if self._listens:
                self._listens = False
                self._broken()
            await asyncio.sleep(_PAUSE)

    async def _hear(self) -> None:
        async with asyncio.timeout(self._timeout):
            wire = self._places.make(await self._places.listening())
        try:
            async with asyncio.timeout(self._timeout):
                await dial(wire)
                await say(wire, "SUBSCRIBE", self._channel)
            self._listens = True
            while True:
                said = await wire.read_response(timeout=self._quiet)
                if said is None:
                    await wire.send_command("PING")
                    said = await wire.read_response(timeout=self._timeout)
                if said is None:
                    return
                if isinstance(said, list) and said[:1] == [b"message"]:
                    self._heard(said[2])
        finally:
            await wire.disconnect(nowait=True)

    async def close(self) -> None:
        """Drop all connections; calls under way drop theirs when they end."""
        await self._forget()
