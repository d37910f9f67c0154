"""The control pages that move a running sandbox's limits and its drawn faults."""

import asyncio
from typing import Any

import pytest

from proxy.sandbox import DOCUMENTED_LIMITS
from tests.sandbox.conftest import Serve
from tests.sandbox.running import Answer, Running

LIMITS = "//_sandbox/limits"
FAULTS = "//_sandbox/faults"
DOCUMENTED = {scope: str(limit) for scope, limit in DOCUMENTED_LIMITS.items()}


async def put(running: Running, page: str, body: Any) -> Answer:
    return await running.ask("PUT", page, key=None, **{"data" if isinstance(body, bytes) else "json": body})


async def test_limits_are_shown_and_changed_scope_by_scope(running: Running) -> None:
    assert (await running.get(LIMITS, key=None)).json == DOCUMENTED
    changed = {**DOCUMENTED, "standard": "40/60", "exports": "3"}
    answer = await put(running, LIMITS, {"standard": "40/60", "exports": "3"})
    assert (answer.status, answer.json) == (200, changed)
    assert (await put(running, LIMITS, {})).json == changed
    assert (await running.get("/users/me/")).headers["X-RateLimit-Limit"] == "40"


async def test_a_smaller_limit_refuses_what_was_counted_before_until_it_has_left(running: Running) -> None:
    for _ in range(3):
        await running.get("/users/me/")
        running.time.now += 10
    await put(running, LIMITS, {"standard": "2"})
    refused = await running.get("/users/me/")
    assert (refused.status, refused.headers["X-RateLimit-Remaining"]) == (429, "0")
    assert "Retry-After" not in refused.headers
    running.time.now += 30
    refused = await running.get("/users/me/")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
    running.time.now += 10
    assert (await running.get("/users/me/")).status == 200


async def test_fewer_exports_at_once_wait_for_the_jobs_that_run(running: Running) -> None:
    for _ in range(2):
        assert (await running.post("/exports/", json={"dataset": "d"})).status == 201
    await put(running, LIMITS, {"exports": "1"})
    assert (await running.post("/exports/", json={"dataset": "d"})).status == 429
    running.time.now += 2
    assert (await running.post("/exports/", json={"dataset": "d"})).status == 201
    assert (await running.post("/exports/", json={"dataset": "d"})).status == 429


async def test_limits_are_scaled_as_at_the_start_and_can_be_put_back_as_they_are_shown(serve: Serve) -> None:
    running = await serve(time_scale=100.0)
    assert (await put(running, LIMITS, {"standard": "1/30"})).json["standard"] == "1/30"
    assert (await put(running, LIMITS, (await running.get(LIMITS)).json)).json["standard"] == "1/30"
    assert (await running.get("//")).json["limits"]["standard"] == "1/0.3"
    assert (await running.get("/users/me/")).status == 200
    assert (await running.get("/users/me/")).status == 429
    running.time.now += 0.3
    assert (await running.get("/users/me/")).status == 200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "JSON parse error - Expecting value"),
        (b"{", "JSON parse error - "),
        (b"\xff", "JSON parse error - "),
        (b"[" * 100_000, "JSON parse error - "),
        (["standard"], 'The body must be an object, as in {"standard": "40/60", "exports": "3"}.'),
        ({"standard": "40/60", "exports": 3}, "The limit of 'exports' must be a string, as in {"),
        ({"minute": "5/60"}, "'minute=5/60': there is no limit 'minute'; there are standard, burst"),
        ({"exports": "3", "standard": "0/60"}, "standard is requests/seconds, both above 0"),
        ({"exports": "5/60"}, "exports is a whole number at once, at least 1, such as exports=5."),
        ({"exports=3": ""}, "'exports=3=': exports is a whole number"),
        ({"\ud800": "1"}, r"there is no limit '\ud800'"),
    ],
)
async def test_limits_that_cannot_be_read_are_400_with_a_sentence_and_change_nothing(
    running: Running, body: Any, sentence: str
) -> None:
    answer = await put(running, LIMITS, body)
    assert answer.status == 400
    assert sentence in answer.json["detail"]
    assert (await running.get(LIMITS)).json == DOCUMENTED


