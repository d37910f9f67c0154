"""Who may read at the admin listener, and who may change something."""

import pytest

from proxy.admin.visitors import Visitor, is_loopback
from proxy.messages import Headers

TOKEN = "hunter2-hunter2-hunter2"
HOME, AWAY = ("127.0.0.1", 9464), ("192.0.2.7", 9464)
HOST = (b"Host", b"localhost:9464")

Field = tuple[bytes, bytes]


def visitor(*fields: Field, here: object = HOME, peer: object = HOME) -> Visitor:
    return Visitor(here, peer, Headers((HOST, *fields)))


def bearer(token: str) -> Field:
    return b"authorization", b"Bearer " + token.encode("latin-1")


def refused(one: Visitor, token: str | None = None) -> int | None:
    denial = one.may_not_change(token)
    return denial.status if denial else None


@pytest.mark.parametrize(
    ("end", "loopback"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), True),
        (("::ffff:192.0.2.7", 1, 0, 0), False),
        (("fe80::1%lo", 1, 0, 2), False),
        (("0.0.0.0", 1), False),
        (("192.0.2.7", 1), False),
        ("/run/admin.sock", False),
        ("", False),
        (None, False),
    ],
)
def test_a_loopback_end_is_an_address_that_only_this_machine_has(end: object, loopback: bool) -> None:
    assert is_loopback(end) == loopback


def test_without_a_token_this_machine_may_change_something_by_a_loopback_address() -> None:
    assert visitor().may_not_change(None) is None
    assert visitor(here=("::1", 1, 0, 0), peer=("::1", 2, 0, 0)).may_not_change(None) is None


@pytest.mark.parametrize(("here", "peer"), [(HOME, AWAY), (AWAY, HOME), (AWAY, AWAY), (None, None)])
def test_without_a_token_nobody_else_may_and_is_told_what_to_set(here: object, peer: object) -> None:
    denial = visitor(here=here, peer=peer).may_not_change(None)
    assert denial is not None
    assert denial.status == 403
    assert "set listen.admin_token or listen.admin_token_file" in denial.detail


def test_without_a_token_one_that_is_shown_helps_nobody() -> None:
    assert refused(visitor(bearer(TOKEN), here=AWAY)) == 403
    assert refused(visitor(bearer(TOKEN))) is None


@pytest.mark.parametrize("end", [HOME, AWAY, None])
def test_with_a_token_whoever_shows_it_may_wherever_they_are(end: object) -> None:
    assert refused(visitor(bearer(TOKEN), here=end, peer=end), TOKEN) is None


@pytest.mark.parametrize(
    "shown",
    [
        (b"Authorization", b"Bearer " + TOKEN.encode()),
        (b"AUTHORIZATION", b"bearer   " + TOKEN.encode()),
        (b"authorization", b"BEARER " + TOKEN.encode()),
    ],
)
def test_the_scheme_may_be_written_in_any_case(shown: Field) -> None:
    assert refused(visitor(shown), TOKEN) is None


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (bearer(""),),
        (bearer(TOKEN[:-1]),),
        (bearer(TOKEN + "x"),),
        (bearer(TOKEN.upper()),),
        (bearer("hunter2-\xff"),),
        (bearer(f"Bearer {TOKEN}"),),
        (bearer(TOKEN), bearer(TOKEN)),
        (bearer("another"), bearer(TOKEN)),
        ((b"Authorization", TOKEN.encode()),),
        ((b"Authorization", b"Bearer" + TOKEN.encode()),),
        ((b"Authorization", b"Basic " + TOKEN.encode()),),
        ((b"Avala-Proxy-Token", TOKEN.encode()),),
        ((b"Cookie", TOKEN.encode()),),
    ],
)
def test_with_a_token_nobody_else_may_not_even_on_loopback(fields: tuple[Field, ...]) -> None:
    assert refused(visitor(*fields), TOKEN) == 401


@pytest.mark.parametrize(
    "fields",
    [
        ((b"Sec-Fetch-Site", b"same-origin"),),
        ((b"Sec-Fetch-Site", b"None"),),
        ((b"Origin", b"http://localhost:9464"),),
        ((b"Origin", b"HTTP://LOCALHOST:9464"), (b"Sec-Fetch-Site", b"same-origin")),
    ],
)
def test_a_browser_may_on_a_page_of_this_listener_or_of_none(fields: tuple[Field, ...]) -> None:
    assert refused(visitor(*fields)) is None


@pytest.mark.parametrize(
    "fields",
    [
        ((b"Sec-Fetch-Site", b"cross-site"),),
        ((b"Sec-Fetch-Site", b"same-site"),),
        ((b"Sec-Fetch-Site", b"whatever-comes-next"),),
        ((b"Sec-Fetch-Site", b""),),
        ((b"Sec-Fetch-Site", b"none"), (b"Sec-Fetch-Site", b"cross-site")),
        ((b"Origin", b"https://evil.example"),),
        ((b"Origin", b"http://localhost:9465"),),
        ((b"Origin", b"http://localhost"),),
        ((b"Origin", b"https://localhost:9464"),),
        ((b"Origin", b"http://localhost:9464.evil.example"),),
        ((b"Origin", b"null"),),
        ((b"Origin", b""),),
        ((b"Origin", b"http://localhost:9464"), (b"Origin", b"https://evil.example")),
        ((b"Origin", b"http://localhost:9464"), (b"Sec-Fetch-Site", b"cross-site")),
        ((b"Origin", b"http://localhost:9464"), (b"Host", b"evil.example")),
    ],
)
def test_a_page_of_another_site_changes_nothing_token_or_not(fields: tuple[Field, ...]) -> None:
    assert refused(visitor(*fields)) == 403
    assert refused(visitor(bearer(TOKEN), *fields), TOKEN) == 403
    assert refused(visitor(*fields), TOKEN) == 403


def test_a_page_is_of_no_site_that_a_request_without_host_can_name() -> None:
    assert refused(Visitor(HOME, HOME, Headers(((b"Origin", b"http://"),)))) == 403
    assert refused(Visitor(HOME, HOME, Headers())) is None


@pytest.mark.parametrize("here", [HOME, ("::ffff:127.0.0.1", 1, 0, 0)])
def test_a_page_whose_name_was_rebound_may_not_even_read(here: object) -> None:
    denial = Visitor(here, HOME, Headers(((b"Host", b"evil.example"),))).may_not_read()
    assert denial is not None
    assert denial.status == 403
    assert Visitor(AWAY, AWAY, Headers(((b"Host", b"proxy.example"),))).may_not_read() is None


def test_neither_a_denial_nor_a_repr_repeats_what_was_shown_or_is_configured() -> None:
    one = visitor(bearer("guess-guess-guess"))
    said = f"{one!r} {one.may_not_change(TOKEN)!r}"
    assert "guess" not in said
    assert "hunter2" not in said
