"""The held key and the tokens of clients, over real sockets: who gets in, and whom the API sees."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import avala  # type: ignore[import-untyped]  # the SDK ships no types
import pytest
from avala import errors as sdk

from proxy.sandbox import Rate, SandboxSettings
from tests.e2e import programs
from tests.e2e.stack import Stack, running
from tests.fakes import until

HELD, TOKEN = "avk_held", "token-of-ci-0001"
CREDENTIAL = {"value": HELD}
CLIENTS = [{"name": "ci", "token": TOKEN}, {"name": "lab", "token": "token-of-lab-001"}]
ME = "/api/v1/users/me/"

Reply = tuple[int, dict[str, Any], dict[str, str]]


def user(key: str) -> str:
    """Return how the sandbox's ledger names the owner of a key: written anew, not to repeat a mistake."""
    return sha256(key.encode()).hexdigest()[:12]


async def ask(stack: Stack, *, path: str = ME, **fields: str) -> Reply:
    """Send one request that has no key of its own; underscores stand for hyphens."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with stack.session.get(stack.url + path, headers=headers) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


def users(stack: Stack) -> list[str | None]:
    """Return who asked, as the API saw it."""
    return [entry.user for entry in stack.sandbox.ledger.entries]


async def test_a_client_without_a_key_uses_the_held_one_and_one_with_a_key_its_own() -> None:
    async with running(credential=CREDENTIAL) as stack:
        assert (await ask(stack))[1]["username"] == f"user-{user(HELD)[:8]}"
        assert (await ask(stack, X_Avala_Api_Key=""))[0] == 200
        assert (await ask(stack, X_Avala_Api_Key="avk_own"))[1]["username"] == f"user-{user('avk_own')[:8]}"
        # The sandbox knows keys in X-Avala-Api-Key only: to it this client is nobody, and stays nobody.
        assert (await ask(stack, Authorization="Bearer own"))[0] == 401
        assert users(stack) == [user(HELD), user(HELD), user("avk_own"), None]
        names = [line["credential"] for line in stack.lines("request")]
        assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    "shown", [{"Avala_Proxy_Token": TOKEN}, {"X_Avala_Api_Key": TOKEN}, {"Authorization": f"bearer {TOKEN}"}]
)
async def test_a_token_lets_in_wherever_it_is_shown_and_the_log_names_its_client(
    shown: dict[str, str],
) -> None:
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        assert (await ask(stack, **shown))[0] == 200
        assert users(stack) == [user(HELD)]
        (line,) = stack.lines("request")
        assert line["client"] == "ci"


async def test_a_client_may_bring_its_own_key_beside_its_token() -> None:
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        assert (await ask(stack, X_Avala_Api_Key="avk_own", Avala_Proxy_Token=TOKEN))[0] == 200
        assert users(stack) == [user("avk_own")]


async def test_with_tokens_and_no_key_a_request_without_a_credential_goes_up_anonymous() -> None:
    async with running(clients=CLIENTS) as stack:
        await ask(stack, X_Avala_Api_Key=TOKEN)
        await ask(stack, Avala_Proxy_Token=TOKEN)
        assert users(stack) == [None, None]


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"Avala_Proxy_Token": "token-of-nobody-1"},
        {"X_Avala_Api_Key": "avk_own"},
        {"X_Avala_Api_Key": TOKEN, "Avala_Proxy_Token": "token-of-lab-001"},
    ],
)
async def test_whoever_shows_no_token_or_a_wrong_one_gets_a_401_and_nothing_is_sent(
    shown: dict[str, str],
) -> None:
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        status, content, headers = await ask(stack, **shown)
        assert (status, content["code"]) == (401, "proxy_unauthorized_client")
        assert headers["Content-Type"].startswith("application/json")
        assert headers["WWW-Authenticate"] == 'Bearer realm="avala-proxy"'
        assert headers["Proxy-Status"] == "avala-proxy; error=http_request_denied"
        assert "Avala-Proxy-Token" in content["detail"]
        assert not any(value in json.dumps(content) for value in (*shown.values(), HELD))
        assert stack.sandbox.ledger.summary()["requests"] == 0
        (line,) = stack.lines("request")
        assert (line["client"], line["credential"], line["error_class"]) == (
            None,
            None,
            "unauthorized_client",
        )


PAGES = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example:8080"},
]


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_of_another_site_does_not_get_the_held_key_and_nothing_is_sent(
    page: dict[str, str],
) -> None:
    async with running(credential=CREDENTIAL) as stack:
        status, content, _ = await ask(stack, **page)
        assert (status, content["code"]) == (401, "proxy_unauthorized_client")
        assert "evil" not in json.dumps(content)
        assert stack.sandbox.ledger.summary()["requests"] == 0


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_served_as_ever_with_a_key_of_its_own_or_with_a_token(page: dict[str, str]) -> None:
    async with running(credential=CREDENTIAL) as stack:
        assert (await ask(stack, X_Avala_Api_Key="avk_own", **page))[0] == 200
        assert users(stack) == [user("avk_own")]
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        assert (await ask(stack, X_Avala_Api_Key=TOKEN, **page))[0] == 200
        assert users(stack) == [user(HELD)]


@pytest.mark.parametrize(
    "program",
    [
        {"Host": "127.0.0.1:8080"},
        {"Host": "LocalHost"},
        {"Host": "[::1]:8080"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
        {"Host": "Avala.Internal:8080"},
    ],
)
async def test_programs_that_ask_for_this_machine_or_the_public_url_get_the_held_key(
    program: dict[str, str],
) -> None:
    async with running(credential=CREDENTIAL, listen={"public_url": "https://avala.internal"}) as stack:
        assert (await ask(stack, **program))[0] == 200
        assert users(stack) == [user(HELD)]


async def test_the_proxys_own_origin_gets_the_held_key() -> None:
    async with running(credential=CREDENTIAL) as stack:
        assert (await ask(stack, Origin=stack.url))[0] == 200
        assert users(stack) == [user(HELD)]


@pytest.mark.parametrize("clients", [[], CLIENTS])
async def test_the_held_key_does_not_go_with_a_trace_which_would_be_answered_with_it(
    clients: list[dict[str, str]],
) -> None:
    async with running(credential=CREDENTIAL, clients=clients) as stack:
        shown = {"Avala-Proxy-Token": TOKEN}
        async with stack.session.request("TRACE", stack.url + ME, headers=shown) as answer:
            assert (answer.status, HELD in await answer.text()) == (401, False)
        assert stack.sandbox.ledger.summary()["requests"] == 0


async def test_a_refused_upload_is_not_read() -> None:
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        host, _, port = stack.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /api/v1/datasets/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"100 Continue" not in head
        assert b"\r\nconnection: close\r\n" in head.lower()
        assert stack.sandbox.ledger.summary()["requests"] == 0


async def test_the_token_field_never_goes_up_even_where_no_tokens_are_asked_for() -> None:
    async with running() as stack:
        status, _ = await stack.ask("GET", ME, fields={"Avala-Proxy-Token": "avk_stray", "Authorization": ""})
        assert status == 200
        assert users(stack) == [user("avk_team")]


@pytest.mark.parametrize("kind", [avala.Client, avala.AsyncClient], ids=["sync", "async"])
async def test_the_sdk_shows_a_token_as_its_key(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(credential=CREDENTIAL, clients=CLIENTS) as stack:
        monkeypatch.setenv("AVALA_BASE_URL", f"{stack.url}/api/v1")
        monkeypatch.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
        for key, who in ((TOKEN, user(HELD)), ("token-of-nobody-1", None)):
            monkeypatch.setenv("AVALA_API_KEY", key)
            client = kind()

            async def run(call: Any, client: Any = client) -> Any:
                return await (call() if isinstance(client, avala.AsyncClient) else asyncio.to_thread(call))

            try:
                if who is None:
                    with pytest.raises(sdk.AuthenticationError, match="no token that the proxy knows"):
                        await run(client.datasets.list)
                else:
                    assert len(await run(client.datasets.list)) == 20
            finally:
                await run(client.close)
        assert users(stack) == [user(HELD)]


async def test_a_key_that_is_replaced_under_load_is_used_soon_and_no_request_fails(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("avk_first\n")
    api = SandboxSettings(limits={"standard": Rate(100_000, 1.0), "burst": Rate(100_000, 1.0)})
    async with running(api, credential={"file": str(path)}, limits=[]) as stack:
        statuses: set[int] = set()
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set():
                statuses.add((await ask(stack))[0])
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(load())
            await until(lambda: len(users(stack)) > 20)
            new = tmp_path / "new"
            new.write_text("avk_second\n")
            new.rename(path)
            async with asyncio.timeout(5):
                await until(lambda: users(stack)[-1] == user("avk_second"))
            path.write_text("")
            async with asyncio.timeout(5):
                await until(lambda: bool(stack.lines("credential_unreadable")))
            seen = len(users(stack))
            await until(lambda: len(users(stack)) > seen + 20)
            done.set()
        assert statuses == {200}
        assert set(users(stack)) == {user("avk_first"), user("avk_second")}
        assert set(users(stack)[seen:]) == {user("avk_second")}
        (line,) = stack.lines("credential_reloaded")
        assert (line["level"], str(path) in line["detail"]) == ("info", True)
        (line,) = stack.lines("credential_unreadable")
        assert (line["level"], str(path) in line["detail"]) == ("warning", True)
        assert "avk_" not in stack.log.replace("avk_…", "")


SECRETS = ("heldkey-hunter2", "token-of-hunter2-a", "token-of-hunter2-b", "shown-by-hunter2")


def config(tmp_path: Path) -> str:
    """Write a configuration with every kind of secret; none looks like an Avala key, which logs cut out."""
    file = tmp_path / "token"
    file.write_text(SECRETS[2])
    return (
        f'[credential]\nvalue = "{SECRETS[0]}"\n[[clients]]\nname = "a"\ntoken = "{SECRETS[1]}"\n'
        f'[[clients]]\nname = "b"\ntoken_file = "{file}"\n[log]\nlevel = "debug"\nformat = "json"\n'
    )


async def test_neither_key_nor_tokens_appear_in_anything_that_the_shipped_program_shows(
    tmp_path: Path,
) -> None:
    shown = [
        {"Avala-Proxy-Token": SECRETS[1]},
        {"Authorization": f"Bearer {SECRETS[2]}"},
        {"X-Avala-Api-Key": SECRETS[3]},
        {"Avala-Proxy-Token": SECRETS[1], "X-Avala-Api-Key": SECRETS[2]},
        {"Avala-Proxy-Token": SECRETS[1], "X-Avala-Api-Key": SECRETS[3]},
    ]
    said: list[str] = []
    async with (
        programs.sandbox(tmp_path) as upstream,
        programs.proxy(tmp_path, upstream, config(tmp_path)) as (url, admin),
        aiohttp.ClientSession() as session,
    ):
        statuses = []
        for headers in shown:
            async with session.get(url + ME, headers=headers) as answer:
                said.append(f"{answer.headers} {await answer.text()}")
                statuses.append(answer.status)
        for page in ("/metrics", "/status", "/readyz", "/"):
            async with session.get(admin + page) as answer:
                assert answer.status == 200
                said.append(await answer.text())
        entries = (await programs.ledger(session, upstream))["entries"]
    # The sandbox knows none of these keys, so its 401 says that one came up; ours says that none did.
    assert (statuses, len(entries)) == ([401] * 5, 3)
    log = (tmp_path / "proxy.log").read_text()
    assert [json.loads(line)["client"] for line in log.splitlines() if '"request"' in line] == [
        *("a", "b", None, None, "a")
    ]
    assert "hunter2" not in "".join([log, *said])


async def test_check_prints_that_there_are_secrets_but_not_which(tmp_path: Path) -> None:
    path, log = tmp_path / "proxy.toml", tmp_path / "check.log"
    path.write_text(config(tmp_path))
    async with programs.started("check", "--config", str(path), log=log) as process:
        await process.wait()
    said = log.read_text()
    assert said.count('"********"') == 2
    assert f'token_file = "{tmp_path}/token"' in said
    assert "The configuration is valid." in said
    assert "hunter2" not in said


HOLD = '[credential]\nvalue = "hunter2"\n'


@pytest.mark.parametrize(
    ("listen", "text"),
    [
        ("0.0.0.0:0", HOLD),
        ("[::]:0", HOLD),
        ("192.0.2.1:0", HOLD),
        ("0.0.0.0:0", '[credential]\nfile = "FILE"\n'),
    ],
)
async def test_an_open_relay_does_not_start(tmp_path: Path, listen: str, text: str) -> None:
    path, key, log = tmp_path / "proxy.toml", tmp_path / "key", tmp_path / "serve.log"
    key.write_text("hunter2")
    path.write_text(text.replace("FILE", str(key)))
    options = ["--config", str(path), "--listen", listen, "--admin-listen", "127.0.0.1:0"]
    async with programs.started("serve", *options, log=log, code=2) as process:
        await process.wait()
    said = log.read_text()
    assert f"has {listen}, where anybody could use the key that the proxy holds; allowed: loopback" in said
    assert "unless clients show a token ([[clients]]) or a certificate (listen.tls.client_ca)" in said
    assert "Traceback" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("table", "content", "what"),
    [
        ('[credential]\nfile = "FILE"', "", "is empty: write the secret in it"),
        ('[credential]\nfile = "FILE"', "hunter2 hunter2", "holds more than one line of visible ASCII"),
        ('[[clients]]\nname = "ci"\ntoken_file = "FILE"', "hunter2", "holds fewer than 16 characters"),
    ],
)
async def test_a_secret_file_that_is_no_use_stops_the_start_with_a_sentence(
    tmp_path: Path, table: str, content: str, what: str
) -> None:
    path, key, log = tmp_path / "proxy.toml", tmp_path / "key", tmp_path / "serve.log"
    key.write_text(content)
    path.write_text(table.replace("FILE", str(key)))
    options = ["--config", str(path), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    async with programs.started("serve", *options, log=log, code=1) as process:
        await process.wait()
    assert log.read_text().startswith(f"{key} {what}")
    assert "Traceback" not in log.read_text()
    assert "hunter2" not in log.read_text()
