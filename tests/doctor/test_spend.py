"""The key is tried once, and what the answer tells of it is said; the key itself never is."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy import config
from proxy.doctor import spend
from proxy.doctor.report import Finding, Result
from proxy.messages import Response
from tests.adapters.servers import Marks, Script, Server, answering, ask, running
from tests.doctor.fixtures import NOW, Standing
from tests.fakes import headers, response

KEY = "avk_hunter2-hunter2"
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
JSON = {"content_type": "application/json"}


def judged(status: int, content: Any = None, **fields: str) -> Finding:
    body = json.dumps(content or {}).encode()
    return spend.judged(response(status, body, **{**JSON, **fields}), body, NOW)


async def tried(
    script: Script, environ: Mapping[str, str] | None = None, **settings: Any
) -> tuple[Finding, Server]:
    async with running(script) as (server, upstream):
        found = await spend.examine(config.Settings(**settings), upstream, Standing(), environ or {})
    assert KEY not in found.detail + found.advice
    return found, server


async def test_the_held_key_goes_before_that_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    for credential in ({"value": KEY}, {"file": str(tmp_path / "key")}):
        found, server = await tried(answering(FINE), {"AVALA_API_KEY": "avk_other"}, credential=credential)
        assert found.detail == "The API takes the key (200)."
        (head,) = server.heads
        assert head.startswith(b"GET /api/v1/users/me/ HTTP/1.1\r\n")
        assert b"\r\nX-Avala-Api-Key: %b\r\n" % KEY.encode() in head


async def test_without_a_held_key_that_of_the_environment_is_tried() -> None:
    _, server = await tried(answering(FINE), {"AVALA_API_KEY": KEY})
    assert KEY.encode() in server.heads[0]
    upstream = {"credential_headers": ["Authorization"]}
    _, server = await tried(answering(FINE), {"AVALA_API_KEY": KEY}, upstream=upstream)
    assert b"\r\nAuthorization: Bearer %b\r\n" % KEY.encode() in server.heads[0]


async def test_without_any_key_nothing_is_sent_and_it_is_said_where_to_put_one() -> None:
    for environ in ({}, {"AVALA_API_KEY": ""}, {"AVALA_API_KEY": f"{KEY} {KEY}"}):
        found, server = await tried(answering(FINE), environ)
        assert found.result is Result.FAIL
        assert "Set AVALA_API_KEY" in found.advice
        assert server.heads == []


async def test_a_key_file_that_is_of_no_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    found, server = await tried(answering(FINE), credential={"file": str(tmp_path / "key")})
    assert found.detail.endswith("is empty.")
    assert server.heads == []


async def test_a_network_failure_is_told_and_nothing_is_sent_again() -> None:
    async def rude(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)

    found, server = await tried(rude, {"AVALA_API_KEY": KEY})
    assert (found.result, len(server.heads)) == (Result.FAIL, 1)
    assert "closed the connection" in found.detail


async def test_the_body_of_an_answer_is_neither_waited_for_long_nor_read_to_its_end() -> None:
    for body, read in ((b"{", b"{"), (b"x" * 9999, b"x" * 4096)):
        head = b"HTTP/1.1 403 No\r\nContent-Length: 10000\r\n\r\n"
        async with running(answering(head + body)) as (_, upstream):
            answer = await upstream.send(ask(), Marks())
            assert (await spend.beginning(answer, 0.1)).startswith(read)


def test_what_is_left_is_told() -> None:
    found = judged(
        200,
        x_ratelimit_limit="100",
        x_ratelimit_remaining="99",
        x_ratelimit_reset=str(int(NOW) + 60),
    )
    assert found.result is Result.OK
    assert found.detail == (
        "The API takes the key (200; 99 of 100 requests are left; all are back within 60 s)."
    )
    assert (
        "99 of 100 requests are left)"
        in judged(200, x_ratelimit_limit="100", x_ratelimit_remaining="99").detail
    )
    assert judged(200, ratelimit='"standard";r=5').detail == "The API takes the key (200)."


@pytest.mark.parametrize(
    ("status", "content", "result", "said"),
    [
        (401, {"detail": "Invalid API key."}, "FAIL", "does not take the key (401)."),
        (403, {"detail": "…"}, "FAIL", "(403)."),
        (403, {"code": "scope_required"}, "warning", "(403, scope_required)."),
        (403, {"code": f"echo {KEY}"}, "FAIL", "(403)."),
        (429, {}, "warning", "has no room for it (429)."),
        (500, {}, "FAIL", "The API fails (500)."),
        (503, {}, "FAIL", "The API fails (503)."),
        (404, {}, "FAIL", "not at this path (404, /api/v1/users/me/)."),
        (301, {}, "FAIL", "not at this path (301, /api/v1/users/me/)."),
    ],
)
def test_each_status_has_its_meaning(status: int, content: Any, result: str, said: str) -> None:
    found = judged(status, content)
    assert found.result == result
    assert found.detail.endswith(said)
    assert found.advice
    assert KEY not in found.detail


def test_a_wait_that_a_429_demands_is_told() -> None:
    assert "for 12 s more (429)" in judged(429, retry_after="12").detail


def test_a_page_that_is_no_json_is_not_the_api() -> None:
    page = Response(200, "", headers(content_type="text/html"))
    assert spend.judged(page, b"<html>", NOW).result is Result.FAIL


def test_without_the_wish_it_is_said_what_it_would_cost() -> None:
    found = spend.not_wished_for(config.Settings())
    assert found.result is Result.SKIPPED
    assert found.detail == (
        "Add --spend to send one real request (GET /api/v1/users/me/), "
        "which spends 1 of the key's 100 requests per 60 s."
    )
    free = spend.not_wished_for(config.Settings(limits=()))
    assert free.detail == "Add --spend to send one real request (GET /api/v1/users/me/)."
