"""Gone means gone: wherever its request is, a client that leaves costs what was really sent, and no more."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.sandbox import SandboxSettings
from tests.e2e.stack import KEY, Stack, running
from tests.fakes import until

LIST = "/api/v1/datasets/?limit=2"
UPLOADS = "/api/v1/uploads/"
SLOW = {"X-Sandbox-Fault": "slow;seconds=20"}
WINDOW, TRANSIT = 0.3, 0.1
SOON = 0.3
"""Seconds within which what needs no waiting is done, on a busy machine too."""

ways = pytest.mark.parametrize("rudely", [False, True], ids=["closed", "reset"])


def settings(*, requests: int = 3, together: int = 2, **tables: Any) -> dict[str, Any]:
    """Make a configuration with a window and an "at once" limit over everything."""
    limits = [
        {"name": "window", "requests": requests, "per": WINDOW},
        {"name": "together", "concurrent": together},
    ]
    upstream = {"transit": TRANSIT, "clock_drift": 0.0} | tables.pop("upstream", {})
    return {"limits": limits, "coalescing": {"enabled": False}, "upstream": upstream, **tables}


@dataclass
class Client:
    """One connection, which can be left in two ways."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def leaves(self, *, rudely: bool) -> None:
        """Close it: with a RST and no more, or as programs do."""
        if rudely:
            connection = self.writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


