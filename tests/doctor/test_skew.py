"""The clock is judged by what is certain, and the API is asked in a way that it does not count."""

import asyncio
import socket

import pytest

from proxy.clock import LoopClock
from proxy.doctor import skew
from proxy.doctor.report import Result
from tests.adapters.servers import OK, Server, answering, running, sending
from tests.doctor.fixtures import NOW, Standing

DATED = b"HTTP/1.1 405 Nothing\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Length: 9\r\n\r\nundefined"
"""Of `NOW`."""


async def silent(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


@pytest.mark.parametrize(
    ("ahead", "round_trip", "result"),
    [
        (0.0, 0.1, "ok"),
        (0.99, 0.0, "ok"),  # of the same second
        (-2.0, 0.0, "ok"),
        (-2.1, 0.0, "warning"),
        (-2.1, 0.2, "warning"),  # it can't have been made after it came
        (3.1, 0.0, "warning"),
        (3.1, 0.2, "ok"),  # it may have been made when the request left
        (-29.0, 0.0, "warning"),
        (-31.0, 0.0, "FAIL"),
        (31.9, 1.0, "warning"),
        (32.1, 1.0, "FAIL"),
    ],
)
def test_what_is_certain_counts(ahead: float, round_trip: float, result: str) -> None:
    """`ahead` is how long after the beginning of the API's second its answer came, by our clock."""
    found = skew.judged(NOW, wall=NOW + ahead, round_trip=round_trip)
    assert found.result == result, found


def test_what_a_wrong_clock_does_is_said_for_either_direction() -> None:
    slow = skew.judged(NOW, wall=NOW - 10, round_trip=0.0)
    assert slow.detail.startswith("This machine's clock is 10 s behind the API's: ")
    assert "waited for so much too long" in slow.detail
    fast = skew.judged(NOW, wall=NOW + 3600, round_trip=0.0)
    assert fast.detail.startswith("This machine's clock is 60 min ahead of the API's: ")
    assert fast.detail.endswith("over so much too early, and 429s follow.")
    assert "timedatectl" in fast.advice


async def test_the_server_as_a_whole_is_asked_without_a_key_and_whatever_it_answers_will_do() -> None:
    async with running(answering(DATED)) as (server, upstream):
        found = await skew.examine(upstream, Standing())
        assert found.result is Result.OK
        (head,) = server.heads
    assert head.startswith(b"OPTIONS * HTTP/1.1\r\n")
    assert b"key" not in head.lower()
    assert b"authorization" not in head.lower()


async def test_the_path_of_the_api_does_not_come_before_the_asterisk() -> None:
    async with running(answering(DATED)) as (server, _), sending(f"{server.url}/below/it") as upstream:
        await skew.examine(upstream, LoopClock())
        assert server.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_an_answer_without_a_date_tells_nothing() -> None:
    async with running(answering(OK)) as (_, upstream):
        found = await skew.examine(upstream, LoopClock())
    assert (found.result, found.detail) == (
        Result.SKIPPED,
        "The API's answer to `OPTIONS *` (status 200) has no Date.",
    )


async def test_no_answer_tells_nothing_and_says_so() -> None:
    async with running(silent) as (_, upstream):
        found = await skew.examine(upstream, LoopClock(), 0.1)
    assert found.result is Result.SKIPPED
    assert found.detail.startswith("The API did not answer within 0.1 s.")
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        async with sending(f"http://127.0.0.1:{refusing.getsockname()[1]}") as upstream:
            assert (await skew.examine(upstream, LoopClock())).result is Result.SKIPPED
