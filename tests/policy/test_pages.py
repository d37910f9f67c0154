"""A page that a browser shows cannot use what is meant for programs."""

import pytest

from proxy.policy.pages import comes_from_another_site, is_own_name
from tests.fakes import headers

URL = "http://127.0.0.1:8080"


def foreign(**fields: str) -> bool:
    return comes_from_another_site(headers(**fields), url=URL, secure=False, names={"proxy.internal"})


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "localhost"},
        {"host": "[::1]:8080"},
        {"host": "Proxy.Internal:443"},
        {"host": "127.0.0.1:8080", "origin": URL, "sec_fetch_site": "same-origin"},
        {"host": "127.0.0.1:8080", "sec_fetch_site": "none"},
        {},
    ],
)
def test_programs_and_pages_of_our_own_are_let_be(fields: dict[str, str]) -> None:
    assert not foreign(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "127.0.0.1:8080", "sec_fetch_site": "cross-site"},
        {"host": "127.0.0.1:8080", "sec_fetch_site": "Same-Site"},
        {"host": "127.0.0.1:8080", "origin": "http://evil.example"},
        {"host": "127.0.0.1:8080", "origin": "null"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:9999"},
        {"host": "evil.example"},
        {"host": "evil.example:8080", "sec_fetch_site": "same-origin"},
        {"host": "proxy.internal.evil.example"},
    ],
)
def test_a_page_of_another_site_is_seen(fields: dict[str, str]) -> None:
    assert foreign(**fields)


@pytest.mark.parametrize(
    "host", ["", "a:b:c", "localhost.evil", "127.0.0.1.evil", "[evil]", "user@localhost"]
)
def test_what_only_looks_like_our_name_is_not(host: str) -> None:
    assert not is_own_name(host)


def test_behind_a_certificate_of_our_own_every_name_is_ours() -> None:
    url = "https://box"
    assert not comes_from_another_site(headers(host="box"), url=url, secure=True, names=())
    assert comes_from_another_site(headers(host="box", origin="https://evil"), url=url, secure=True, names=())
    assert comes_from_another_site(headers(host="box"), url=url, secure=False, names=()), "somebody else's"
