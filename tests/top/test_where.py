"""Where the proxy is, is said by hand or by its configuration."""

from pathlib import Path

import pytest

from proxy.config_report import ConfigError
from proxy.top.where import find


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1:9464", "http://127.0.0.1:9464"),
        ("[::1]:9464", "http://[::1]:9464"),
        ("Proxy.Example:9464", "http://proxy.example:9464"),
        ("http://proxy.example:9464/", "http://proxy.example:9464"),
        ("HTTPS://proxy.example/admin/", "https://proxy.example/admin"),
    ],
)
def test_an_address_or_a_url_will_do(given: str, url: str) -> None:
    assert find(given, None) == url


@pytest.mark.parametrize(
    "given", ["", "proxy", "127.0.0.1", "ftp://x:1", "http://", "http://me:secret@x", "x:y"]
)
def test_what_is_neither_is_told_without_repeating_it(given: str) -> None:
    with pytest.raises(ValueError, match="--admin is not an address; allowed: HOST:PORT") as caught:
        find(given, None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("listening", "url"),
    [
        ("127.0.0.1:7000", "http://127.0.0.1:7000"),
        ("0.0.0.0:7000", "http://127.0.0.1:7000"),
        ("[::]:7000", "http://[::1]:7000"),
        ("10.0.0.7:7000", "http://10.0.0.7:7000"),
    ],
)
def test_the_configuration_tells_where_it_is(tmp_path: Path, listening: str, url: str) -> None:
    path = tmp_path / "avala.toml"
    path.write_text(f'[listen]\nadmin_address = "{listening}"\n')
    assert find(None, path) == url
    assert find("127.0.0.1:1", path) == "http://127.0.0.1:1"


def test_the_environment_tells_it_as_for_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(None, None) == "http://127.0.0.1:9464"
    monkeypatch.setenv("AVALA_PROXY_LISTEN__ADMIN_ADDRESS", "127.0.0.1:7000")
    assert find(None, None) == "http://127.0.0.1:7000"


def test_any_free_port_is_no_place_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_LISTEN__ADMIN_ADDRESS", "127.0.0.1:0")
    with pytest.raises(ValueError, match="say which it is, by --admin"):
        find(None, None)


def test_a_configuration_that_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        find(None, tmp_path / "missing.toml")
