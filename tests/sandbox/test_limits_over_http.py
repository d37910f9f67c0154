"""The limits as a client meets them: refusals, headers, scopes, and what is not counted."""

from collections.abc import Mapping

import pytest

from proxy.sandbox import Concurrent, Rate
from tests.sandbox.conftest import Serve
from tests.sandbox.running import WALL, Running


def told(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset"))


async def test_every_answer_tells_the_standard_window(running: Running) -> None:
    answer = await running.get("/users/me/")
    assert told(answer.headers) == ("100", "99", str(int(WALL) + 60))
    running.time.now += 10.5
    answer = await running.get("/users/me/")
    assert told(answer.headers) == ("100", "98", str(int(WALL) + 60))


async def test_the_twenty_first_in_a_second_is_refused_by_the_burst_and_still_costs_a_standard_one(
    running: Running,
) -> None:
    for _ in range(20):
        assert (await running.get("/users/me/")).status == 200
    refused = await running.get("/users/me/")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    assert refused.json == {"detail": "Request was throttled. Expected available in 1 second."}
    assert told(refused.headers) == ("20", "0", str(int(WALL) + 1))
    assert running.last.throttled_by == "burst"
    assert not running.last.executed
    running.time.now += 1
    assert told((await running.get("/users/me/")).headers)[1] == "78"
    assert running.sandbox.ledger.summary(entries=False)["throttled"] == {"burst": 1}
    assert running.sandbox.ledger.summary(entries=False)["peak"] == {"burst": 20, "standard": 22}


async def test_the_standard_window_refuses_until_its_oldest_leaves(serve: Serve) -> None:
    running = await serve(limits={"standard": Rate(2, 60.0)})
    await running.get("/users/me/")
    running.time.now += 48
    await running.get("/users/me/")
    refused = await running.get("/users/me/")
    assert refused.headers["Retry-After"] == "12"
    assert told(refused.headers) == ("2", "0", str(int(WALL) + 60))
    running.time.now += 12
    assert (await running.get("/users/me/")).status == 200


async def test_a_scaled_time_shortens_the_window_and_keeps_whole_seconds(serve: Serve) -> None:
    running = await serve(limits={"standard": Rate(1, 60.0)}, time_scale=100.0)
    await running.get("/users/me/")
    assert (await running.get("/users/me/")).headers["Retry-After"] == "1"
    running.time.now += 0.6
    assert (await running.get("/users/me/")).status == 200


async def test_users_do_not_share_a_limit(serve: Serve) -> None:
    running = await serve(limits={"standard": Rate(1, 60.0)})
    assert [(await running.get("/users/me/", key=key)).status for key in ("avk_a", "avk_b", "avk_a")] == [
        200,
        200,
        429,
    ]


async def test_inference_has_a_narrow_limit_on_top_of_the_others(running: Running) -> None:
    for _ in range(10):
        assert (await running.post("/inference/invoke/", json={"prompt": "x"})).status == 200
    refused = await running.post("/inference/invoke/", json={})
    assert refused.status == 429
    assert told(refused.headers)[0] == "10"
    assert refused.headers["Retry-After"] == "60"
    assert told((await running.get("/users/me/")).headers)[:2] == ("100", "88")


async def test_anonymous_callers_are_counted_by_address_and_only_where_they_are_let_in(
    serve: Serve,
) -> None:
    running = await serve(limits={"anonymous": Rate(2, 60.0)})
    for _ in range(3):
        assert (await running.get("/datasets/", key=None)).status == 401
    assert told((await running.get("/status/", key=None)).headers)[:2] == ("2", "1")
    assert (await running.get("/status/", key=None)).json == {"status": "ok"}
    assert (await running.get("/status/", key=None)).status == 429
    assert (await running.get("/status/")).status == 200
    assert told((await running.get("/status/")).headers)[0] == "100"


async def test_signups_are_counted_by_address_alone(running: Running) -> None:
    answers = []
    for number in range(6):
        payload = {"email": f"a{number}@example.com", "password": "x"}
        answers.append(await running.post("/signup/", key=None, json=payload))
    *accepted, refused = answers
    assert [answer.status for answer in accepted] == [201] * 5
    assert told(accepted[-1].headers)[:2] == ("5", "0")
    assert (refused.status, told(refused.headers)[0]) == (429, "5")
    assert running.last.throttled_by == "signup"
    assert (await running.get("/status/", key=None)).status == 200


@pytest.mark.parametrize(
    ("path", "key"),
    [("/users/me/", "avk_invalid"), ("/projects/", "avk_test"), ("/datasets", "avk_test")],
)
async def test_what_is_refused_or_sent_elsewhere_before_the_throttles_is_not_counted(
    running: Running, path: str, key: str
) -> None:
    before = await running.get(path, key=key)
    assert before.headers["X-RateLimit-Remaining"] == before.headers["X-RateLimit-Limit"]
    assert told((await running.get("/users/me/")).headers)[1] == "99"


async def test_a_path_that_does_not_exist_counts_as_any_other(running: Running) -> None:
    assert told((await running.get("/nothing/")).headers)[1] == "99"


async def test_transit_passes_before_a_request_is_counted_and_again_before_its_answer(serve: Serve) -> None:
    running = await serve(transit=(0.5, 0.6))
    await running.get("/users/me/")
    out, back = running.time.slept
    assert 0.5 <= out <= 0.6
    assert 0.5 <= back <= 0.6
    assert out != back
    assert running.last.arrived == 1000.0 + out


async def test_no_more_than_five_exports_run_at_once_and_their_places_come_free_with_time(
    running: Running,
) -> None:
    for _ in range(5):
        assert (await running.post("/exports/", json={"dataset": "d"})).status == 201
        running.time.now += 0.1
    refused = await running.post("/exports/", json={"dataset": "d"})
    assert (refused.status, told(refused.headers)[0]) == (429, "5")
    assert refused.headers["Retry-After"] == "2"
    assert (await running.get("/exports/")).status == 200
    running.time.now += 1.5
    assert (await running.post("/exports/", json={"dataset": "d"})).status == 201
    assert running.sandbox.ledger.summary(entries=False)["peak"]["exports"] == 5


async def test_an_export_that_was_never_started_takes_no_place(serve: Serve) -> None:
    running = await serve(limits={"exports": Concurrent(1)})
    assert (await running.post("/exports/", json={}, fault="500")).status == 500
    assert (await running.post("/exports/", json={}, fault="500;after")).status == 500
    assert (await running.post("/exports/", json={})).status == 429


async def test_uploads_are_limited_while_their_bodies_arrive(serve: Serve) -> None:
    running = await serve(limits={"uploads": Concurrent(1)})
    async with running.raw("POST /uploads/", "Content-Length: 4", body=b"ab") as (reader, writer):
        await running.body_begun()
        refused = await running.post("/uploads/", data=b"x" * 1000)
        assert (refused.status, told(refused.headers)[0]) == (429, "1")
        assert refused.headers["Connection"] == "close"
        assert running.last.body_sha256 is None
        assert (await running.post("/uploads/")).status == 429
        writer.write(b"cd")
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")
    assert (await running.post("/uploads/", data=b"x")).status == 201


async def test_streams_count_against_the_burst_and_each_other_but_not_per_minute(serve: Serve) -> None:
    running = await serve(limits={"streams": Concurrent(1)})
    headers = {"X-Avala-Api-Key": "avk_test"}
    url = running.url + "/api/v1/events/stream/?count=1000000000&interval=0"
    async with running.session.get(url, headers=headers) as stream:
        assert await stream.content.readline() == b"id: 1\n"
        assert stream.headers["X-RateLimit-Remaining"] == "100"
        refused = await running.get("/events/stream/?count=1")
        assert (refused.status, told(refused.headers)[0]) == (429, "1")
    await running.settled()
    assert (await running.get("/events/stream/?count=1")).status == 200
    peak = running.sandbox.ledger.summary(entries=False)["peak"]
    assert peak == {"burst": 3, "streams": 1}
