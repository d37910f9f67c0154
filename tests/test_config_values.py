"""What one value must look like."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from proxy import config_values as values
from proxy.config import Caller, Queue


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("[2001:DB8:0::1]:80", ("2001:db8::1", 80)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("LocalHost:65535", ("localhost", 65535)),
        ("proxy_1.internal.:9464", ("proxy_1.internal.", 9464)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
    ],
)
def test_an_address_is_split_into_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert values.parse_address(text) == address
    assert values.address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", ":8080", "host", "host:", "host:65536", "host:-1", "host:+1", "host:\uff18\uff10"),
        *(
            "::1:8080",
            "[::1]",
            "[::1:80",
            "[127.0.0.1]:80",
            "[gg::]:80",
            "256.0.0.1:80",
            "127.1:80",
            "1.2.3:80",
        ),
        *("-a:80", "a-:80", "a..b:80", "a b:80", "a/b:80", "user@host:80", "host:80\n", "x" * 254 + ":80"),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT with a port from 0"):
        values.parse_address(text)


@given(st.text())
def test_any_text_is_an_address_or_refused_with_a_value_error(text: str) -> None:
    with suppress(ValueError):
        host, port = values.parse_address(text)
        assert host
        assert 0 <= port <= 65535


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://api.avala.ai", "https://api.avala.ai"),
        ("HTTPS://API.Avala.AI:443/", "https://api.avala.ai"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]", "http://[::1]"),
        ("http://[0::1]:81", "http://[::1]:81"),
        ("https://host/prefix/v2/", "https://host/prefix/v2"),
        ("https://host/a%20b/~c:d@e", "https://host/a%20b/~c:d@e"),
    ],
)
def test_a_base_url_has_one_normal_form(text: str, normal: str) -> None:
    assert values.base_url(text) == normal
    assert values.base_url(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        *("", "api.avala.ai", "ftp://host", "https:host", "https://", "https:///path", "https://host:0"),
        *(
            "https://host:",
            "https://host:99999",
            "https://ho st",
            "https://h\tost",
            "https://[::1",
            "https://:80",
        ),
        *("https://host/a//b", "https://host/../b", "https://host/./b", "https://host/%zz", "https://höst"),
        *("https://host\n", "https://host/a\n", " https://host", "https://host/a b", "https://host\\evil"),
    ],
)
def test_what_is_no_base_url_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://, a host"):
        values.base_url(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://user:hunter2@host", "holds a user name or a password"),
        ("https://hunter2@host", "holds a user name or a password"),
        ("https://host?key=hunter2", "has a query or a fragment"),
        ("https://host/a#hunter2", "has a query or a fragment"),
        ("https://host?", "has a query or a fragment"),
    ],
)
def test_what_may_be_secret_in_a_url_is_refused_without_being_repeated(text: str, what: str) -> None:
    with pytest.raises(values.UnfitError) as refused:
        values.base_url(text)
    assert refused.value.what == what
    assert "hunter2" not in str(refused.value)


def test_methods_are_put_in_capitals_and_must_be_tokens() -> None:
    assert values.method("post") == "POST"
    with pytest.raises(ValueError, match="an HTTP method"):
        values.method("PO ST")


def test_header_names_are_kept_as_written_and_must_be_tokens() -> None:
    assert values.header_name("X-Key") == "X-Key"
    for text in ("", "X Key", "X-Key:", "X-Këy", "X-Key\n"):
        with pytest.raises(ValueError, match="a header name"):
            values.header_name(text)


def test_path_patterns_begin_with_a_slash_and_have_no_query() -> None:
    assert values.path_pattern("/api/**/x/*") == "/api/**/x/*"
    for text in ("", "api/", "/a?b", "/a#b", "/a b"):
        with pytest.raises(ValueError, match="a path that begins with /"):
            values.path_pattern(text)


def test_a_directory_is_one_that_takes_files(tmp_path: Path) -> None:
    assert values.directory(str(tmp_path)) == str(tmp_path)
    for text in (str(tmp_path / "missing"), __file__):
        with pytest.raises(values.UnfitError, match="is no place where a file can be made"):
            values.directory(text)


def test_a_limit_may_not_have_the_name_that_metrics_have_for_no_limit() -> None:
    assert values.limit_name("standard") == "standard"
    with pytest.raises(values.UnfitError, match="any other name"):
        values.limit_name("none")


@pytest.mark.parametrize("text", ["!" * 16, "~" * 1024, "0123456789abcdef"])
def test_a_token_is_16_to_1024_visible_characters(text: str) -> None:
    assert values.token(SecretStr(text)).get_secret_value() == text


@pytest.mark.parametrize(
    "text",
    ["", "hunter2-hunter2", "~" * 1025, "hunter2 hunter2 h", "hunter2-hunter2-\n", "hunter2-hünter2-h"],
)
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="16 to 1024 visible ASCII characters") as refused:
        values.token(SecretStr(text))
    assert "hunter2" not in str(refused.value)


def test_a_file_is_one_that_can_be_read(tmp_path: Path) -> None:
    assert values.readable_file(__file__) == __file__
    for text in (str(tmp_path / "missing"), str(tmp_path), ""):
        with pytest.raises(values.UnfitError, match="is no file that can be read"):
            values.readable_file(text)


@pytest.mark.parametrize("text", ["a", "nightly import", "192.0.2.1", "!" + " " * 62 + "~", "x" * 64])
def test_a_caller_is_named_by_what_can_be_seen(text: str) -> None:
    assert values.caller_name(text) == text


@pytest.mark.parametrize("text", ["", " a", "a ", "x" * 65, "naïve", "a\tb", "a\n"])
def test_a_caller_that_no_header_could_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 visible ASCII characters"):
        values.caller_name(text)


def test_a_product_is_named_without_its_version() -> None:
    assert values.product("python-httpx") == "python-httpx"
    for text in ("", "node/20", "my service", "node\n"):
        with pytest.raises(ValueError, match="such as python-httpx"):
            values.product(text)


def test_a_caller_has_one_weight() -> None:
    Queue(callers=(Caller(name="a", weight=2.0), Caller(name="b", weight=0.01)))
    with pytest.raises(ValueError, match="has the name a twice"):
        Queue(callers=(Caller(name="a", weight=2.0), Caller(name="a", weight=3.0)))
