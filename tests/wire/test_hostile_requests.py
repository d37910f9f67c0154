"""Hostile requests are refused or made safe, the upstream gets one where one was sent, the proxy goes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import h11
import pytest
import pytest_asyncio

from tests.wire.hostile import Hostile
from tests.wire.hostile_framing import FRAMING
from tests.wire.hostile_heads import HEADS
from tests.wire.raw import Message, Wire, connected
from tests.wire.stack import Stack, proxied

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = FRAMING + HEADS
CODES = {
    400: "proxy_bad_request",
    413: "proxy_request_too_large",
    414: "proxy_target_too_long",
    431: "proxy_head_too_large",
    501: "proxy_upgrade_refused",
}
SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with proxied() as made:
        yield made


def check_refusal(answer: Message, status: int, code: str) -> None:
    """Demand Avala's shape, and that it is the last one."""
    said = json.loads(answer.body)
    assert (answer.status, said["code"]) == (status, code)
    assert said.keys() == {"detail", "code", "doc_url"}
    assert answer.all(b"content-type")[0].startswith(b"application/json")
    assert answer.all(b"proxy-status")[0].startswith(b"avala-proxy; error=")
    # To HTTP/1.0 the end need not be announced.
    assert (answer.line[:8], answer.all(b"connection")) in ((b"HTTP/1.1", [b"close"]), (b"HTTP/1.0", []))


def requests_in(content: bytes) -> Iterator[h11.Request]:
    """Read what an upstream got, strictly: whole requests and nothing else."""
    while content:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(content)
        head = connection.next_event()
        assert isinstance(head, h11.Request)
        while isinstance(event := connection.next_event(), h11.Data):
            pass
        assert isinstance(event, h11.EndOfMessage)
        assert event.headers == h11.EndOfMessage().headers
        yield head
        content = connection.trailing_data[0]


def requests_at(stack: Stack) -> list[h11.Request]:
    """Return every request that the upstream got since it was told what to play."""
    return [request for content in stack.upstream.received for request in requests_in(content)]


async def send(wire: Wire, content: bytes, pieces: str) -> None:
    """Send at once, by lines, or byte by byte, each a segment of its own."""
    if pieces == "at-once":
        await wire.send(content)
        return
    lines = content.splitlines(keepends=True) if pieces == "by-lines" or len(content) > 1000 else None
    for piece in lines or [content[at : at + 1] for at in range(len(content))]:
        await wire.send(piece)
        await asyncio.sleep(0)


async def check(stack: Stack, hostile: Hostile, pieces: str) -> None:
    """Play the client, and look at what came of it at both ends."""
    stack.upstream.play()
    content = b"".join(step for step in hostile.script if isinstance(step, bytes))
    content = content.replace(b"@HERE@", b"127.0.0.1:%d" % stack.port)
    async with connected(stack.port) as wire:
        sending = asyncio.create_task(send(wire, content, pieces))
        answers = [await wire.response() for _ in hostile.answers]
        sending.cancel()  # who has been refused need not go on
        for answer, status in zip(answers, hostile.answers, strict=True):
            if status == 200:
                assert (answer.status, answer.body) == (200, b"ok")
            else:
                check_refusal(answer, status, CODES[status])
        expected = hostile.answers.count(200)
        assert len(requests_at(stack)) == expected
        seen = b"".join(stack.upstream.received)
        assert hostile.keeps in seen
        assert hostile.loses not in seen
        if hostile.answers[-1] == 200 and not answers[-1].all(b"connection"):
            await check_second(stack, wire)
        else:
            # Whoever sends on after the last answer may be reset, but not after a refusal.
            with suppress(*[ConnectionResetError] * (hostile.answers[-1] == 200)):
                assert await wire.rest() == b""
            assert len(requests_at(stack)) == expected
    async with connected(stack.port) as other:
        await check_second(stack, other)


async def check_second(stack: Stack, wire: Wire) -> None:
    """Demand that another request on a connection is itself, and gets its own answer."""
    stack.upstream.play()
    await wire.send(SECOND)
    assert (await wire.response()).body == b"ok"
    (second,) = requests_at(stack)
    assert second.target == b"/second"
    assert [name for name, _ in second.headers] == [b"host", b"via", b"x-request-id"]


@pytest.mark.parametrize("pieces", ["at-once", "by-lines", "by-bytes"])
@pytest.mark.parametrize("hostile", HOSTILE, ids=[hostile.name for hostile in HOSTILE])
async def test_a_hostile_request_is_refused_or_made_safe(stack: Stack, hostile: Hostile, pieces: str) -> None:
    await check(stack, hostile, pieces)


async def test_there_are_enough_of_them() -> None:
    assert len({hostile.script for hostile in HOSTILE}) >= 120
