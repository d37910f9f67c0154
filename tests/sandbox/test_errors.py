"""Every error has the body that the API's error page shows, on purpose and, where possible, naturally."""

import json

import pytest

from tests.sandbox.running import Running

VALIDATION = """{
"detail": {
"name": ["This field is required."],
"schedule": ["Invalid cron expression."]
}
}"""
PAGE = {
    "400": VALIDATION,
    "401": """{
"detail": "Invalid API key."
}""",
    "403": """{
"detail": "You do not have permission to perform this action."
}""",
    "403;code=plan_insufficient": """{
"detail": "Project approval requires a PRO or ENTERPRISE plan.",
"code": "plan_insufficient",
"doc_url": "https://docs.avala.ai/api/errors#plan_insufficient"
}""",
    "403;code=scope_required": """{
"detail": "API key requires 'projects.write' scope.",
"code": "scope_required",
"doc_url": "https://docs.avala.ai/api/errors#scope_required"
}""",
    "404": """{
"detail": "Not found."
}""",
    "405": r"""{
"detail": "Method \"PATCH\" not allowed."
}""",
    "409": """{
"detail": "An agent with this name already exists."
}""",
    "413": """{
"detail": "Request body too large. Maximum size is 100MB."
}""",
    "422": VALIDATION,
    "429;retry-after=12": """{
"detail": "Request was throttled. Expected available in 12 seconds."
}""",
    "500": """{
"detail": "Internal server error."
}""",
    "503": """{
"detail": "Service temporarily unavailable. Please try again later."
}""",
}
"""The error page's own examples, as it prints them (422 is not on it and takes the shape of 400)."""


def as_drf_renders(example: str) -> bytes:
    return json.dumps(json.loads(example), separators=(",", ":")).encode()


@pytest.mark.parametrize("fault", PAGE)
async def test_an_error_on_demand_is_the_pages_example(running: Running, fault: str) -> None:
    answer = await running.ask("PATCH", "/datasets/", fault=fault)
    assert answer.status == int(fault[:3])
    assert answer.body == as_drf_renders(PAGE[fault])
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert running.last.status == answer.status
    assert running.last.fault == fault[:3]
    assert not running.last.executed


@pytest.mark.parametrize(
    ("method", "path", "key", "example"),
    [
        ("GET", "/datasets/", "avk_invalid_1", "401"),
        ("GET", "/datasets/", "sk_other_service", "401"),
        ("GET", "/projects/", "avk_test", "403"),
        ("GET", "/datasets/somebodys/", "avk_other_1", "403"),
        ("GET", "/datasets/somebody/something/", "avk_other_1", "403"),
        ("POST", "/projects/somebodys/approve/", "avk_other_1", "403"),
        ("POST", "/projects/any/approve/", "avk_test", "403;code=plan_insufficient"),
        ("POST", "/projects/any/approve/", "avk_noscope_1", "403;code=scope_required"),
        ("GET", "/datasets/none/", "avk_test", "404"),
        ("GET", "/exports/none/", "avk_test", "404"),
        ("GET", "/users/me/projects/none/", "avk_test", "404"),
        ("POST", "/projects/none/approve/", "avk_pro_1", "404"),
        ("GET", "/no/such/path/at/all/", "avk_test", "404"),
        ("PATCH", "/datasets/", "avk_test", "405"),
    ],
)
async def test_an_error_is_reached_the_natural_way(
    running: Running, method: str, path: str, key: str, example: str
) -> None:
    answer = await running.ask(method, path, key=key)
    assert answer.status == int(example[:3])
    assert answer.body == as_drf_renders(PAGE[example])
    assert running.last.fault is None


async def test_a_missing_key_is_told_in_djangos_words(running: Running) -> None:
    answer = await running.get("/datasets/", key=None)
    assert (answer.status, answer.json) == (401, {"detail": "Authentication credentials were not provided."})
    assert answer.headers["WWW-Authenticate"] == "Api-Key"


@pytest.mark.parametrize("status", ["502", "504"])
async def test_a_gateways_failure_is_html_as_the_api_never_spoke(running: Running, status: str) -> None:
    answer = await running.get("/datasets/", fault=status)
    assert answer.status == int(status)
    assert answer.headers["Content-Type"] == "text/html"
    assert b"<title>" + status.encode() in answer.body


async def test_an_unknown_fault_is_told_what_is_allowed(running: Running) -> None:
    answer = await running.get("/datasets/", fault="tea")
    assert answer.status == 400
    assert answer.json["detail"].startswith("Unknown fault 'tea'. Allowed are 500, 502, 503")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            b"{",
            "JSON parse error - Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (b"[]", {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        (b"", {"name": ["This field is required."], "slug": ["This field is required."]}),
        (
            b'{"name":null,"slug":"a b"}',
            {
                "name": ["This field may not be null."],
                "slug": ["Enter a valid “slug” consisting of letters, numbers, underscores or hyphens."],
            },
        ),
        (
            b'{"name":" ","slug":5}',
            {"name": ["This field may not be blank."], "slug": ["Not a valid string."]},
        ),
    ],
)
async def test_a_body_that_is_not_a_dataset_is_400(running: Running, body: bytes, detail: object) -> None:
    answer = await running.post("/datasets/", data=body)
    assert (answer.status, answer.json) == (400, {"detail": detail})


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        ({}, {"email": ["This field is required."], "password": ["This field is required."]}),
        ({"email": "me", "password": "x"}, {"email": ["Enter a valid email address."]}),
    ],
)
async def test_a_signup_without_a_good_address_is_400(
    running: Running, payload: dict[str, str], fields: dict[str, list[str]]
) -> None:
    answer = await running.post("/signup/", key=None, json=payload)
    assert (answer.status, answer.json) == (400, {"detail": fields})
