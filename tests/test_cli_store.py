"""What the commands say of a store that is shared, and is not as it should be."""

import importlib.util
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e import programs
from tests.servers import StoreServer, free_port, start_store
from tests.test_cli import avala_proxy

SECRET = "a-secret-of-the-fleet,-long-enough"
PASSWORD = "the-password-of-the-store"


def configured(tmp_path: Path, url: str, password: str = "") -> str:
    path = tmp_path / "shared.toml"
    path.write_text(f'[redis]\nurl = "{url}"\nsecret = "{SECRET}"\n{password}')
    return str(path)


def test_check_is_content_with_a_store_as_it_should_be(tmp_path: Path, valkey: StoreServer) -> None:
    code, said = avala_proxy("check", "--config", configured(tmp_path, valkey.url))
    assert code == 0, said
    assert "The configuration is valid." in said
    assert SECRET not in said


def test_check_says_that_nobody_is_there_and_what_to_do(tmp_path: Path) -> None:
    code, said = avala_proxy("check", "--config", configured(tmp_path, f"redis://127.0.0.1:{free_port()}"))
    assert code != 0
    assert "refuses connections: start it, or check redis.url." in said
    assert "Traceback" not in said


def test_check_says_that_the_password_is_wrong_and_does_not_repeat_it(tmp_path: Path) -> None:
    with start_store("valkey", password=PASSWORD) as store:
        wrong = configured(tmp_path, store.url, 'password = "not-this-one"\n')
        code, said = avala_proxy("check", "--config", wrong)
        assert code != 0
        assert "refuses the password: check redis.username and redis.password_file." in said
        assert "not-this-one" not in said
        right = configured(tmp_path, store.url, f'password = "{PASSWORD}"\n')
        code, said = avala_proxy("check", "--config", right)
        assert code == 0, said
        assert PASSWORD not in said


@pytest.mark.parametrize("command", ["serve", "check"])
def test_without_the_client_of_the_store_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    found = importlib.util.find_spec

    def none(name: str, *rest: Any) -> Any:
        return None if name == "redis" else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", none)
    code, said = avala_proxy(command, "--config", configured(tmp_path, "redis://127.0.0.1:1"))
    assert code != 0
    assert "install avala-proxy with its extra, avala-proxy[redis]." in said


@pytest.mark.parametrize("password", ["", 'password = "not-this-one"\n'])
async def test_serve_starts_without_its_store_and_says_what_is_wrong(tmp_path: Path, password: str) -> None:
    with start_store("valkey", password=PASSWORD) as store:
        url = store.url if password else f"redis://127.0.0.1:{free_port()}"
        path, log = configured(tmp_path, url, password), tmp_path / "proxy.log"
        where = [
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--upstream",
            "http://127.0.0.1:1",
        ]
        async with (
            programs.started("serve", "--config", path, *where, log=log, traced=True) as process,
            aiohttp.ClientSession() as session,
        ):
            admin = (await programs.urls(process, log, 2))[1]
            async with session.get(f"{admin}/readyz") as answer:
                told = await answer.json()
    wanted = "refuses the password" if password else "refuses connections"
    assert told["ready"]
    assert told["reason"].startswith("degraded: ")
    assert wanted in told["reason"]
    assert log.read_text().count(wanted) == 1
    assert "not-this-one" not in log.read_text()