async def asking(
    stack: Stack,
    target: str = LIST,
    fields: dict[str, str] | None = None,
    *,
    method: str = "GET",
    length: int | None = None,
    sent: bytes = b"",
) -> Client:
    """Send a request, or as much of it as is given."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stack.url.rpartition(":")[2]))
    said = {"Host": "h", **KEY, **(fields or {})} | (
        {} if length is None else {"Content-Length": str(length)}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + sent)
    await writer.drain()
    return Client(reader, writer)


def left(stack: Stack) -> dict[str, int]:
    """Return what remains of each limit that is in use."""
    return {one.lane.limit: one.remaining for one in stack.app._ledger.lanes()}


async def gone(stack: Stack, departed: int = 1) -> None:
    """Wait until so many requests have ended with their clients."""
    await until(lambda: len(departures(stack)) == departed)


def departures(stack: Stack) -> list[dict[str, Any]]:
    """Return the log lines of those who left."""
    return [line for line in stack.lines("request") if line["error_class"] == "client_disconnected"]


def summed(metrics: dict[str, float], name: str, *labels: str) -> float:
    """Add up the children of a series that have these labels."""
    return sum(
        value
        for series, value in metrics.items()
        if series.startswith(f"avala_proxy_{name}{{") and all(label in series for label in labels)
    )


async def check_books(
    stack: Stack, *, departed: int = 1, status: str = "none", errors: dict[str, float] | None = None
) -> None:
    """Demand that each who left is counted once, and nothing else is counted as an error.

    And that the API agrees on how often it was asked, and does no more for who is gone.
    """
    await until(lambda: not stack.sandbox.ledger.summary(entries=False)["in_flight"])
    metrics = await stack.metrics()
    counted = {
        series.removeprefix("avala_proxy_errors_total"): value
        for series, value in metrics.items()
        if series.startswith("avala_proxy_errors_total{")
    }
    expected = {'{error_class="client_disconnected",fault="proxy"}': departed, **(errors or {})}
    assert counted == expected
    gone = 'error_class="client_disconnected"'
    assert summed(metrics, "requests_total", gone) == departed
    assert summed(metrics, "requests_total", gone, f'status="{status}"') == departed
    asked = stack.sandbox.ledger.summary(entries=False)["requests"]
    assert summed(metrics, "upstream_attempts_total") == asked
    for line in departures(stack):
        assert line["level"] == "info"
        assert line["fault"] == "proxy"
        assert line["status"] == (None if status == "none" else int(status))
    assert stack.lines("crashed") == stack.lines("library") == []
    assert metrics["avala_proxy_in_flight"] == 0
    assert stack.app.state().queued == 0


async def check_next_goes_at_once(stack: Stack) -> None:
    """Demand that a newcomer finds room."""
    began = asyncio.get_running_loop().time()
    assert (await stack.ask("GET", LIST))[0] == 200
    assert asyncio.get_running_loop().time() - began < SOON


async def check_all_comes_back(stack: Stack, *, requests: int = 3, together: int = 2) -> None:
    """Demand that after a window nothing is held any more."""
    began = asyncio.get_running_loop().time()
    await until(lambda: left(stack) == {"window": requests, "together": together})
    assert asyncio.get_running_loop().time() - began <= WINDOW + TRANSIT + SOON


@ways
async def test_who_leaves_the_line_makes_way_for_the_next(rudely: bool) -> None:
    async with running(**settings(together=1)) as stack:
        first = asyncio.create_task(stack.ask("GET", LIST, fields={"X-Sandbox-Fault": "slow;seconds=0.3"}))
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 1)
        leaver = await asking(stack)
        await until(lambda: stack.app.state().queued == 1)
        second = asyncio.create_task(stack.ask("GET", LIST))
        await until(lambda: stack.app.state().queued == 2)
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert stack.app.state().queued == 1
        assert left(stack) == {"window": 2, "together": 0}, "it had taken nothing"
        assert (await first)[0] == 200
        ended = asyncio.get_running_loop().time()
        assert (await second)[0] == 200
        assert asyncio.get_running_loop().time() - ended < SOON
        (line,) = departures(stack)
        assert (line["attempts"], line["upstream"]) == (0, 0.0)
        assert 0 < line["waited"] <= line["duration"]
        await check_books(stack)
        assert stack.sandbox.ledger.summary()["requests"] == 2
        await check_all_comes_back(stack, together=1)


async def test_who_leaves_the_line_of_a_window_takes_no_slot_with_it() -> None:
    async with running(**settings(requests=1)) as stack:
        began = asyncio.get_running_loop().time()
        assert (await stack.ask("GET", LIST))[0] == 200
        leavers = [await asking(stack) for _ in range(5)]
        await until(lambda: stack.app.state().queued == 5)
        patient = asyncio.create_task(stack.ask("GET", LIST))
        await until(lambda: stack.app.state().queued == 6)
        for leaver in leavers:
            leaver.leaves(rudely=True)
        await gone(stack, 5)
        assert (await patient)[0] == 200
        assert asyncio.get_running_loop().time() - began < WINDOW + TRANSIT + SOON, "not six windows"
        await check_books(stack, departed=5)
        await check_all_comes_back(stack, requests=1)


@ways
async def test_who_leaves_in_back_off_is_not_asked_for_again(rudely: bool) -> None:
    fault = {"X-Sandbox-Fault": "503;retry-after=30"}
    async with running(**settings()) as stack:
        leaver = await asking(stack, fields=fault)
        await until(lambda: stack.sandbox.ledger.summary()["by_status"] == {"503": 1})
        await until(lambda: left(stack) == {"window": 2, "together": 2})
        assert (stack.app.state().in_flight, stack.app.state().queued) == (1, 0)
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert left(stack) == {"window": 2, "together": 2}, "the attempt was counted, and is over"
        (line,) = departures(stack)
        assert line["attempts"] == 1
        await check_books(stack, errors={'{error_class="unavailable",fault="upstream"}': 1})
        await check_all_comes_back(stack)
        assert stack.sandbox.ledger.summary()["requests"] == 1


@ways
async def test_who_leaves_while_its_body_comes_has_cost_nothing(rudely: bool) -> None:
    async with running(**settings(body={"memory": 10_000})) as stack:
        leaver = await asking(stack, UPLOADS, method="POST", length=1_000_000, sent=b"x" * 500_000)
        await until(lambda: stack.app.state().in_flight == 1)
        await asyncio.sleep(0.05)
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert left(stack) == {}
        (line,) = departures(stack)
        assert (line["method"], line["attempts"], line["waited"]) == ("POST", 0, 0.0)
        await check_books(stack)
        assert stack.sandbox.ledger.summary()["requests"] == 0
        await check_next_goes_at_once(stack)


@ways
async def test_who_leaves_while_its_body_goes_up_ends_the_upload(rudely: bool) -> None:
    size = 24_000_000  # more than the kernel takes while the API, which is a while away, does not read
    async with running(SandboxSettings(transit=(0.6, 0.6)), **settings()) as stack:
        leaver = await asking(stack, UPLOADS, method="POST", length=size, sent=b"x" * size)
        await until(lambda: stack.sandbox.ledger.summary(entries=False)["in_flight"] == 1)
        await asyncio.sleep(0.1)
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert left(stack) == {"window": 2, "together": 2}, "what was written may have been counted"
        await until(lambda: not stack.sandbox.ledger.summary(entries=False)["in_flight"])
        (entry,) = stack.sandbox.ledger.entries
        assert (entry.note, entry.executed, entry.body_sha256) == ("client_gone", False, None)
        assert entry.body_size < size
        (line,) = departures(stack)
        assert line["attempts"] == 1
        await check_books(stack)
        await check_all_comes_back(stack)


@ways
async def test_who_leaves_during_the_call_ends_it(rudely: bool) -> None:
    async with running(**settings(requests=1, together=1)) as stack:
        leaver = await asking(stack, fields=SLOW)
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 1)
        following = asyncio.create_task(stack.ask("GET", LIST))
        await until(lambda: stack.app.state().queued == 1)
        began = asyncio.get_running_loop().time()
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert left(stack) == {"window": 0, "together": 1}, "it was sent, and is over"
        await until(lambda: not stack.sandbox.ledger.summary()["in_flight"])
        assert asyncio.get_running_loop().time() - began < SOON
        (entry,) = stack.sandbox.ledger.entries
        assert (entry.note, entry.status, entry.executed) == ("client_gone", None, False)
        assert (await following)[0] == 200
        assert asyncio.get_running_loop().time() - began < WINDOW + TRANSIT + SOON
        await check_books(stack)
        await check_all_comes_back(stack, requests=1, together=1)


async def test_who_leaves_during_a_call_that_may_not_be_repeated_ends_it_too() -> None:
    async with running(**settings()) as stack:
        leaver = await asking(stack, "/api/v1/datasets/", SLOW, method="POST", length=2, sent=b"{}")
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 1)
        leaver.leaves(rudely=True)
        await gone(stack)
        assert left(stack) == {"window": 2, "together": 2}
        await check_books(stack)
        assert [entry.note for entry in stack.sandbox.ledger.entries] == ["client_gone"]


@ways
async def test_who_leaves_during_the_download_ends_it(rudely: bool) -> None:
    async with running(**settings()) as stack:
        leaver = await asking(stack, "/api/v1/downloads/50000000/")
        assert (await leaver.reader.readexactly(10_000)).startswith(b"HTTP/1.1 200 ")
        await until(lambda: left(stack) == {"window": 2, "together": 1})
        leaver.leaves(rudely=rudely)
        await gone(stack)
        assert left(stack) == {"window": 2, "together": 2}
        await check_books(stack, status="200")
        (entry,) = stack.sandbox.ledger.entries
        assert (entry.note, entry.status) == ("client_gone", 200)
        await check_next_goes_at_once(stack)


async def test_who_leaves_a_stream_gives_back_its_place() -> None:
    async with running(**settings(together=1)) as stack:
        accept = {"Accept": "text/event-stream"}
        leaver = await asking(stack, "/api/v1/events/stream/?count=100&interval=0.1", accept)
        await leaver.reader.readuntil(b"data:")
        assert left(stack)["together"] == 0
        leaver.leaves(rudely=True)
        await gone(stack)
        assert left(stack)["together"] == 1
        await check_books(stack, status="200")
        await check_next_goes_at_once(stack)


@ways
async def test_who_leaves_with_a_turn_of_which_nothing_was_written_gives_it_back(rudely: bool) -> None:
    """Its turn had come, but all connections to the API were in use."""
    async with running(**settings(requests=2, together=2, upstream={"max_connections": 1})) as stack:
        first = asyncio.create_task(stack.ask("GET", LIST, fields={"X-Sandbox-Fault": "slow;seconds=0.3"}))
        await until(lambda: stack.sandbox.ledger.summary()["in_flight"] == 1)
        leaver = await asking(stack)
        await until(lambda: left(stack) == {"window": 0, "together": 0})
        second = asyncio.create_task(stack.ask("GET", LIST))
        await until(lambda: stack.app.state().queued == 1)
        leaver.leaves(rudely=rudely)
        await gone(stack)
        await until(lambda: stack.app.state().queued == 0)
        assert left(stack) == {"window": 0, "together": 0}, "the next has taken it, at once"
        assert (await first)[0] == (await second)[0] == 200
        await check_books(stack)
        assert stack.sandbox.ledger.summary()["requests"] == 2
        await check_all_comes_back(stack, requests=2)


# Those who go as one.

ONE = settings(requests=1) | {"coalescing": {"enabled": True}}


async def as_one(stack: Stack, target: str, fields: dict[str, str] | None = None) -> list[Client]:
    """Return three clients that wait for the same, when their one call is on its way."""
    assert (await stack.ask("GET", LIST))[0] == 200
    clients = []
    for number in range(3):
        clients.append(await asking(stack, target, fields))
        await until(lambda number=number: stack.app.state().queued == number + 1)  # type: ignore[misc]
    await until(lambda: stack.sandbox.ledger.summary()["requests"] == 2)
    return clients


async def body_of(client: Client) -> bytes:
    """Read an answer with a length to its end."""
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return await client.reader.readexactly(int(length))


@ways
@pytest.mark.parametrize("who", [0, 1])
async def test_who_leaves_leaves_the_call_to_those_who_share_it(who: int, rudely: bool) -> None:
    async with running(**ONE) as stack:
        clients = await as_one(stack, LIST, {"X-Sandbox-Fault": "slow;seconds=0.3"})
        clients.pop(who).leaves(rudely=rudely)
        await gone(stack)
        bodies = [await body_of(client) for client in clients]
        assert len(set(bodies)) == 1
        await until(lambda: len(stack.lines("request")) == 4)
        await check_books(stack)
        assert [entry.note for entry in stack.sandbox.ledger.entries] == [None, None]
        for client in clients:
            client.leaves(rudely=False)
        await check_all_comes_back(stack, requests=1)


@ways
async def test_a_call_that_all_have_left_is_ended(rudely: bool) -> None:
    async with running(**ONE) as stack:
        for number, client in enumerate(await as_one(stack, LIST, SLOW)):
            assert stack.sandbox.ledger.summary()["in_flight"] == 1
            client.leaves(rudely=rudely)
            await gone(stack, number + 1)
        assert left(stack) == {"window": 0, "together": 2}
        await check_books(stack, departed=3)
        assert [entry.note for entry in stack.sandbox.ledger.entries] == [None, "client_gone"]
        ended = 'error_class="client_disconnected"'
        assert summed(await stack.metrics(), "upstream_attempts_total", ended) == 1
        await check_all_comes_back(stack, requests=1)
        await check_next_goes_at_once(stack)


async def test_a_call_that_all_leave_in_the_same_moment_is_ended() -> None:
    async with running(**ONE) as stack:
        for client in await as_one(stack, LIST, SLOW):
            client.leaves(rudely=True)
        await gone(stack, 3)
        await check_books(stack, departed=3)
        assert stack.sandbox.ledger.entries[-1].note == "client_gone"


async def test_those_who_share_a_download_get_all_of_it_when_one_leaves_in_the_middle() -> None:
    size = 3_000_000
    async with running(**ONE) as stack:
        leaver, *others = await as_one(stack, f"/api/v1/downloads/{size}/")
        await leaver.reader.readexactly(1000)
        reading = [asyncio.create_task(body_of(other)) for other in others]
        leaver.leaves(rudely=True)
        bodies = await asyncio.gather(*reading)
        assert [len(body) for body in bodies] == [size, size]
        assert bodies[0] == (bytes(range(256)) * (size // 256 + 1))[:size]
        await until(lambda: len(stack.lines("request")) == 4)
        assert stack.sandbox.ledger.summary()["requests"] == 2
        for other in others:
            other.leaves(rudely=False)


async def test_a_shared_download_that_all_have_left_is_ended() -> None:
    async with running(**ONE) as stack:
        clients = await as_one(stack, "/api/v1/downloads/50000000/")
        for client in clients:
            await client.reader.readexactly(1000)
        for number, client in enumerate(clients):
            client.leaves(rudely=True)
            await gone(stack, number + 1)
        assert left(stack)["together"] == 2
        await check_books(stack, departed=3, status="200")
        assert stack.sandbox.ledger.entries[-1].note == "client_gone"


async def test_those_who_leave_the_line_together_were_never_sent() -> None:
    async with running(**ONE) as stack:
        assert (await stack.ask("GET", LIST))[0] == 200
        clients = [await asking(stack, LIST) for _ in range(3)]
        await until(lambda: stack.app.state().queued == 3)
        for client in clients:
            client.leaves(rudely=True)
        await gone(stack, 3)
        await check_books(stack, departed=3)
        assert stack.sandbox.ledger.summary()["requests"] == 1
        await check_all_comes_back(stack, requests=1)
