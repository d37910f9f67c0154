"""URLs for uploads straight to storage, and the quota that they count against."""

import pytest

from proxy.sandbox import Concurrent
from tests.sandbox.conftest import Serve
from tests.sandbox.running import Answer, Running

PATH = "/datasets/manual-upload/file-upload-url/"


async def ask_url(running: Running, size: object, name: str = "a.png") -> Answer:
    payload = {"dataset_name": "d", "file_path_in_dataset": name, "content_length": size}
    return await running.post(PATH, json=payload)


async def test_an_upload_url_is_a_form_for_one_file_that_leads_nowhere(running: Running) -> None:
    answer = await ask_url(running, 10, "front/a.png")
    assert answer.status == 200
    assert answer.json["url"] == "https://uploads.sandbox.invalid/"
    owner = (await running.get("/users/me/")).json["uid"]
    assert answer.json["fields"]["key"] == f"__u__=/{owner}/d/front/a.png"
    assert {"policy", "x-amz-algorithm", "x-amz-signature"} < answer.json["fields"].keys()
    assert answer.json["expires_at"] == "2027-01-15T09:00:00.000000Z"


async def test_all_urls_together_promise_no_more_than_the_quota(serve: Serve) -> None:
    running = await serve(upload_quota=100)
    assert (await ask_url(running, 60, "a")).status == 200
    refused = await ask_url(running, 41, "b")
    expected = {"detail": "Storage quota exceeded.", "limit": 100, "used": 60}
    assert (refused.status, refused.json) == (413, expected)
    assert not running.last.executed
    assert (await ask_url(running, 40, "b")).status == 200
    assert (await ask_url(running, 61, "a")).status == 413
    assert (await ask_url(running, 60, "a")).status == 200


async def test_the_quota_is_a_gibibyte_unless_chosen(running: Running) -> None:
    assert (await ask_url(running, 1024**3)).status == 200
    assert (await ask_url(running, 1024**3 + 1)).json["limit"] == 1024**3


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        ("10", "A valid integer is required."),
        (True, "A valid integer is required."),
        (-1, "Ensure this value is greater than or equal to 0."),
        (None, "This field may not be null."),
    ],
)
async def test_a_size_that_is_none_is_400(running: Running, size: object, problem: str) -> None:
    answer = await ask_url(running, size, " ")
    blank = ["This field may not be blank."]
    problems = {"file_path_in_dataset": blank, "content_length": [problem]}
    assert (answer.status, answer.json) == (400, {"detail": problems})


async def test_an_upload_url_takes_an_uploads_place_while_it_is_asked_for(serve: Serve) -> None:
    running = await serve(limits={"uploads": Concurrent(1)})
    async with running.raw("POST /uploads/", "Content-Length: 4", body=b"ab") as (reader, writer):
        await running.body_begun()
        assert (await ask_url(running, 1)).status == 429
        assert running.last.throttled_by == "uploads"
        writer.write(b"cd")
        assert (await reader.readline()).startswith(b"HTTP/1.1 201")
    assert (await ask_url(running, 1)).status == 200


async def test_the_path_of_upload_urls_is_no_dataset(running: Running) -> None:
    answer = await running.get(PATH)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, OPTIONS")
