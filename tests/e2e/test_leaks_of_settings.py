"""Secrets in settings, files, stores and names: right or wrong, they are in nothing that is said."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from click.testing import CliRunner

from proxy.app import App
from proxy.cli import main
from proxy.config import load
from tests.e2e.leaking import ADMIN, CLIENTS_KEY, HELD, MARK, TOKEN, check, head, placed
from tests.servers import talking

SECRET = f"secret-{MARK}-of-the-store"
PASSWORD = f'pass word "{MARK}" of the store'
CLIENT = f'[[clients]]\nname = "lab"\ntoken = "{TOKEN}"\n'


def said_by(command: str, config: str, path: Path, **environment: str) -> tuple[int, str]:
    """Run a command with a configuration file; return its exit code and all that it printed."""
    file = path / "avala.toml"
    file.write_text(config)
    result = CliRunner().invoke(main, [command, "--config", str(file)], env=environment)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "config",
    [
        f"{CLIENTS_KEY} = 1\n",
        f"[credential]\n{CLIENTS_KEY} = 1\n{CLIENTS_KEY} = 2\n",
        f"[credential]\n{MARK} = 1\n",
        f'[credential]\nvalue = "{HELD} with a space"\n',
        f'[upstream]\nbase_url = "https://user:{CLIENTS_KEY}@api.example"\n',
        f'[upstream]\nbase_url = "https://user:{MARK}@api.example"\n',
        f'[upstream]\nbase_url = "https://api.example/?token={MARK}"\n',
        f'[upstream]\nbase_url = "https://api.example/{CLIENTS_KEY}/"\n',
        f'[upstream]\nbase_url = "https://{CLIENTS_KEY}.api.example"\n',
        f'[upstream]\nhead_timeout = "{CLIENTS_KEY}"\n',
        f'[redis]\nurl = "redis://:{MARK}@store/0"\n',
        f'[redis]\nurl = "redis://store/0"\nprefix = "{CLIENTS_KEY}"\nsecret = "{SECRET}"\n',
        f'[[clients]]\nname = "{CLIENTS_KEY}"\ntoken = "{TOKEN}"\n',
        f'[[clients]]\nname = "lab"\ntoken = "{MARK}"\n',
        f'{CLIENT}[log]\nlevel = "{TOKEN}"\n',
        f'{CLIENT}[listen]\nadmin_address = "{TOKEN}"\n',
        f'{CLIENT}[listen]\n"{TOKEN}" = 1\n',
        f'{CLIENT}[[clients]]\nname = "lab"\ntoken = "{TOKEN}-2"\n',
        f'[queue]\ncallers = [{{ name = "{CLIENTS_KEY}", weight = 2 }}]\n',
        f"[credential]\nvalue = {HELD}\n",
    ],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_is_wrong_is_said_without_the_secret_that_is_in_a_wrong_place(
    config: str, command: str, tmp_path: Path
) -> None:
    code, said = said_by(command, config, tmp_path)
    assert code == 2, said
    assert "avala.toml" in said
    check(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLIENTS", json.dumps([{"name": "lab", MARK: TOKEN}])),
        ("CLIENTS", TOKEN),
        ("CREDENTIAL", HELD),
        ("CREDENTIAL__FILE", f"/{MARK}?token={CLIENTS_KEY}"),
        ("REDIS__URL", f"redis://:{MARK}@h"),
        ("LISTEN__ADMIN_TOKEN", MARK),
    ],
)
def test_what_is_wrong_in_the_environment_is_said_without_it(name: str, value: str, tmp_path: Path) -> None:
    code, said = said_by("check", "", tmp_path, **{f"AVALA_PROXY_{name}": value})
    assert code == 2
    check(said.replace(f"/{MARK}?", "/"))


def test_a_secret_that_is_another_setting_too_is_masked_there(tmp_path: Path) -> None:
    config = f'{CLIENT}[redis]\nprefix = "{TOKEN}"\nusername = "{TOKEN}"\n[listen]\nadmin_token = "{ADMIN}"\n'
    code, said = said_by("check", config, tmp_path)
    assert code == 0, said
    assert 'prefix = "…"' in said
    check(said)


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_files_that_hold_secrets_and_are_unfit_are_told_without_their_content(
    command: str, tmp_path: Path
) -> None:
    for content in (f"{TOKEN}\n{HELD}\n", f"{MARK}", f"{TOKEN} {TOKEN}", TOKEN * 300):
        file = tmp_path / "token"
        file.write_text(content)
        config = f'[[clients]]\nname = "lab"\ntoken_file = "{file}"\n'
        _, said = said_by(command, config, tmp_path)
        assert str(file) in said.replace("\n", "")
        check(said)


def test_a_private_key_that_is_unfit_is_told_without_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("localhost")
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    pem = cert.private_key_pem.bytes().decode()
    broken = pem.replace("\n", f"{MARK}\n", 2)
    for content in (broken, pem[:200], MARK, f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{MARK}\n"):
        (tmp_path / "key.pem").write_text(content)
        files = f'certificate = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/key.pem"\n'
        config = f'[listen]\naddresses = ["https://127.0.0.1:0"]\n[listen.tls]\n{files}'
        code, said = said_by("check", config, tmp_path)
        assert code == 2
        check(said)
        assert pem[60:90] not in said


@pytest.mark.parametrize(
    "answer",
    [
        f"-WRONGPASS {PASSWORD} is wrong\r\n",
        f"-NOAUTH {PASSWORD}\r\n",
        f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n",
        f"-ERR in a script: {PASSWORD}\r\n",
        f"+{PASSWORD}\r\n",
        f"{PASSWORD}\r\n",
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
async def test_a_store_that_quotes_its_password_is_not_quoted(answer: str, form: str) -> None:
    async with talking(answer.encode()) as (url, _):
        redis = {"url": url, "password": PASSWORD, "secret": SECRET}
        async with placed(form, redis=redis) as place:
            await place.send(head(X_Request_Id=SECRET, Avala_Proxy_Client=SECRET))
            said = await place.everything()
    assert "ledger_down" in said
    check(said)


async def test_a_name_that_can_not_be_resolved_is_told_and_no_key_with_it() -> None:
    named = {"base_url": f"http://{MARK}.invalid"}  # a name is no secret: it says what is wrong
    async with placed(upstream=named) as place:
        await place.refuse(head(X_Avala_Api_Key=CLIENTS_KEY))
        said = await place.everything()
    assert "dns_error" in said
    check(said.replace(f"{MARK}.invalid", ""))


async def test_a_reload_tells_which_settings_changed_and_no_value() -> None:
    clients = [{"name": "lab", "token": TOKEN}]
    async with placed(clients=clients) as place:
        settings = place.app.settings
        tables: dict[str, Any] = settings.model_dump(exclude_none=True)
        tables["clients"] = [{"name": "lab", "token": f"{TOKEN}-anew"}]
        tables["retry"]["max_retries"] = 2
        tables["credential"] = {"value": HELD}
        tables["redis"], tables["listen"]["admin_token"] = {}, ADMIN
        place.app.reload(lambda: load(None, tables))
        place.app.reload(lambda: load(None, tables))
        place.app.reload(lambda: load(None, tables | {"log": {"level": TOKEN}}))
        for token in (TOKEN, f"{TOKEN}-anew"):
            await place.send(head(Avala_Proxy_Token=token, X_Request_Id=token, Avala_Proxy_Client=token))
        said = await place.everything()
    told = [json.loads(line) for line in place.log.splitlines()]
    reloaded = [line["detail"] for line in told if line["event"] == "reloaded"]
    assert reloaded == [
        "The configuration was read again. Changed: credential.value, clients, retry.max_retries.",
        "The configuration was read again. Nothing in it has changed.",
    ]
    assert [line["level"] for line in told if line["event"] == "reload_failed"] == ["warning"]
    check(said)


async def test_the_content_of_a_file_is_cut_out_before_and_after_it_is_changed(tmp_path: Path) -> None:
    file, other = tmp_path / "token", f"rotated-{MARK}-token"
    file.write_text(TOKEN)
    clients = [{"name": "lab", "token_file": str(file)}]
    async with placed(clients=clients) as place:
        file.write_text(other)
        async with asyncio.timeout(10):
            while "credential_reloaded" not in place.log:
                await place.send(head(Avala_Proxy_Token=other))
                await asyncio.sleep(0.1)
        file.unlink()
        for token in (TOKEN, other):
            await place.send(head(Avala_Proxy_Token=other, X_Request_Id=token, Avala_Proxy_Client=token))
        check(await place.everything())


async def test_a_level_that_is_set_lasts_until_the_next_reload() -> None:
    log = io.StringIO()
    tables = {
        "upstream": {"base_url": "http://127.0.0.1:1"},
        "listen": {"addresses": ["127.0.0.1:0"], "admin_address": "127.0.0.1:0"},
        "log": {"format": "json", "level": "error"},
    }
    app = App(load(None, tables), log_stream=log)
    await app.start()
    try:
        async with aiohttp.ClientSession(app.admin_url) as session:
            for level in ("warning", "warning"):
                async with session.post(f"/log/{level}") as answer:
                    assert await answer.json() == {"level": level}
            app.reload(lambda: load(None, tables))
            async with session.get("/log") as answer:
                assert await answer.json() == {"level": "error"}
    finally:
        await app.stop(grace=0)
    told = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["event"], line["to"], line["before"]) for line in told] == [
        ("log_level_changed", "warning", "error")
    ]


def test_a_store_that_quotes_its_password_is_not_quoted_by_check_and_doctor(tmp_path: Path) -> None:
    async def say(command: str) -> str:
        async with talking(f"-ERR in a script: {PASSWORD}\r\n".encode()) as (url, _):
            redis = f'[redis]\nurl = "{url}"\nsecret = "{SECRET}"\npassword = {json.dumps(PASSWORD)}\n'
            return (await asyncio.to_thread(said_by, command, redis, tmp_path))[1]

    for command in ("check", "doctor"):
        said = asyncio.run(say(command))
        assert "Redis 6.2 or Valkey is needed" in said.replace("\n", " ")
        check(said)
