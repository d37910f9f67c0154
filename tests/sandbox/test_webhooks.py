"""Webhooks: they live, change and die; what is no webhook is refused in DRF's words."""

import pytest

from tests.sandbox.running import Running

TARGET = "https://example.com/hook"
EVENTS = ["export.completed"]
REQUIRED = "This field is required."


async def create(running: Running, target: str = TARGET) -> str:
    made = await running.post("/webhooks/", json={"target_url": target, "events": EVENTS})
    assert made.status == 201
    uid: str = made.json["uid"]
    return uid


async def test_a_webhook_lives_from_its_creation_to_its_deletion(running: Running) -> None:
    path = f"/webhooks/{await create(running)}/"
    webhook = (await running.get(path)).json
    assert (webhook["target_url"], webhook["events"], webhook["is_active"]) == (TARGET, EVENTS, True)
    running.time.now += 1
    changed = await running.ask("PATCH", path, json={"is_active": False})
    assert changed.json == {**webhook, "is_active": False, "updated_at": changed.json["updated_at"]}
    assert changed.json["updated_at"] > webhook["updated_at"]
    assert (await running.get("/webhooks/")).json["results"] == [changed.json]
    gone = await running.ask("DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        assert (await running.ask(method, path)).status == 404
    assert running.sandbox.ledger.summary()["executed"] == {"DELETE": 1, "GET": 2, "PATCH": 1, "POST": 1}


async def test_a_webhooks_secret_is_told_once(running: Running) -> None:
    made_up = await running.post("/webhooks/", json={"target_url": TARGET, "events": EVENTS})
    assert made_up.json["secret"].startswith("whsec_")
    other = {"target_url": TARGET + "/2", "events": EVENTS, "secret": "chosen"}
    assert (await running.post("/webhooks/", json=other)).json["secret"] == "chosen"
    assert not any("secret" in webhook for webhook in (await running.get("/webhooks/")).json["results"])


async def test_webhooks_are_listed_by_pages(running: Running) -> None:
    uids = [await create(running, f"{TARGET}/{number}") for number in range(3)]
    first = (await running.get("/webhooks/?limit=2")).json
    second = (await running.get(first["next"].removeprefix(running.url + "/api/v1"))).json
    assert [webhook["uid"] for webhook in first["results"] + second["results"]] == uids
    assert second["next"] is None


async def test_a_second_webhook_for_the_same_target_is_a_conflict(running: Running) -> None:
    path = f"/webhooks/{await create(running)}/"
    detail = {"detail": "A webhook with this target_url already exists."}
    again = await running.post("/webhooks/", json={"target_url": TARGET, "events": EVENTS})
    assert (again.status, again.json) == (409, detail)
    await create(running, TARGET + "/2")
    moved = await running.ask("PATCH", path, json={"target_url": TARGET + "/2"})
    assert (moved.status, moved.json) == (409, detail)
    assert (await running.ask("PATCH", path, json={"target_url": TARGET})).status == 200


@pytest.mark.parametrize(
    ("payload", "problems"),
    [
        ({}, {"target_url": [REQUIRED], "events": [REQUIRED]}),
        ({"target_url": None, "events": EVENTS}, {"target_url": ["This field may not be null."]}),
        ({"target_url": "http://plain.example", "events": EVENTS}, {"target_url": ["Enter a valid URL."]}),
        ({"target_url": 5, "events": EVENTS}, {"target_url": ["Not a valid string."]}),
        (
            {"target_url": TARGET, "events": "all"},
            {"events": ['Expected a list of items but got type "str".']},
        ),
        ({"target_url": TARGET, "events": []}, {"events": ["This list may not be empty."]}),
        ({"target_url": TARGET, "events": ["a", 5]}, {"events": {"1": ["Not a valid string."]}}),
        (
            {"target_url": TARGET, "events": EVENTS, "is_active": 1, "secret": " "},
            {"is_active": ["Must be a valid boolean."], "secret": ["This field may not be blank."]},
        ),
    ],
)
async def test_a_body_that_is_not_a_webhook_is_400(
    running: Running, payload: dict[str, object], problems: object
) -> None:
    answer = await running.post("/webhooks/", json=payload)
    assert (answer.status, answer.json) == (400, {"detail": problems})
    assert (await running.get("/webhooks/")).json["results"] == []


async def test_a_change_is_checked_as_a_creation_is_and_may_be_of_nothing(running: Running) -> None:
    path = f"/webhooks/{await create(running)}/"
    before = (await running.get(path)).json
    refused = await running.ask("PATCH", path, json={"events": [], "is_active": False})
    assert (refused.status, refused.json) == (400, {"detail": {"events": ["This list may not be empty."]}})
    assert (await running.ask("PATCH", path, json={})).json == before


async def test_a_webhook_of_somebody_else_is_forbidden_and_a_reading_key_writes_none(
    running: Running,
) -> None:
    assert (await running.get("/webhooks/somebodys/", key="avk_other_1")).status == 403
    refused = await running.post("/webhooks/", key="avk_noscope_1", json={})
    assert refused.json["detail"] == "API key requires 'webhooks.write' scope."
