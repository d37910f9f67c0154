"""Secrets are tried to get out by every way in, and are looked for in everything that the proxy says."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from proxy.events import Event, ExchangeEnded
from tests.e2e.leaking import (
    ADMIN,
    ANOTHER,
    CLIENTS_KEY,
    HELD,
    JWT,
    MARK,
    TOKEN,
    Place,
    answers,
    check,
    fields,
    head,
    placed,
    targets,
)
from tests.fakes import until
from tests.wire.hostile_answers import ANSWERS
from tests.wire.hostile_framing import FRAMING
from tests.wire.hostile_heads import HEADS


@pytest.fixture(params=["json", "console"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Nobody is asked for a token, and no key is held."""
    async with placed(request.param) as made:
        yield made


@pytest.fixture(params=["json", "console"])
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """A key is held for clients that show a token."""
    clients = [{"name": "lab", "token": TOKEN}]
    async with placed(request.param, credential={"value": HELD}, clients=clients) as made:
        yield made


async def try_in_heads(place: Place, secret: str) -> None:
    for target in targets(secret):
        await place.send(head(target))
    for given in fields(secret):
        await place.refuse(head("http://elsewhere/", **given))
        await place.send(head(**given))
    for method in (secret, f"GET{secret}", "TRACE", "CONNECT"):
        await place.refuse(head(method=method))


@pytest.mark.parametrize("secret", [CLIENTS_KEY, JWT])
async def test_what_clients_send_in_a_head_is_in_nothing_that_is_said(place: Place, secret: str) -> None:
    await try_in_heads(place, secret)
    assert len(place.upstream.requests) > 25
    check((await place.everything()).casefold(), MARK.casefold())


@pytest.mark.parametrize("secret", [TOKEN, HELD, ADMIN])
async def test_what_the_proxy_knows_is_in_nothing_that_is_said(guarded: Place, secret: str) -> None:
    await try_in_heads(guarded, secret)
    for given in fields(secret):
        await guarded.send(head(**({"Avala_Proxy_Token": TOKEN} | given)))
    assert len(guarded.upstream.requests) > 25
    check(await guarded.everything())


async def test_a_credential_of_another_kind_that_came_with_a_request_is_no_name(place: Place) -> None:
    """Nothing tells that it is one, but that it came as one."""
    shown = {"X_Request_Id": ANOTHER, "Avala_Proxy_Client": ANOTHER}
    for given in ({"X_Avala_Api_Key": ANOTHER}, {"Authorization": f"Bearer {ANOTHER}"}):
        await place.send(head(**shown, **given))
    check(await place.everything())


async def test_malformed_heads_and_bodies_are_in_nothing_that_is_said(place: Place) -> None:
    """Of each kind that the wire's tests know, with a key wherever they say `evil` or name a field."""
    key = CLIENTS_KEY.encode()
    for hostile in HEADS + FRAMING:
        content = b"".join(step for step in hostile.script if isinstance(step, bytes))
        if len(content) < 20_000:
            content = content.replace(b"evil", key).replace(b"X-Any", key).replace(b"hidden", key)
            content = content.replace(b"\r\n\r\n", b"\r\nX-Avala-Api-Key: %b\r\n\r\n" % key, 1)
            await place.send(content.replace(b"@HERE@", b"127.0.0.1:%d" % place.port), 0.02)
    check(await place.everything())
    assert "crashed" not in place.log


async def test_bodies_trailers_and_chunk_extensions_are_in_nothing_that_is_said(
    place: Place, tmp_path: Path
) -> None:
    key = CLIENTS_KEY
    form = f'--b\r\nContent-Disposition: form-data; name="{key}"; filename="{key}"\r\n\r\n{key}\r\n--b--\r\n'
    bodies = [key, json.dumps({"token": key}), f"password={key}", form]
    for body in bodies:
        for method in ("POST", "DELETE"):
            given = {"Content_Length": str(len(body)), "Content_Type": "multipart/form-data; boundary=b"}
            await place.send(head(method=method, **given) + body.encode())
    chunked = head(method="POST", Transfer_Encoding="chunked")
    for rest in (
        f"3;{key}={key}\r\nabc\r\n0\r\nX-Trailer: {key}\r\n\r\n",
        f"3\r\nabc\r\n0\r\n{key}\r\n\r\n",
        f"{key}\r\n",
        f"3\r\nabc{key}\r\n",
    ):
        await place.send(chunked + rest.encode())
    check(await place.everything())


