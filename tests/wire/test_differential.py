"""What crosses the proxy is what was sent, but for what `differences.py` lists, and that happens exactly so.

Each exchange takes place twice, byte for byte the same: straight with the upstream, and through the proxy.
What the upstream and the client got the first time, changed as the lists say, is what they must get the
second time. Values are compared without the spaces around them (RFC 9110 section 5.5).
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from tests.wire.differences import DOWN, MADE, PATTERNS, UP, UPSTREAM, changed, version, without
from tests.wire.exchange import Exchange
from tests.wire.exchanges_down import ANSWERED, of_status
from tests.wire.exchanges_up import SENT
from tests.wire.raw import Message, Wire, connected, parsed
from tests.wire.stack import Stack, proxied

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXCHANGES = SENT + ANSWERED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with proxied(listen={"max_field": 32_768}) as made:
        yield made


@dataclass(frozen=True)
class Half:
    """What one way of an exchange brought about."""

    got: list[Message]
    seen: list[Message]


async def _carry_out(exchange: Exchange, stack: Stack, port: int) -> Half:
    """Take part as the client; at the end, see whether the proxy keeps the connection when it should."""
    stack.upstream.play(*exchange.answers)
    here = b"127.0.0.1:%d" % port
    requests = [[part.replace(b"@HERE@", here) for part in request] for request in exchange.requests]
    got: list[Message] = []
    async with connected(port) as wire:
        if exchange.pipelined:
            await wire.send(b"".join(part for request in requests for part in request))
        for head, *rest in requests:
            if not exchange.pipelined:
                await wire.send(head)
            for body in rest:
                assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
                await wire.send(body)
            got.append(await wire.response(head.partition(b" ")[0]))
        seen = list(stack.upstream.requests)
        if port == stack.port:
            await _check_end(wire, kept=_persistent(parsed(requests[-1][0]), got[-1]))
    return Half(got, seen)


def _persistent(sent: Message, got: Message) -> bool:
    """RFC 9112 section 9.3; an upgrade that was ignored ends the connection too (docs/errors.md)."""
    options = b",".join(sent.all(b"connection")).lower()
    if version(sent) == b"1.0":
        return b"keep-alive" in options and got.framing != "close"
    return b"close" not in options and b"upgrade" not in options


async def _check_end(wire: Wire, *, kept: bool) -> None:
    if kept:
        await wire.send(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await wire.response()).body == b"ok"
    else:
        assert await wire.rest() == b""


def _comparable(message: Message, expected: Message) -> Message:
    """Put `MADE` where it is expected, if what is there looks as it must."""
    if len(message.fields) != len(expected.fields):
        return message
    fields = tuple(
        (key, MADE) if wanted == MADE and re.fullmatch(PATTERNS[key.lower()], value) else (key, value)
        for (key, value), (_, wanted) in zip(message.fields, expected.fields, strict=True)
    )
    return replace(message, fields=fields)


def _framing_apart(message: Message, sent: Message) -> Message:
    """Take out the fields that tell of the client's connection, if they are the right ones."""
    options = [b"close"] if not _persistent(sent, message) and version(sent) == b"1.1" else []
    if version(sent) == b"1.0" and _persistent(sent, message):
        options = [b"keep-alive"]
    assert message.all(b"connection") == options
    assert message.all(b"transfer-encoding") == ([b"chunked"] if message.framing == "chunked" else [])
    return without({b"connection", b"transfer-encoding"}, message)


async def _compare(exchange: Exchange, stack: Stack) -> None:
    """Carry an exchange out both ways, and demand that it differs only as it may."""
    straight = await _carry_out(exchange, stack, stack.upstream.port)
    through = await _carry_out(exchange, stack, stack.port)
    sent = [parsed(request[0]) for request in exchange.requests]
    assert len(through.seen) == len(straight.seen) == len(through.got) == len(straight.got) == len(sent)
    for seen, message, request in zip(through.seen, straight.seen, sent, strict=True):
        expected = _named(changed(UP, message, request), stack)
        assert _comparable(seen, expected) == expected
    for got, message, request in zip(through.got, straight.got, sent, strict=True):
        expected = changed(DOWN, message, request)
        assert _comparable(_framing_apart(got, request), expected) == expected


def _named(message: Message, stack: Stack) -> Message:
    here = b"127.0.0.1:%d" % stack.upstream.port
    fields = tuple((key, here if value == UPSTREAM else value) for key, value in message.fields)
    return replace(message, fields=fields)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
async def test_an_exchange_differs_only_as_the_lists_say(stack: Stack, exchange: Exchange) -> None:
    await _compare(exchange, stack)


@pytest.mark.parametrize("hundred", [200, 300, 400, 500])
async def test_every_status_crosses_with_a_body_and_without(stack: Stack, hundred: int) -> None:
    for status in range(hundred, hundred + 100):
        for exchange in of_status(status):
            await _compare(exchange, stack)


async def test_each_allowed_difference_is_needed(stack: Stack) -> None:
    needed: set[str] = set()
    for exchange in EXCHANGES:
        straight = await _carry_out(exchange, stack, stack.upstream.port)
        for seen, got, request in zip(straight.seen, straight.got, exchange.requests, strict=True):
            changed(UP, seen, parsed(request[0]), needed)
            changed(DOWN, got, parsed(request[0]), needed)
    assert needed == UP.keys() | DOWN.keys()


async def test_there_are_enough_exchanges() -> None:
    assert len({exchange.requests + exchange.answers for exchange in EXCHANGES}) >= 150
