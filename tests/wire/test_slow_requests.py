"""Clients that are slow, silent, too many or too large end in time, and cost the upstream nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from tests.wire.raw import Message, Wire, connected
from tests.wire.stack import Stack, proxied
from tests.wire.test_hostile_requests import check_refusal, check_second

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = 0.3
"""Seconds; a machine that is busy takes a moment more."""
LISTEN = {
    "head_timeout": PATIENT,
    "body_timeout": PATIENT,
    "body_rate": 1000.0,
    "idle_timeout": 2 * PATIENT,
    "max_connections": 3,
}
SIZED = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with proxied(listen=LISTEN, body={"max_size": 1000}) as made:
        yield made


async def drip(wire: Wire, piece: bytes, *, every: float) -> None:
    """Send a piece again and again, until cancelled."""
    while True:
        await wire.send(piece)
        await asyncio.sleep(every)


async def ends(wire: Wire) -> float:
    """Wait for the end, which nothing precedes; return the seconds that it took."""
    began = asyncio.get_running_loop().time()
    assert await wire.rest() == b""
    return asyncio.get_running_loop().time() - began


async def refusal(stack: Stack, begun: bytes, piece: bytes = b"", *, every: float = 0.05) -> Message:
    """Begin a request, go on with it slowly, and return the answer, after which the proxy serves others."""
    stack.upstream.play()
    async with connected(stack.port) as wire:
        await wire.send(begun)
        dripping = asyncio.create_task(drip(wire, piece, every=every))
        try:
            answer = await wire.response()
            assert await wire.rest() == b""
        finally:
            dripping.cancel()
    assert stack.upstream.received == []
    async with connected(stack.port) as other:
        await check_second(stack, other)
    return answer


SLOW_HEADS = {
    "stops-in-the-line": (b"GET / HT", b""),
    "stops-before-the-fields": (b"GET / HTTP/1.1\r\n", b""),
    "stops-before-the-end": (b"GET / HTTP/1.1\r\nHost: h\r\n", b""),
    "stops-inside-the-last-line-end": (b"GET / HTTP/1.1\r\nHost: h\r\n\r", b""),
    "drips-a-target": (b"GET /", b"a"),
    "drips-a-value": (b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"a"),
    "drips-fields": (b"GET / HTTP/1.1\r\nHost: h\r\n", b"X: 1\r\n"),
    "empty-lines-first": (b"\r\n\r\nGET /", b"a"),
}


@pytest.mark.parametrize(("begun", "piece"), SLOW_HEADS.values(), ids=SLOW_HEADS)
async def test_a_slow_head_is_not_waited_for(stack: Stack, begun: bytes, piece: bytes) -> None:
    check_refusal(await refusal(stack, begun, piece), 408, "proxy_request_timeout")


SLOW_BODIES = {
    "never-comes": (SIZED, b""),
    "stops": (SIZED + b"abc", b""),
    "drips": (SIZED, b"a"),
    "drips-faster-but-too-slowly": (SIZED + b"abc", b"0123456789"),
    "chunks-never-come": (CHUNKED, b""),
    "chunks-stop": (CHUNKED + b"3\r\nabc\r\n", b""),
    "chunks-stop-before-the-last-line": (CHUNKED + b"3\r\nabc\r\n0\r\n", b""),
    "chunks-drip": (CHUNKED, b"1\r\na\r\n"),
    "chunk-extension-drips": (CHUNKED + b"3;", b"a"),
    "chunk-size-drips": (CHUNKED, b"0"),
    "trailers-drip": (CHUNKED + b"0\r\n", b"X: 1\r\n"),
}


@pytest.mark.parametrize(("begun", "piece"), SLOW_BODIES.values(), ids=SLOW_BODIES)
async def test_a_slow_body_is_not_waited_for(stack: Stack, begun: bytes, piece: bytes) -> None:
    check_refusal(await refusal(stack, begun, piece), 408, "proxy_request_timeout")


async def test_a_body_that_was_asked_for_and_does_not_come_is_not_waited_for(stack: Stack) -> None:
    async with connected(stack.port) as wire:
        await wire.send(SIZED[:-2] + b"Expect: 100-continue\r\n\r\n")
        answer = await wire.response()
    assert answer.interim == (b"HTTP/1.1 100 Continue",)
    check_refusal(answer, 408, "proxy_request_timeout")


async def test_a_slow_body_that_is_fast_enough_is_taken(stack: Stack) -> None:
    stack.upstream.play()
    async with connected(stack.port) as wire:
        await wire.send(SIZED)
        for _ in range(9):
            await asyncio.sleep(0.04)
            await wire.send(b"x" * 100)
        assert (await wire.response()).body == b"ok"
    assert stack.upstream.requests[0].body == b"x" * 900


async def test_a_second_head_is_as_little_waited_for_as_the_first(stack: Stack) -> None:
    stack.upstream.play()
    async with connected(stack.port) as wire:
        await wire.send(GET + b"GET /hidden HT")
        assert (await wire.response()).body == b"ok"
        check_refusal(await wire.response(), 408, "proxy_request_timeout")
        assert await wire.rest() == b""
    assert len(stack.upstream.requests) == 1


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET], ids=["nothing", "an-empty-line", "a-request"])
async def test_a_silent_connection_is_closed_without_a_word(stack: Stack, sent: bytes) -> None:
    async with connected(stack.port) as wire:
        await wire.send(sent)
        if sent == GET:
            await wire.response()
        assert await ends(wire) > PATIENT / 2


async def test_empty_lines_do_not_keep_a_connection(stack: Stack) -> None:
    async with connected(stack.port) as wire:
        dripping = asyncio.create_task(drip(wire, b"\r\n", every=0.05))
        try:
            async with asyncio.timeout(6 * PATIENT):
                with suppress(ConnectionResetError):  # what is sent on meets nobody
                    assert await wire.rest() == b""
        finally:
            dripping.cancel()


UNFINISHED = {
    "in-the-line": GET[:5],
    "in-the-fields": GET[:20],
    "before-the-end": GET[:-2],
    "in-the-body": SIZED + b"abc",
    "before-the-body": SIZED,
    "in-a-chunk": CHUNKED + b"5\r\nabc",
    "before-the-last-chunk": CHUNKED + b"3\r\nabc\r\n",
    "in-the-trailers": CHUNKED + b"3\r\nabc\r\n0\r\nX: 1\r\n",
}


@pytest.mark.parametrize("content", UNFINISHED.values(), ids=UNFINISHED)
async def test_what_is_ended_before_it_is_whole_is_not_sent_on(stack: Stack, content: bytes) -> None:
    stack.upstream.play()
    async with connected(stack.port) as wire:
        await wire.send(content)
        wire.finish()
        got = await wire.rest()
    assert got == b"" or b'"code":"proxy_' in got
    assert stack.upstream.received == []
    async with connected(stack.port) as other:
        await check_second(stack, other)


async def test_a_client_too_many_is_told_so_and_the_others_stay(stack: Stack) -> None:
    stack.upstream.play()
    async with connected(stack.port) as one, connected(stack.port) as two, connected(stack.port) as three:
        for wire in (one, two, three):
            await wire.send(GET)
            assert (await wire.response()).body == b"ok"
        async with connected(stack.port) as fourth:
            await fourth.send(GET)
            answer = await fourth.response()
            assert await fourth.rest() == b""
        check_refusal(answer, 503, "proxy_too_many_connections")
        assert answer.all(b"retry-after")[0].isdigit()
        await one.send(GET)
        assert (await one.response()).body == b"ok"
    assert len(stack.upstream.requests) == 4
    async with connected(stack.port) as other:
        await check_second(stack, other)


TOO_LARGE = {
    "announced": SIZED.replace(b"900", b"1001"),
    "announced-and-sent": SIZED.replace(b"900", b"200000") + b"x" * 200_000,
    "announced-and-expecting": SIZED.replace(b"900\r\n", b"1001\r\nExpect: 100-continue\r\n"),
    "in-one-chunk": CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
    "in-many-chunks": CHUNKED + b"1\r\nx\r\n" * 1001 + b"0\r\n\r\n",
    "in-a-chunk-that-is-announced": CHUNKED + b"fffffffffff\r\n" + b"x" * 2000,
}


@pytest.mark.parametrize("content", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_body_too_large_is_refused_at_once(stack: Stack, content: bytes) -> None:
    stack.upstream.play()
    async with connected(stack.port) as wire:
        await wire.send(content)
        answer = await wire.response()
        assert await wire.rest() == b""
    assert answer.interim == ()
    check_refusal(answer, 413, "proxy_request_too_large")
    assert stack.upstream.received == []
    async with connected(stack.port) as other:
        await check_second(stack, other)