async def test_a_body_on_disk_is_in_no_file_that_has_a_name(tmp_path: Path) -> None:
    seen: list[str] = []
    body = (CLIENTS_KEY * 1000).encode()
    async with placed(body={"directory": str(tmp_path), "memory": 10}) as place:
        place.upstream.play([0.2, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
        request = head(f"/{CLIENTS_KEY}/", method="POST", Content_Length=str(len(body)), X_Request_Id="mine")
        sending = asyncio.create_task(place.send(request + body))
        await until(lambda: bool(place.upstream.requests) or sending.done())
        seen = [path.name for path in tmp_path.iterdir()]
        await sending
        check(await place.everything())
    assert seen == []


@pytest.mark.parametrize("secret", [CLIENTS_KEY, HELD])
async def test_what_the_api_answers_is_in_nothing_that_the_proxy_says_of_it(
    guarded: Place, secret: str
) -> None:
    for answer in answers(secret):
        guarded.upstream.play(*[[answer]] * 2)
        await guarded.upstream.hang_up()
        await guarded.send(head(Avala_Proxy_Token=TOKEN))
    for bad in ANSWERS:
        if all(isinstance(step, bytes) and len(step) < 10_000 for step in bad.script):
            script = [
                step.replace(b"evil", secret.encode()) for step in bad.script if isinstance(step, bytes)
            ]
            guarded.upstream.play(script, script, greeting=script if bad.greets else None)
            await guarded.upstream.hang_up()
            await guarded.send(head(Avala_Proxy_Token=TOKEN))
    check(await guarded.everything())


async def test_a_route_is_not_learned_from_a_path_with_a_secret_that_the_api_takes(guarded: Place) -> None:
    for word in (f"{TOKEN}", "avk_onlyletters", HELD.replace("/", "%2F")):
        await guarded.send(head(f"/api/v1/{word}/", Avala_Proxy_Token=TOKEN))
        await guarded.send(head(f"/api/v1/{word}/", Avala_Proxy_Token=TOKEN))
    said = await guarded.everything()
    check(said)
    assert "onlyletters" not in said


async def test_a_crash_is_told_with_its_stack_and_without_what_it_quotes(guarded: Place) -> None:
    quoted = [CLIENTS_KEY, HELD, TOKEN, ADMIN, quote(HELD, safe=""), json.dumps(HELD)]
    places = [
        f"https://h/?x={ANOTHER}",
        f"Authorization: Token {ANOTHER}",
        f"{{'Cookie': 'a={ANOTHER}'}}",
        f"redis://u:{ANOTHER}@h",
        f'{{"password": "{ANOTHER}"}}',
    ]
    remaining = iter([*quoted, *places])

    class Broken:
        async def send(self, _request: object, _progress: object) -> None:
            raise RuntimeError(f"the request was\n{next(remaining)}\nwhich is odd")

    forwarder: Any = guarded.app._front._forwarder
    forwarder._upstream = Broken()
    for _ in [*quoted, *places]:
        await guarded.refuse(head(Avala_Proxy_Token=TOKEN))
    said = await guarded.everything()
    check(said)
    assert said.count("RuntimeError: the request was") == len(quoted) + len(places)
    assert "in send" in said


async def test_a_listener_that_fails_is_told_without_what_it_quotes(
    guarded: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(event: Event) -> None:
        if isinstance(event, ExchangeEnded):
            raise TypeError(f"{HELD} {CLIENTS_KEY}")

    events = guarded.app.observability.events
    events._listeners += (broken,)
    events._told.clear()
    await guarded.send(head(Avala_Proxy_Token=TOKEN))
    said = await guarded.everything() + "".join(capsys.readouterr())
    assert "listener_failed" in said
    check(said)
