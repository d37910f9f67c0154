"""What is taken has one meaning; everything else is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Listen
from proxy.errors import BadRequest, HeadTooLarge, Refusal, TargetTooLong, UpgradeRefused
from proxy.messages import Headers, Request
from proxy.policy.wire import MAX_RESPONSE_HEAD, RequestRules, unfit_response
from tests import fakes

HERE = "127.0.0.1:8080"
HOST = (b"Host", b"proxy:8080")
SETTINGS = Listen(max_target=256, max_field=300, max_head=1024, max_fields=8)
Field = tuple[bytes, bytes]


def target(
    target: str = "/",
    *fields: Field,
    method: str = "GET",
    version: bytes = b"1.1",
    host: bool = True,
) -> str:
    rules = RequestRules(SETTINGS, ["api.avala.ai", "Proxy.Internal:443"])
    own = (HOST,) if host else ()
    return rules.target(request(target, *own, *fields, method=method, version=version), HERE)


def request(
    target: str, *fields: Field, method: str = "GET", version: bytes = b"1.1", secure: bool = False
) -> Request:
    made = fakes.request(method, target, fields=Headers(fields))
    return replace(made, version=version, secure=secure)


@pytest.mark.parametrize(
    "as_it_is",
    ["/", "//", "/a%2Fb/../c?", "/?q=%ff&&x=;", "/[]{}|^`\"'<>\\~", "/*", "/http://x/"],
)
def test_a_target_in_origin_form_stays_as_it_is(as_it_is: str) -> None:
    assert target(as_it_is) == as_it_is


@pytest.mark.parametrize(
    "bad",
    [
        "*",
        "",
        "a",
        "evil:80",
        "/a#b",
        "/a b",
        "/a\tb",
        "/\0",
        "/caf\udcc3\udca9",
        "/café",
        "/\x7f",
        "http:/x",
        "ftp://x/",
    ],
)
def test_any_other_target_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest):
        target(bad)


@pytest.mark.parametrize(
    ("absolute", "origin"),
    [
        ("http://127.0.0.1:8080/a?b", "/a?b"),
        ("http://API.avala.ai/a//b?", "/a//b?"),
        ("http://proxy.internal:443", "/"),
        ("HTTP://proxy.internal:443?x", "/?x"),
    ],
)
def test_an_absolute_target_that_names_us_is_taken_apart(absolute: str, origin: str) -> None:
    assert target(absolute) == origin


@pytest.mark.parametrize(
    "absolute",
    [
        "http://evil/",
        "http://proxy:8080/",  # the Host field is the client's word
        "http://api.avala.ai@evil/",
        "http://api.avala.ai.evil/",
        "http://api.avala.ai:81/",
        "http://x@api.avala.ai/",
        "http:///",
        "http://api.avala.ai/a#b",
        "http://api.avala.ai\\@evil/",
    ],
)
def test_an_absolute_target_of_another_host_is_refused(absolute: str) -> None:
    with pytest.raises(BadRequest):
        target(absolute)


@pytest.mark.parametrize("value", [b"host", b"host:80", b"[::1]", b"[::1]:80", b"1.2.3.4:", b"a_b.c~%20"])
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(value: bytes) -> None:
    assert target("/", (b"hOsT", value), host=False) == "/"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"a b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:80:80",
        b"[::1",
        b"a,b",
        b"a?b",
        b"a#b",
        b"caf\xe9",
        b"a\\b",
    ],
)
def test_any_other_host_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="Host"):
        target("/", (b"Host", value), host=False)


@pytest.mark.parametrize("path", ["/", "evil:443", "http://127.0.0.1:8080/"])
def test_no_tunnel_is_made(path: str) -> None:
    with pytest.raises(BadRequest, match="forward proxies"):
        target(path, method="CONNECT")


def test_there_is_one_host_and_in_http_1_0_perhaps_none() -> None:
    with pytest.raises(BadRequest, match="one Host"):
        target(host=False)
    with pytest.raises(BadRequest, match="one Host"):
        target("/", HOST)
    assert target(host=False, version=b"1.0") == "/"
    with pytest.raises(BadRequest, match="one Host"):
        target("/", HOST, version=b"1.0")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"0")],
        [(b"Content-Length", b"0009")],
        [(b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"Chunked")],
    ],
)
def test_a_body_has_one_length_or_comes_in_chunks(fields: list[Field]) -> None:
    assert target("/", *fields) == "/"


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Content-Length", b"1"), (b"content-length", b"1")],
        [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        *([(b"Content-Length", value)] for value in (b"", b"+1", b"-1", b"1, 1", b"0x1", b"1 ", b"1" * 20)),
        *([(b"Transfer-Encoding", value)] for value in (b"", b"gzip", b"gzip, chunked", b"chunked, chunked")),
        *(
            [(b"Transfer-Encoding", value)]
            for value in (b"identity", b"chunked;x", b"\tchunked", b'"chunked"')
        ),
    ],
)
def test_where_a_body_ends_is_said_once_and_in_one_way(fields: list[Field]) -> None:
    with pytest.raises(BadRequest):
        target("/", *fields)


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(BadRequest, match="no transfer codings"):
        target("/", (b"Transfer-Encoding", b"chunked"), version=b"1.0")


@pytest.mark.parametrize(
    "field",
    [
        (b"", b"x"),
        (b"a b", b"x"),
        (b"a:", b"x"),
        (b"caf\xe9", b"x"),
        (b"a", b"x\ry"),
        (b"a", b"\0"),
        (b"a", b"\x7f"),
    ],
)
def test_a_field_has_no_characters_that_somebody_could_take_for_an_end(field: Field) -> None:
    with pytest.raises(BadRequest, match="characters"):
        target("/", field)


@pytest.mark.parametrize(
    ("fields", "path", "refusal"),
    [
        ([], "/" * 257, TargetTooLong),
        ([(b"a" * 100, b"b" * 201)], "/", HeadTooLarge),
        ([(b"a", b"")] * 8, "/", HeadTooLarge),
        ([(b"a", b"b" * 250)] * 4, "/", HeadTooLarge),
    ],
    ids=["target", "field", "number of fields", "all"],
)
def test_what_is_too_large_is_told_apart(fields: list[Field], path: str, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        target(path, *fields)


def test_what_just_fits_is_taken() -> None:
    assert target("/" * 256, *[(b"a" * 10, b"b" * 90)] * 7)
    assert target("/", (b"a" * 100, b"b" * 200))


def test_a_head_may_have_exactly_the_size_that_is_allowed() -> None:
    exactly = 1024 - 1 - (len(b"Hostproxy:8080") + 4) - 3 * (250 + 4)
    fields = [(b"a", b"b" * 249)] * 3
    assert target("/", *fields, (b"c", b"d" * (exactly - 5))) == "/"
    with pytest.raises(HeadTooLarge):
        target("/", *fields, (b"c", b"d" * (exactly - 4)))


def test_an_absolute_target_names_the_scheme_of_its_connection() -> None:
    made = request("https://api.avala.ai/", HOST, secure=True)
    assert RequestRules(SETTINGS, ["api.avala.ai"]).target(made, HERE) == "/"
    with pytest.raises(BadRequest, match="scheme"):
        target("https://api.avala.ai/")


def test_websockets_are_refused_and_other_upgrades_ignored() -> None:
    with pytest.raises(UpgradeRefused):
        target("/", (b"Upgrade", b"h2c"), (b"Upgrade", b"WebSocket"))
    with pytest.raises(UpgradeRefused):
        target("/", (b"Upgrade", b"WebSocket"))
    assert target("/", (b"Upgrade", b"h2c")) == "/"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.binary())
def test_any_head_is_taken_or_refused(path: str, name: bytes, value: bytes) -> None:
    try:
        taken = target(path, (name, value))
    except BadRequest:
        return
    assert taken.startswith("/")
    assert not set(taken) & set(" \t\r\n\0#")


@pytest.mark.parametrize(
    "fields",
    [[], [(b"Content-Length", b"1")], [(b"Transfer-Encoding", b"CHUNKED")], [(b"X", b"caf\xe9\t")]],
)
def test_a_fit_response_passes(fields: list[Field]) -> None:
    assert unfit_response(200, "Caf\udce9 \t", (1, 1), Headers(tuple(fields))) is None


@pytest.mark.parametrize(
    ("status", "fields", "fault"),
    [
        (99, [], "http_protocol_error"),
        (0, [], "http_protocol_error"),
        (200, [(b"X", b"a\nY: b")], "http_protocol_error"),
        (200, [(b"X Y", b"a")], "http_protocol_error"),
        (200, [(b"Content-Length", b"1"), (b"Content-Length", b"1")], "http_protocol_error"),
        (200, [(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], "http_protocol_error"),
        (200, [(b"Content-Length", b"+1")], "http_protocol_error"),
        (200, [(b"Transfer-Encoding", b"gzip, chunked")], "http_response_transfer_coding"),
        (200, [(b"X", b"x" * MAX_RESPONSE_HEAD)], "http_response_header_section_size"),
    ],
)
def test_an_unfit_response_is_named(status: int, fields: list[Field], fault: str) -> None:
    assert unfit_response(status, "OK", (1, 0), Headers(tuple(fields))) == fault


@pytest.mark.parametrize(
    ("reason", "version"),
    [("O\0K", (1, 1)), ("\x1b[2J", (1, 1)), ("OK", (2, 0)), ("OK", (0, 9)), ("OK", (1, 2))],
)
def test_an_unfit_status_line_is_named(reason: str, version: tuple[int, int]) -> None:
    assert unfit_response(200, reason, version, Headers()) == "http_protocol_error"
