"""Connections to the shared store, made from the settings; and at which address the one to ask is now.

redis-py's own clients for sentinels and clusters ask one server after another, so one that is silent takes
all the time of a call. Here all are asked at the same time, and the first answer counts.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any, TypeVar

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisError

from proxy.adapters.store_trouble import StoreGone
from proxy.config_redis import Redis

Address = tuple[str, int]
Wire = Connection | UnixDomainSocketConnection
T = TypeVar("T")

_HERE: Address = ("", 0)
"""Stands for a Unix socket."""


async def dial(wire: Wire) -> None:
    """Make a connection, unless it is made already. Raises what redis-py does."""
    await wire.connect()  # type: ignore[no-untyped-call] # redis-py's annotations have gaps


async def say(wire: Wire, *command: bytes | str | int) -> Any:
    """Send a command over a connection that is made, and return the answer. Raises what redis-py does."""
    await wire.send_command(*command)
    return await wire.read_response()


class _Login(CredentialProvider):
    """Give the name and the password as they are when a connection is made."""

    def __init__(self, username: str | None, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


class Places:
    """Make connections to the store, and know where it is.

    `password` is asked at each connection. What is learnt from sentinels or the cluster holds until `forget`.
    The file of redis.ca is read once, at the first connection.
    """

    def __init__(self, settings: Redis, password: Callable[[], str] | None) -> None:
        self._place = settings.place
        self._ca = settings.ca
        self._tls: ssl.SSLContext | None = None
        self._login: _Login | None = None
        if password is not None or settings.username is not None:
            self._login = _Login(settings.username, password or str)
        self._turns = cycle(self._place.hosts)
        self._primary: Address | None = None
        self._slots: dict[int, Address] = {}

    def __str__(self) -> str:
        return str(self._place)

    def make(self, address: Address, *, login: bool = True, db: int | None = None) -> Wire:
        """Return a connection that is yet to be made, by `dial`. Raises StoreGone if redis.ca is unfit."""
        common: dict[str, Any] = {
            "db": self._place.db if db is None else db,
            "credential_provider": self._login if login else None,
            # Whole calls are bounded, by those who make them.
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "protocol": 2,
            "driver_info": None,  # CLIENT SETINFO came with Redis 7.2
        }
        if address == _HERE:
            return UnixDomainSocketConnection(path=self._place.path, **common)
        host, port = address
        if not self._place.tls:
            return Connection(host=host, port=port, **common)
        wire = SSLConnection(host=host, port=port, **common)
        # redis-py would read the system's authorities again for each connection, and trust them beside ours.
        wire.ssl_context.context = self._trust()
        return wire

    def _trust(self) -> ssl.SSLContext:
        if self._tls is None:
            try:
                self._tls = ssl.create_default_context(cafile=self._ca)
            except OSError as error:
                raise StoreGone(
                    "refused", f"{self._ca} can't be read: put a PEM file of authorities there (redis.ca)."
                ) from error
        return self._tls

    async def ask(self, wire: Wire, *command: bytes | str | int) -> Any:
        """Make a connection for one command, and return the answer. Raises what redis-py does."""
        try:
            await dial(wire)
            return await say(wire, *command)
        finally:
            await wire.disconnect(nowait=True)

    async def of(self, key: str) -> Address:
        """Return the address of the server that has a key. Raises what redis-py does, and StoreGone."""
        match self._place.kind:
            case "unix":
                return _HERE
            case "single":
                return self._place.hosts[0]
            case "sentinel":
                if self._primary is None:
                    self._primary = await self._first(self._ask_sentinel)
                return self._primary
            case "cluster":
                slot = key_slot(key.encode())
                if slot not in self._slots:
                    self._slots = await self._first(self._ask_cluster)
                if slot not in self._slots:
                    raise StoreGone("lost", f"The cluster at {self} lacks a part of its keys: add servers.")
                return self._slots[slot]

    async def listening(self) -> Address:
        """Return an address at which everything that is published is heard: in a cluster, any, by turns."""
        return next(self._turns) if self._place.kind == "cluster" else await self.of("")

    def moved(self, slot: int, address: Address) -> None:
        """Learn that a part of a cluster is elsewhere now."""
        self._slots[slot] = address

    def forget(self) -> None:
        """Ask again where the store is: what was known has failed."""
        self._primary = None
        self._slots = {}

    async def _first(self, ask: Callable[[Address], Awaitable[T]]) -> T:
        """Ask all hosts at the same time, and return the first answer; raise the last failure if all fail."""
        asked = [asyncio.ensure_future(ask(address)) for address in self._place.hosts]
        failure: Exception = StoreGone("error", f"The store at {self} has no hosts: check redis.url.")
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except (RedisError, OSError, StoreGone) as error:
                    failure = error
            raise failure
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask_sentinel(self, address: Address) -> Address:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.service)
        try:
            found = await self.ask(self.make(address, login=False, db=0), *command)
        except AuthenticationError:
            found = await self.ask(self.make(address, db=0), *command)
        if not found:
            raise StoreGone(
                "error", f"The sentinels at {self} know no such primary: check the name in redis.url."
            )
        return found[0].decode(), int(found[1])

    async def _ask_cluster(self, address: Address) -> dict[int, Address]:
        ranges = await self.ask(self.make(address), "CLUSTER", "SLOTS")
        slots: dict[int, Address] = {}
        for first, last, primary, *_ in ranges:
            # A server that does not know its own name leaves it out: it is where it was reached.
            where = ((primary[0] or b"").decode() or address[0], int(primary[1]))
            slots |= dict.fromkeys(range(first, last + 1), where)
        return slots
