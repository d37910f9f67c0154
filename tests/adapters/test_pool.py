"""Connections are used again while they are good, never more than may be, and whoever waits gets one.

These tests also guard the parts of aiohttp's inside that `adapters/pool.py` leans on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.adapters.pool import Pool, PoolState
from proxy.adapters.upstream import Upstream
from proxy.errors import ErrorClass, UpstreamError
from tests.adapters.servers import (
    OK,
    Clock,
    Dns,
    Marks,
    Server,
    answering,
    ask,
    failure,
    read,
    running,
    sending,
    serving,
)
from tests.fakes import until

ONE, TWO = "127.0.0.1", "127.0.0.2"

_P = TypeVar("_P", bound=asyncio.Protocol)


class Gate:
    """Answers each request when it is told to."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            await server.head(reader)
            await self.opened.wait()
            writer.write(OK)


async def call(upstream: Upstream, method: str = "GET") -> bytes:
    return await read(await upstream.send(ask(method), Marks()))


@asynccontextmanager
async def pooling(base_url: str, dialer: type[Dialer] = Dialer, **settings: float) -> AsyncIterator[Pool]:
    chosen = config.Upstream.model_validate({"base_url": base_url, **settings})
    now = asyncio.get_running_loop().time
    pool = Pool(chosen, dialer(chosen, resolver=Dns([ONE]), now=now), keep=True, now=now)
    try:
        yield pool
    finally:
        await pool.close()


# What it says of itself.


async def test_it_shows_what_is_open_busy_and_waited_for() -> None:
    gate = Gate()
    async with running(gate, max_connections=2) as (server, upstream):
        assert upstream.pools == {"kept": PoolState(0, 0, 0), "fresh": PoolState(0, 0, 0)}
        calls = [asyncio.create_task(call(upstream)) for _ in range(3)]
        calls.append(asyncio.create_task(call(upstream, "POST")))
        await until(lambda: len(server.heads) == 3)
        assert upstream.pools == {"kept": PoolState(2, 2, 1), "fresh": PoolState(1, 1, 0)}
        assert repr(upstream) == (
            f"<Upstream {server.url} kept: 2 open, 2 busy, 1 waiting; fresh: 1 open, 1 busy, 0 waiting>"
        )
        gate.opened.set()
        assert await asyncio.gather(*calls) == [b"ok"] * 4
        assert upstream.pools == {"kept": PoolState(2, 0, 0), "fresh": PoolState(0, 0, 0)}


async def test_a_pool_shows_itself() -> None:
    async with serving(answering(OK)) as server, pooling(server.url) as pool:
        (await pool.take()).release()
        assert repr(pool) == "<Pool 1 open, 0 busy, 0 waiting>"


async def test_an_idle_connection_that_was_closed_counts_no_more() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(OK)

    async with running(script) as (_, upstream):
        await call(upstream)
        await until(lambda: upstream.pools["kept"].open == 0)


# Waiting for a connection.


async def test_waiting_for_a_connection_is_no_failure_to_connect() -> None:
    gate = Gate()
    async with running(gate, max_connections=1, connect_timeout=0.05) as (server, upstream):
        calls = [asyncio.create_task(call(upstream)) for _ in range(3)]
        await until(lambda: upstream.pools["kept"].waiting == 2)
        await asyncio.sleep(0.15)
        gate.opened.set()
        assert await asyncio.gather(*calls) == [b"ok"] * 3
        assert server.connections == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_more_are_open_than_may_be_and_all_are_served(method: str) -> None:
    peak = 0

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal peak
        while True:
            await server.head(reader)
            peak = max(peak, upstream.pools["kept"].open + upstream.pools["fresh"].open)
            await asyncio.sleep(0.001)
            writer.write(OK)

    async with running(script, max_connections=3) as (_, upstream):
        assert await asyncio.gather(*(call(upstream, method) for _ in range(50))) == [b"ok"] * 50
    assert peak == 3


async def test_who_leaves_when_its_turn_has_come_hands_it_on() -> None:
    async with serving(answering(OK)) as server, pooling(server.url, max_connections=1) as pool:
        first = await pool.take()
        leaver, other = (asyncio.create_task(pool.take()) for _ in range(2))
        await until(lambda: pool.state.waiting == 2)
        first.release()
        leaver.cancel()
        async with asyncio.timeout(2.0):
            (await other).release()
        assert leaver.cancelled()


async def test_closing_tells_those_who_wait_and_does_not_cancel_them() -> None:
    async with running(Gate(), max_connections=1) as (server, upstream):
        busy = asyncio.create_task(failure(upstream))
        waiting = asyncio.create_task(failure(upstream))
        await until(lambda: len(server.heads) == 1 and upstream.pools["kept"].waiting == 1)
        await upstream.close()
        error = await waiting
        assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TERMINATED, False)
        assert (await busy).written is True