async def test_an_outage_begins_and_ends_while_the_sandbox_runs(running: Running) -> None:
    assert (await running.get(FAULTS, key=None)).json == {"rates": {}, "retry_after": None}
    outage = {"rates": {"503": 1.0}, "retry_after": 120.0}
    answer = await put(running, FAULTS, outage)
    assert (answer.status, answer.json) == (200, outage)
    assert (await running.get(FAULTS)).json == outage
    assert (await running.get("//")).json["faults"]["drawn"] == {"503": 1.0}
    failed = await running.get("/users/me/")
    assert (failed.status, failed.headers["Retry-After"]) == (503, "120")
    assert (await put(running, FAULTS, {})).json == {"rates": {}, "retry_after": None}
    assert (await running.get("/users/me/")).status == 200


async def test_faults_are_put_as_a_whole_and_can_be_put_back_as_they_are_shown(serve: Serve) -> None:
    running = await serve(faults={"500": 0.25}, retry_after=3.0)
    shown = (await running.get(FAULTS)).json
    assert shown == {"rates": {"500": 0.25}, "retry_after": 3.0}
    assert (await put(running, FAULTS, shown)).json == shown
    assert (await put(running, FAULTS, {"rates": {"503": 1}})).json == {
        "rates": {"503": 1.0},
        "retry_after": None,
    }
    assert (await put(running, FAULTS, {"retry_after": 5})).json == {"rates": {}, "retry_after": 5.0}
    assert (await running.get("/users/me/", fault="503")).headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"nonsense", "JSON parse error - "),
        ("503", 'The body must be an object, as in {"rates": {"503": 1.0}, "retry_after": 120}.'),
        ({"503": 1.0}, "'503' cannot be set; write {"),
        ({"rates": ["503"]}, "The rates must be shares by fault, as in {"),
        ({"rates": None}, "The rates must be shares by fault, as in {"),
        ({"rates": {"503": "1.0"}}, "'503' takes a number, as in {"),
        ({"rates": {"503": True}}, "'503' takes a number, as in {"),
        ({"rates": {}, "retry_after": "soon"}, "'retry_after' takes a number, as in {"),
        ({"rates": {}, "retry_after": False}, "'retry_after' takes a number, as in {"),
        ({"rates": {}, "retry_after": -1}, "retry_after must be seconds, not negative, and not -1."),
        ({"rates": {"501": 0.1}}, "Unknown fault '501'. Allowed are 500, "),
        ({"rates": {"503": 1.5}}, "The share of '503' must lie between 0 and 1, not 1.5."),
        ({"rates": {"500": 0.6, "503": 0.6}}, "must not pass 1, and these make 1.2."),
        (b'{"rates":{"503":NaN}}', "must lie between 0 and 1, not nan."),
        (b'{"rates":{"503":1' + b"0" * 5000 + b"}}", "must lie between 0 and 1, not inf."),
        (b'{"retry_after":1e999}', "retry_after must be seconds, not negative, and not inf."),
    ],
)
async def test_faults_that_cannot_be_read_are_400_with_a_sentence_and_change_nothing(
    serve: Serve, body: Any, sentence: str
) -> None:
    running = await serve(faults={"slow": 0.5})
    answer = await put(running, FAULTS, body)
    assert answer.status == 400
    assert sentence in answer.json["detail"]
    assert (await running.get(FAULTS)).json == {"rates": {"slow": 0.5}, "retry_after": None}


@pytest.mark.parametrize("page", [LIMITS, FAULTS])
async def test_a_control_page_reads_no_more_than_the_largest_body(serve: Serve, page: str) -> None:
    running = await serve(max_body=100)
    assert (await put(running, page, b" " * 101)).status == 413


@pytest.mark.parametrize("page", [LIMITS, FAULTS])
async def test_control_pages_are_not_counted_and_work_in_an_outage(serve: Serve, page: str) -> None:
    running = await serve(faults={"hang": 1.0})
    for _ in range(25):
        assert (await put(running, page, {})).status == 200
    assert running.sandbox.ledger.summary()["requests"] == 0


@pytest.mark.parametrize(("method", "page"), [("POST", LIMITS), ("DELETE", FAULTS), ("GET", LIMITS + "/")])
async def test_control_pages_have_no_other_methods_or_names(running: Running, method: str, page: str) -> None:
    assert (await running.ask(method, page)).status == 404


async def test_a_ping_of_the_server_as_a_whole_is_answered_with_the_time_and_not_counted(
    running: Running,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    writer.write(b"OPTIONS * HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
    assert b"\r\nDate: " in await reader.read()
    writer.close()
    await writer.wait_closed()
    assert running.sandbox.ledger.summary()["requests"] == 0
