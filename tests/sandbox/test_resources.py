"""What the API keeps and gives: resources, uploads, downloads, streams, and the form of every answer."""

from hashlib import sha256

import pytest

from tests.sandbox.conftest import Serve
from tests.sandbox.running import Running


async def test_the_same_key_finds_the_same_data_at_every_start(serve: Serve) -> None:
    first, second = [(await (await serve()).get("/datasets/")).body for _ in range(2)]
    assert first.partition(b'"results"')[2] == second.partition(b'"results"')[2]
    other = await (await serve()).get("/datasets/", key="avk_somebody_else")
    assert other.json["results"][0]["uid"].encode() not in first


async def test_a_dataset_lives_from_its_creation_to_its_deletion(running: Running) -> None:
    made = await running.post("/datasets/", json={"name": "New", "slug": "new", "data_type": "lidar"})
    assert made.status == 201
    uid, owner = made.json["uid"], made.json["owner_name"]
    assert (await running.get(f"/datasets/{uid}/")).json == made.json
    assert (await running.get(f"/datasets/{owner}/new/")).json == made.json
    gone = await running.ask("DELETE", f"/datasets/{uid}/")
    assert (gone.status, gone.body) == (204, b"")
    assert (await running.get(f"/datasets/{uid}/")).status == 404
    assert (await running.get(f"/datasets/{owner}/new/")).status == 404
    assert running.sandbox.ledger.summary()["executed"] == {"DELETE": 1, "GET": 2, "POST": 1}


@pytest.mark.parametrize(
    ("name", "slug", "field"), [("Dataset 01", "x", "name"), ("x", "dataset-01", "slug")]
)
async def test_a_second_dataset_of_the_same_name_or_slug_is_a_conflict(
    running: Running, name: str, slug: str, field: str
) -> None:
    answer = await running.post("/datasets/", json={"name": name, "slug": slug})
    assert (answer.status, answer.json) == (409, {"detail": f"A dataset with this {field} already exists."})


async def test_a_list_can_be_narrowed(running: Running) -> None:
    answer = await running.get("/datasets/?data_type=lidar&limit=50")
    assert len(answer.json["results"]) == 15
    assert {dataset["data_type"] for dataset in answer.json["results"]} == {"lidar"}


async def test_links_carry_the_host_that_was_asked(running: Running) -> None:
    answer = await running.get("/datasets/?limit=5", headers={"Host": "api.avala.ai"})
    assert answer.json["next"].startswith("http://api.avala.ai/api/v1/datasets/?cursor=")


async def test_a_project_is_approved_once_and_on_the_right_plan(running: Running) -> None:
    projects = await running.get("/users/me/projects/", key="avk_pro_1")
    uid = projects.json["results"][0]["uid"]
    approved = await running.post(f"/projects/{uid}/approve/", key="avk_pro_1")
    assert (approved.status, approved.json["status"]) == (200, "active")
    again = await running.post(f"/projects/{uid}/approve/", key="avk_pro_1")
    assert (again.status, again.json) == (400, {"detail": "Project is already active."})
    assert (await running.get(f"/users/me/projects/{uid}/", key="avk_pro_1")).json["status"] == "active"


async def test_an_export_goes_through_its_stages_in_time(serve: Serve) -> None:
    running = await serve(export_seconds=20.0, time_scale=10.0)
    made = await running.post("/exports/", json={"project": "p"})
    assert (made.status, made.json["status"], made.json["download_url"]) == (201, "pending", None)
    path = f"/exports/{made.json['uid']}/"
    running.time.now += 0.5
    assert (await running.get(path)).json["status"] == "in_progress"
    running.time.now += 1.5
    done = (await running.get(path)).json
    assert done["status"] == "exported"
    assert (await running.get("/exports/")).json["results"] == [done]
    download = await running.get(done["download_url"].removeprefix(running.url + "/api/v1"))
    assert len(download.body) == 4096


async def test_a_signup_gives_a_key_that_works_and_only_once(running: Running) -> None:
    payload = {"email": "me@example.com", "password": "x", "first_name": "Me"}
    made = await running.post("/signup/", key=None, json=payload)
    me = await running.get("/users/me/", key=made.json["api_key"])
    assert me.json == made.json["user"]
    assert (me.json["email"], me.json["first_name"]) == ("me@example.com", "Me")
    again = await running.post("/signup/", key=None, json=payload)
    assert (again.status, again.json) == (409, {"detail": "A user with this email already exists."})