async def test_a_connection_that_is_made_after_closing_is_closed_as_well() -> None:
    asked, wanted = asyncio.Event(), asyncio.Event()

    class Late(Dialer):
        async def dial(self, factory: Callable[[], _P]) -> _P:
            asked.set()
            await wanted.wait()
            return await super().dial(factory)

    async with serving(answering(OK)) as server, pooling(server.url, Late) as pool:
        taking = asyncio.create_task(pool.take())
        await asked.wait()
        await pool.close()
        wanted.set()
        with pytest.raises(UpstreamError) as raised:
            await taking
        assert raised.value.error_class is ErrorClass.CONNECTION_TERMINATED
        await until(lambda: (server.connections, server.open) == (1, 0))


async def test_closing_tells_those_who_look_the_name_up() -> None:
    dns = Dns([ONE], gate=asyncio.Event())
    async with sending("http://api.test:1", with_={"resolver": dns}) as upstream:
        connecting = asyncio.create_task(failure(upstream))
        await until(lambda: len(dns.questions) == 1)
        await upstream.close()
        assert (await connecting).error_class is ErrorClass.CONNECTION_TERMINATED


async def test_who_leaves_while_it_closes_has_left() -> None:
    async with running(Gate(), max_connections=1) as (server, upstream):
        busy = asyncio.create_task(failure(upstream))
        waiting = asyncio.create_task(failure(upstream))
        await until(lambda: len(server.heads) == 1 and upstream.pools["kept"].waiting == 1)
        waiting.cancel()
        await upstream.close()
        await asyncio.gather(waiting, busy, return_exceptions=True)
        assert waiting.cancelled()


# Which are used again.


async def test_an_old_connection_is_closed_when_it_comes_back() -> None:
    clock, gate = Clock(), Gate()
    async with running(gate, with_={"now": clock}, connection_age=300.0) as (server, upstream):
        busy = asyncio.create_task(call(upstream))
        await until(lambda: len(server.heads) == 1)
        clock.time += 300.0
        gate.opened.set()
        assert await busy == b"ok", "it is not cut while it is busy"
        assert upstream.pools["kept"].open == 0
        await call(upstream)
        assert server.connections == 2


async def test_a_connection_that_grew_old_while_it_was_idle_is_not_picked() -> None:
    clock = Clock()
    async with running(answering(OK), with_={"now": clock}, connection_age=300.0) as (server, upstream):
        for seconds, connections in ((0.0, 1), (299.0, 1), (1.0, 2), (299.0, 2)):
            clock.time += seconds
            assert await call(upstream) == b"ok"
            assert server.connections == connections
        await until(lambda: server.open == 1)


async def test_a_changed_address_is_followed_within_the_two_ages_and_nothing_is_cut() -> None:
    clock, dns, gate = Clock(), Dns([ONE]), Gate()
    made = {"resolver": dns, "now": clock}
    async with (
        serving(gate, ONE) as old,
        serving(answering(OK), TWO, old.port) as new,
        sending(f"http://api.test:{old.port}", with_=made, connection_age=300.0, dns_ttl=30.0) as upstream,
    ):
        busy = [asyncio.create_task(call(upstream)) for _ in range(2)]
        await until(lambda: len(old.heads) == 2)
        dns.addresses = [TWO]
        clock.time += 30.0
        assert await call(upstream, "POST") == b"ok"
        assert len(new.heads) == 1, "new connections go to the new address"
        clock.time += 300.0
        gate.opened.set()
        assert await asyncio.gather(*busy) == [b"ok"] * 2
        for _ in range(3):
            assert await call(upstream) == b"ok"
        assert (len(old.heads), len(new.heads)) == (2, 4)


async def test_an_idle_connection_is_kept_so_long_and_no_longer() -> None:
    async with running(answering(OK), keep_alive=0.1) as (server, upstream):
        await call(upstream)
        await call(upstream)
        assert server.connections == 1
        await until(lambda: server.open == 0)  # closed by itself, with no further request
        await call(upstream)
        assert server.connections == 2


class Stillborn(Dialer):
    """Makes connections that are lost at once."""

    async def dial(self, factory: Callable[[], _P]) -> _P:
        return factory()


async def test_a_connection_that_is_lost_at_once_is_a_failure_and_not_tried_for_ever() -> None:
    async with pooling("http://api.test:1", Stillborn) as pool:
        with pytest.raises(UpstreamError) as raised:
            await pool.take()
        assert (raised.value.error_class, raised.value.written) == (ErrorClass.CONNECTION_TERMINATED, False)
        assert pool.state == PoolState(0, 0, 0)
