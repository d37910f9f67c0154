"""Whatever the upstream sends, the client gets one whole answer, a 502 or 504, or a clear break.

It never gets bytes of another's answer, and the proxy serves on.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.wire.hostile_answers import ANSWERS, Bad
from tests.wire.raw import Message, Wire, connected
from tests.wire.stack import Stack, proxied

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUTS = {"head_timeout": 0.3, "read_timeout": 0.3}
IN_TIME = 1.2
"""Seconds; both timeouts, and a moment more for a machine that is busy."""
LARGE = 16_000_000
"""Bytes: more than fits into the buffers between the proxy and the upstream."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with proxied(upstream=TIMEOUTS) as made:
        yield made


def request(target: bytes, method: bytes = b"GET") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: h\r\n" % (method, target)
    return head + (b"Content-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE if method == b"PUT" else b"\r\n")


def check_failure(answer: Message, bad: Bad) -> None:
    """Demand Avala's shape, and a name for what was wrong."""
    assert answer.status == bad.status
    if bad.method != b"HEAD":
        assert json.loads(answer.body)["code"].startswith("proxy_")
    assert answer.all(b"proxy-status") == [b"avala-proxy; error=" + bad.error.encode()]
    assert b"evil" not in b"".join(name + value for name, value in answer.fields).lower()


async def check_break(wire: Wire, bad: Bad) -> None:
    """Demand that the client cannot take the answer for whole, and finds no second head in it."""
    with pytest.raises((EOFError, ConnectionResetError)):
        await wire.response(bad.method)
    assert wire.received.count(b"HTTP/1.1 ") == 1


async def exchange(wire: Wire, bad: Bad) -> bool:
    """Ask once; return whether the connection to the client goes on."""
    await wire.send(request(b"/bad", bad.method))
    async with asyncio.timeout(IN_TIME):
        if bad.status == 200 and bad.whole is None:
            await check_break(wire, bad)
            return False
        answer = await wire.response(bad.method)
    if bad.whole is None:
        check_failure(answer, bad)
    else:
        assert answer.status not in range(500, 600)
        assert answer.body == bad.whole
        assert answer.all(b"x-evil") == []
    return answer.all(b"connection") != [b"close"]


async def check_next(wire: Wire) -> None:
    """Demand that the next request gets its own answer."""
    await wire.send(request(b"/next"))
    answer = await wire.response()
    assert (answer.status, answer.body, answer.all(b"x-evil")) == (200, b"ok", [])


@pytest.mark.parametrize("bad", ANSWERS, ids=[bad.name for bad in ANSWERS])
async def test_a_hostile_answer_reaches_nobody_as_one_that_is_whole(stack: Stack, bad: Bad) -> None:
    upstream = stack.upstream
    if bad.greets:
        upstream.play(greeting=bad.script)
        await upstream.hang_up()
    else:
        upstream.play(bad.script, early=bad.early)
    async with connected(stack.port) as wire:
        goes_on = await exchange(wire, bad)
        await asyncio.sleep(bad.pause)
        used = upstream.connections
        async with connected(stack.port) as other:
            await check_next(other)
        if goes_on:
            await check_next(wire)
    assert (upstream.connections == used) is bad.kept


async def test_there_are_enough_of_them() -> None:
    assert len({bad.script for bad in ANSWERS}) >= 40