async def test_an_upload_is_answered_with_its_size_and_digest(running: Running) -> None:
    body = bytes(range(256)) * 4000
    answer = await running.post("/uploads/", data=body)
    assert answer.status == 201
    assert (answer.json["size"], answer.json["sha256"]) == (len(body), sha256(body).hexdigest())
    assert (running.last.body_size, running.last.body_sha256) == (len(body), sha256(body).hexdigest())


async def test_a_body_declared_over_the_cap_is_refused_unread_and_ends_the_connection(
    running: Running,
) -> None:
    declared = ("Expect: 100-continue", "Content-Length: 104857601")
    async with running.raw("POST /uploads/", *declared) as (reader, _):
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Connection: close" in answer
    assert answer.endswith(b'{"detail":"Request body too large. Maximum size is 100MB."}')


@pytest.mark.parametrize(("key", "status"), [("avk_test", 413), ("avk_invalid", 401)])
async def test_a_chunked_body_over_the_cap_is_refused_where_it_passes_it(
    serve: Serve, key: str, status: int
) -> None:
    async def body() -> object:
        for _ in range(3):
            yield b"x" * 40

    running = await serve(max_body=100)
    answer = await running.post("/datasets/", key=key, data=body())
    assert answer.status == status
    assert answer.headers["Connection"] == "close"


async def test_a_client_that_waits_for_continue_is_told_to_go_on(running: Running) -> None:
    declared = ("Expect: 100-continue", "Content-Length: 2")
    async with running.raw("POST /uploads/", *declared) as (reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
async def test_a_download_has_the_bytes_that_were_asked_for(running: Running, size: int) -> None:
    answer = await running.get(f"/downloads/{size}/")
    assert answer.body == (bytes(range(256)) * 800)[:size]
    assert answer.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("size", ["x", "-1", "²", "9" * 13])
async def test_a_download_of_no_number_is_not_found(running: Running, size: str) -> None:
    assert (await running.get(f"/downloads/{size}/")).status == 404


async def test_events_come_one_each_interval(running: Running) -> None:
    answer = await running.get("/events/stream/?count=3&interval=0.01")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body.startswith(b'id: 1\nevent: tick\ndata: {"number":1}\n\nid: 2\n')
    assert running.time.slept == [0.01, 0.01]
    assert (await running.get("/events/stream/?count=x")).status == 400
    assert (await running.get("/events/stream/?interval=-1")).status == 400


async def test_answers_have_djangos_headers_and_compact_json(running: Running) -> None:
    answer = await running.get("/users/me/", headers={"X-Request-Id": "abc", "traceparent": "00-a"})
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["X-Request-Id"] == "abc"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body.startswith(b'{"uid":"')
    assert running.last.request_id == "abc"
    assert running.last.traceparent == "00-a"


async def test_head_is_get_without_a_body(running: Running) -> None:
    whole = await running.get("/users/me/")
    for path, length in (("/users/me/", len(whole.body)), ("/downloads/77/", 77)):
        head = await running.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(length)


async def test_options_tells_what_an_endpoint_is(running: Running) -> None:
    answer = await running.ask("OPTIONS", "/datasets/")
    assert (answer.status, answer.headers["Allow"]) == (200, "GET, POST, HEAD, OPTIONS")


async def test_a_path_without_its_closing_slash_is_redirected_with_its_query(running: Running) -> None:
    answer = await running.get("/datasets?limit=2")
    assert (answer.status, answer.headers["Location"]) == (301, "/api/v1/datasets/?limit=2")
    assert not running.last.executed


async def test_headers_that_are_no_utf_8_do_no_harm(running: Running) -> None:
    odd = ("X-Request-Id: \udcff", "X-Sandbox-Key: \udcff", "X-Sandbox-Fault: \udcff")
    for header in odd:
        async with running.raw("GET /users/me/", header, "Connection: close") as (reader, _):
            assert (await reader.read()).startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert (await running.get("//_sandbox/ledger")).json["requests"] == 3


async def test_a_body_nested_too_deep_is_a_parse_error(running: Running) -> None:
    assert (await running.post("/datasets/", data=b"[" * 200_000)).status == 400


async def test_the_ledger_names_users_but_never_their_keys(running: Running) -> None:
    await running.get("/users/me/?limit=2", key="avk_very_secret")
    entry = running.last
    assert entry.user == sha256(b"avk_very_secret").hexdigest()[:12]
    assert (entry.method, entry.path) == ("GET", "/api/v1/users/me/?limit=2")
    assert "very_secret" not in str(running.sandbox.ledger.summary())
