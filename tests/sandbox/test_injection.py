"""Faults as a client meets them, and what the ledger says was really done."""

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest

from proxy.sandbox import Concurrent, Sandbox
from tests.sandbox.conftest import Serve
from tests.sandbox.running import FakeTime, Running, settings

DATASET = {"name": "New", "slug": "new", "data_type": "image"}


@pytest.mark.parametrize("name", ["500", "502", "504"])
async def test_a_failure_before_the_operation_leaves_nothing_done_and_after_it_all(
    running: Running, name: str
) -> None:
    assert (await running.post("/datasets/", json=DATASET, fault=name)).status == int(name)
    assert not running.last.executed
    assert (await running.post("/datasets/", json=DATASET, fault=f"{name};after")).status == int(name)
    assert running.last.executed
    assert (await running.post("/datasets/", json=DATASET)).status == 409


@pytest.mark.parametrize(("fault", "done"), [("reset", False), ("reset;after", True)])
async def test_a_reset_sends_no_head(running: Running, fault: str, done: bool) -> None:
    async with running.raw("GET /users/me/", f"X-Sandbox-Fault: {fault}") as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    entry = running.last
    assert (entry.status, entry.fault, entry.executed, entry.note) == (None, "reset", done, None)
    assert running.sandbox.ledger.summary(entries=False)["by_status"] == {"none": 1}


async def test_a_truncated_answer_has_the_whole_length_and_half_the_body(running: Running) -> None:
    whole = await running.get("/users/me/")
    async with running.raw("GET /users/me/", "X-Sandbox-Fault: truncated") as (reader, _):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(whole.body)}".encode() in head
    assert body == whole.body[: len(whole.body) // 2]
    assert (running.last.status, running.last.executed) == (200, True)


@pytest.mark.parametrize(
    "path", ["/downloads/200000/", "/events/stream/?count=3", "/events/stream/?count=0", "/users/me/"]
)
async def test_any_body_can_be_truncated(running: Running, path: str) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await running.get(path, fault="truncated")
    await running.settled()
    assert (running.last.status, running.last.fault) == (200, "truncated")


async def test_an_answer_without_a_body_is_reset_instead_of_truncated(running: Running) -> None:
    uid = (await running.get("/datasets/?limit=1")).json["results"][0]["uid"]
    async with running.raw(f"DELETE /datasets/{uid}/", "X-Sandbox-Fault: truncated") as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert (running.last.status, running.last.executed) == (None, True)


async def test_slow_waits_before_the_operation(running: Running) -> None:
    assert (await running.get("/users/me/", fault="slow;seconds=0.2")).status == 200
    assert (await running.get("/users/me/", fault="slow")).status == 200
    assert running.time.slept == [0.2, 2.0]


async def test_a_request_that_hangs_is_answered_never_and_noted_when_its_client_leaves(
    running: Running,
) -> None:
    body = b'{"name":"New"}'
    async with running.raw(
        "POST /datasets/", "X-Sandbox-Fault: hang", f"Content-Length: {len(body)}", body=body
    ) as (reader, _):
        await running.faulted()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)
        assert running.sandbox.ledger.summary(entries=False)["in_flight"] == 1
    await running.settled()
    entry = running.last
    assert (entry.status, entry.fault, entry.executed, entry.note) == (None, "hang", False, "client_gone")
    assert entry.body_size == len(body)
    assert running.time.slept == []


async def test_a_request_that_hangs_for_a_time_ends_with_a_reset(running: Running) -> None:
    async with running.raw("GET /users/me/", "X-Sandbox-Fault: hang;seconds=30") as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    assert running.time.slept == [30.0]
    entry = running.last
    assert (entry.status, entry.fault, entry.executed, entry.note) == (None, "hang", False, None)


async def test_a_request_that_hangs_ends_with_the_server_and_says_so() -> None:
    sandbox = Sandbox(settings(faults={"hang": 1.0}))
    async with AsyncExitStack() as clients:
        async with sandbox.running() as url:
            client = Running(sandbox, url, aiohttp.ClientSession(), FakeTime())
            await clients.enter_async_context(client.session)
            reader, _ = await clients.enter_async_context(client.raw("GET /users/me/"))
            await client.faulted()
        assert await reader.read() == b""
    entry = sandbox.ledger.entries[0]
    assert (entry.status, entry.fault, entry.executed, entry.note) == (None, "hang", False, "stopped")


async def test_a_request_that_hangs_holds_its_place(serve: Serve) -> None:
    running = await serve(limits={"exports": Concurrent(1)})
    async with running.raw("POST /exports/", "X-Sandbox-Fault: hang"):
        await running.faulted()
        assert (await running.post("/exports/", json={"dataset": "d"})).status == 429
    await running.settled()
    assert (await running.post("/exports/", json={"dataset": "d"})).status == 201


async def test_only_the_first_attempts_of_a_key_fail(running: Running) -> None:
    key = {"X-Sandbox-Key": "a"}
    answers = [
        await running.post("/datasets/", json=DATASET, headers=key, fault="503;times=2") for _ in range(3)
    ]
    assert [answer.status for answer in answers] == [503, 503, 201]
    assert [entry.fault for entry in running.sandbox.ledger.entries] == ["503", "503", None]
    assert {entry.key for entry in running.sandbox.ledger.entries} == {"a"}
    assert len({entry.body_sha256 for entry in running.sandbox.ledger.entries}) == 1


async def test_a_faulted_request_was_counted_and_a_refused_one_gets_no_fault(running: Running) -> None:
    for _ in range(20):
        assert (await running.get("/users/me/", fault="500")).status == 500
    assert (await running.get("/users/me/", fault="500")).status == 429
    assert (running.last.fault, running.last.throttled_by) == (None, "burst")


async def test_a_wrong_key_is_401_whatever_fault_it_asks_for(running: Running) -> None:
    assert (await running.get("/users/me/", key="avk_invalid", fault="500")).status == 401


async def test_an_injected_429_tells_the_true_window_but_for_what_was_asked(running: Running) -> None:
    answer = await running.get("/users/me/", fault="429;reset=2")
    assert answer.status == 429
    assert "Retry-After" not in answer.headers
    assert answer.headers["X-RateLimit-Reset"] == str(int(running.time.wall()) + 2)
    assert answer.headers["X-RateLimit-Remaining"] == "99"


async def test_drawn_faults_strike_the_api_by_their_shares_and_nothing_else(serve: Serve) -> None:
    running = await serve(faults={"503": 1.0}, retry_after=3.0)
    answer = await running.get("/users/me/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert (await running.get("//_sandbox/ledger")).status == 200


async def test_the_same_seed_draws_the_same_faults(serve: Serve) -> None:
    drawn = []
    for _ in range(2):
        running = await serve(faults={"500": 0.4, "503": 0.3}, seed=3)
        drawn.append([(await running.get("/users/me/")).status for _ in range(15)])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {200, 500, 503}


async def test_a_client_that_leaves_midway_is_in_the_ledger(running: Running) -> None:
    async with running.raw("POST /datasets/", "Content-Length: 9", body=b"ab"):
        await running.body_begun()
    await running.settled()
    entry = running.last
    assert (entry.status, entry.note, entry.executed, entry.body_sha256) == (None, "client_gone", False, None)


async def test_a_client_that_leaves_a_stream_frees_its_place(running: Running) -> None:
    url = running.url + "/api/v1/events/stream/?count=1000000000&interval=0"
    async with running.session.get(url, headers={"X-Avala-Api-Key": "avk_test"}) as stream:
        await stream.content.readline()
    await running.settled()
    assert (running.last.status, running.last.note) == (200, "client_gone")
