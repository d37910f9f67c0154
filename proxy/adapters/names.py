"""Where the upstream is: its name is looked up, and the answer remembered for a while.

The only place that asks DNS. What is done with an address is `dial.py`.
"""

import asyncio
import concurrent.futures
import ipaddress
import math
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, addr_to_addr_infos

_T = TypeVar("_T")

Resolver = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]
"""Finds the addresses of a host and port, as `socket.getaddrinfo` gives them; raises OSError."""


async def system_resolver(host: str, port: int) -> Sequence[AddrInfoType]:
    """Ask the system: /etc/hosts, then DNS, or whatever it is set up to do."""
    # Only families of which this machine has an address itself: the others can't be reached.
    return await unattended(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    )


async def unattended(ask: Callable[[], _T]) -> _T:
    """Return what a function that blocks does, from a thread that nobody waits for at the end.

    A name server that is silent holds it for half a minute. asyncio's own threads are waited for, so that
    the process could end no sooner.
    """
    answer: concurrent.futures.Future[_T] = concurrent.futures.Future()
    answer.set_running_or_notify_cancel()  # who leaves does not cancel it

    def work() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(answer)


class Name:
    """A host, and the addresses behind its name; one that is an address already is never looked up.

    An answer is used for `ttl` seconds. `now` is monotonic seconds.
    """

    def __init__(
        self, host: str, port: int, *, ttl: float, resolver: Resolver, now: Callable[[], float]
    ) -> None:
        self._host = host
        self._port = port
        self._ttl = ttl
        self._resolver = resolver
        self._now = now
        self._fixed = addr_to_addr_infos((host, port)) if _is_address(host) else None
        self._known: Sequence[AddrInfoType] = ()
        self._until = -math.inf
        self._turns = count()
        self._asking: asyncio.Future[Sequence[AddrInfoType]] | None = None

    async def addresses(self) -> list[AddrInfoType]:
        """Return all addresses, each time beginning with another one; raises OSError.

        Turns go on across look-ups, so that a repeat does not begin with the address that failed.
        """
        known = self._known if self._now() < self._until else await self._ask_together()
        first = next(self._turns) % len(known)
        return [*known[first:], *known[:first]]

    async def look_up(self) -> Sequence[AddrInfoType]:
        """Ask, whatever is remembered, and remember nothing; raises OSError."""
        if self._fixed is not None:
            return self._fixed
        found = await self._resolver(self._host, self._port)
        if not found:
            raise OSError(f"{self._host} has no address")
        return found

    def forget(self) -> None:
        """Have the next one ask: the addresses are of no use."""
        self._until = -math.inf

    def close(self) -> None:
        """Give up a look-up that is under way."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_together(self) -> Sequence[AddrInfoType]:
        """Wait for the one look-up, which goes on without who leaves."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self.look_up())
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    def _answered(self, asking: "asyncio.Future[Sequence[AddrInfoType]]") -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is None:
            self._known, self._until = asking.result(), self._now() + self._ttl


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
