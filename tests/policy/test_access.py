"""Who gets in, what goes up in place of a token, and what never does."""

from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UnauthorizedClient
from proxy.messages import Headers
from proxy.policy.access import Access, Admitted

NAMES = ("X-Avala-Api-Key", "Authorization")
CI, LAB = "token-of-ci-0001", "token-of-lab-001"
HELD = "avk_held"

Field = tuple[bytes, bytes]
ACCEPT: Field = (b"Accept", b"*/*")
RANGE: Field = (b"Range", b"bytes=0-1")
PUT: Field = (b"X-Avala-Api-Key", HELD.encode())
OWN: Field = (b"x-avala-api-key", b"avk_own")


def access(key: str | None = HELD, *clients: tuple[str, str], names: Sequence[str] = NAMES) -> Access:
    return Access(names, key=lambda: key, clients=[(name, partial(str, token)) for name, token in clients])


both = access(HELD, ("ci", CI), ("lab", LAB))
keyless = access(None, ("ci", CI), ("lab", LAB))


def admit(*fields: Field, by: Access = both) -> tuple[str | None, tuple[Field, ...]]:
    admitted = by.admit(Headers(fields))
    return admitted.client, admitted.headers.raw


def refusal(*fields: Field, by: Access = both) -> str:
    with pytest.raises(UnauthorizedClient) as refused:
        by.admit(Headers(fields))
    return refused.value.detail


def proxy_token(token: str, name: bytes = b"Avala-Proxy-Token") -> Field:
    return name, token.encode("latin-1")


SHOWN = [
    (b"Avala-Proxy-Token", CI.encode()),
    (b"avala-proxy-TOKEN", b" \t" + CI.encode() + b" "),
    (b"X-Avala-Api-Key", CI.encode()),
    (b"x-avala-API-key", b"\t" + CI.encode()),
    (b"Authorization", b"Bearer " + CI.encode()),
    (b"authorization", b"bEARER  \t" + CI.encode() + b" "),
]


@pytest.mark.parametrize("shown", SHOWN)
def test_the_key_takes_the_place_of_a_token_wherever_it_was_shown(shown: Field) -> None:
    assert admit(ACCEPT, shown, RANGE) == ("ci", (ACCEPT, PUT, RANGE))


@pytest.mark.parametrize("shown", SHOWN)
def test_without_a_key_a_request_with_a_token_goes_up_anonymous(shown: Field) -> None:
    assert admit(ACCEPT, shown, RANGE, by=keyless) == ("ci", (ACCEPT, RANGE))


@pytest.mark.parametrize(
    "shown", [(b"Authorization", CI.encode()), (b"X-Avala-Api-Key", b"Bearer " + CI.encode())]
)
def test_a_token_in_the_other_fields_form_does_not_go_up_as_a_key_either(shown: Field) -> None:
    assert admit(shown) == ("ci", (PUT,))
    assert admit(proxy_token(CI), shown, by=keyless) == ("ci", ())


def test_the_name_is_that_of_the_client_whose_token_was_shown() -> None:
    assert admit(proxy_token(LAB)) == ("lab", (PUT,))


@pytest.mark.parametrize("by", [both, keyless])
@pytest.mark.parametrize("own", [OWN, (b"Authorization", b"Bearer own"), (b"Authorization", b"Basic eDp5")])
def test_a_clients_own_credential_is_never_replaced(by: Access, own: Field) -> None:
    assert admit(proxy_token(CI), own, by=by) == ("ci", (own,))


def test_a_token_in_one_credential_field_leaves_the_key_in_the_other() -> None:
    assert admit((b"Authorization", b"Bearer " + CI.encode()), OWN) == ("ci", (OWN,))


def test_an_empty_credential_makes_way_for_the_key_and_otherwise_stays() -> None:
    empty, token = (b"x-avala-api-key", b" "), proxy_token(CI)
    assert admit(empty, ACCEPT, token, RANGE) == ("ci", (ACCEPT, PUT, RANGE))
    assert admit(token, empty, (b"Authorization", b"")) == ("ci", (PUT,))
    assert admit(empty, token, by=keyless) == ("ci", (empty,))
    assert admit(empty, token, (b"Authorization", b"Bearer own")) == (
        "ci",
        (empty, (b"Authorization", b"Bearer own")),
    )


def test_the_key_goes_where_the_configuration_says_and_as_a_bearer_where_that_is_authorization() -> None:
    assert admit(by=access(names=("authorization", "X-Key"))) == (
        None,
        ((b"authorization", b"Bearer avk_held"),),
    )
    assert admit(by=access(names=("X-Key", "Authorization"))) == (None, ((b"X-Key", b"avk_held"),))


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (ACCEPT, OWN),
        (proxy_token("token-of-ci-0002"),),
        (proxy_token(CI[:-1]),),
        (proxy_token(CI + "1"),),
        (proxy_token(CI.upper()),),
        (proxy_token(""),),
        (proxy_token(f"{CI},{CI}"),),
        (proxy_token(f"Bearer {CI}"),),
        ((b"X-Avala-Api-Key", b"token-of-ci-\xff"),),
        ((b"Authorization", b"Basic " + CI.encode()),),
        ((b"Authorization", b"Bearer"),),
        ((b"Cookie", CI.encode()),),
    ],
)
def test_whoever_shows_no_known_token_is_refused_with_or_without_a_key(fields: tuple[Field, ...]) -> None:
    for by in (both, keyless):
        assert refusal(*fields, by=by) == (
            "This request shows no token that the proxy knows: send yours in Avala-Proxy-Token, "
            "or in X-Avala-Api-Key in place of an Avala key."
        )


@pytest.mark.parametrize(
    "fields",
    [
        (proxy_token(CI), proxy_token(LAB)),
        (proxy_token(CI), proxy_token("unknown")),
        (proxy_token(CI), (b"X-Avala-Api-Key", LAB.encode())),
        (proxy_token("unknown"), (b"X-Avala-Api-Key", CI.encode())),
        ((b"X-Avala-Api-Key", CI.encode()), (b"Authorization", b"Bearer " + LAB.encode())),
    ],
)
def test_tokens_that_are_not_one_clients_are_refused_in_any_order(fields: tuple[Field, ...]) -> None:
    for one in (fields, fields[::-1]):
        assert "tokens that are not one client's" in refusal(*one)


def test_one_token_may_be_shown_several_times_and_is_removed_each_time() -> None:
    fields = (proxy_token(CI), ACCEPT, proxy_token(CI), (b"X-Avala-Api-Key", CI.encode()), proxy_token(""))
    assert admit(*fields) == ("ci", (PUT, ACCEPT))
    assert admit(*fields, by=keyless) == ("ci", (ACCEPT,))


def test_of_two_clients_with_one_token_the_first_is_named() -> None:
    assert admit(proxy_token(CI), by=access(HELD, ("a", CI), ("b", CI)))[0] == "a"


def test_a_refusal_repeats_nothing_that_was_sent_or_is_held() -> None:
    said = refusal(proxy_token("hunter2-hunter2-"), OWN) + refusal(proxy_token(CI), proxy_token(LAB))
    for secret in ("hunter2", "avk_own", CI, LAB, HELD):
        assert secret not in said


def test_the_refusal_is_a_401_of_the_proxy() -> None:
    with pytest.raises(UnauthorizedClient) as refused:
        both.admit(Headers())
    assert (refused.value.status, refused.value.code) == (401, "proxy_unauthorized_client")


def test_without_clients_and_key_the_same_headers_come_back() -> None:
    headers = Headers((ACCEPT, OWN, (b"Authorization", b"")))
    assert access(None).admit(headers) == Admitted(headers, None)
    assert access(None).admit(headers).headers is headers


def test_without_clients_a_token_field_is_removed_unread() -> None:
    assert admit(proxy_token("anything"), ACCEPT, by=access(None)) == (None, (ACCEPT,))
    assert admit(proxy_token("a"), proxy_token("b"), ACCEPT, by=access(None)) == (None, (ACCEPT,))


def test_without_clients_the_key_goes_to_whoever_brings_none_at_the_end() -> None:
    assert admit(ACCEPT, by=access()) == (None, (ACCEPT, PUT))
    assert admit(ACCEPT, OWN, RANGE, by=access()) == (None, (ACCEPT, OWN, RANGE))
    own = Headers((ACCEPT, OWN))
    assert access().admit(own).headers is own


def test_the_key_and_the_tokens_of_this_moment_count() -> None:
    now = {"key": "avk_1", "token": CI}
    changing = Access(NAMES, key=lambda: now["key"], clients=[("ci", lambda: now["token"])])
    assert admit(proxy_token(CI), by=changing)[1] == ((b"X-Avala-Api-Key", b"avk_1"),)
    now |= {"key": "avk_2", "token": LAB}
    assert admit(proxy_token(LAB), by=changing)[1] == ((b"X-Avala-Api-Key", b"avk_2"),)
    assert "no token that the proxy knows" in refusal(proxy_token(CI), by=changing)


def test_every_client_is_compared_whoever_matches() -> None:
    asked: list[str] = []

    def token(name: str) -> str:
        asked.append(name)
        return f"token-of-{name}-0001"

    several = Access(
        NAMES, key=lambda: None, clients=[(name, partial(token, name)) for name in ("a", "b", "c")]
    )
    for name in ("a", "b", "c"):
        admit(proxy_token(f"token-of-{name}-0001"), by=several)
        assert asked == ["a", "b", "c"]
        asked.clear()


def test_the_key_counts_as_lent_when_it_goes_up_whoever_asked_and_only_then() -> None:
    assert access().admit(Headers((ACCEPT,))).lent
    assert both.admit(Headers((proxy_token(CI),))).lent
    assert not access().admit(Headers((OWN,))).lent
    assert not both.admit(Headers((proxy_token(CI), OWN))).lent
    assert not access(None).admit(Headers((ACCEPT,))).lent
    assert not keyless.admit(Headers((proxy_token(CI),))).lent


def test_reprs_show_neither_key_nor_token_nor_credential() -> None:
    admitted = both.admit(Headers((proxy_token(CI), OWN)))
    assert repr(admitted) == "Admitted(client='ci', lent=False)"
    assert repr(both) == "<Access of ci, lab>"
    assert repr(access()) == "<Access of everybody>"


_fields = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Avala-Proxy-Token", b"X-Avala-Api-Key", b"AUTHORIZATION", b"Accept", b"avala-proxy-token"]
        ),
        st.sampled_from(
            [b"", b" ", CI.encode(), LAB.encode(), b"Bearer " + CI.encode(), b"avk_own", b"Bearer own"]
        ),
    ),
    max_size=6,
)


@given(_fields, st.sampled_from([both, keyless, access(), access(None)]))
def test_whatever_is_sent_no_token_goes_up_and_each_own_credential_does(
    fields: list[Field], by: Access
) -> None:
    try:
        client, up = admit(*fields, by=by)
    except UnauthorizedClient:
        return
    credentials = [(name, value) for name, value in up if name != b"Accept"]
    assert not any(name.lower() == b"avala-proxy-token" for name, _ in credentials)
    if by in (both, keyless):
        assert client in ("ci", "lab")
        assert not any(CI.encode() in value or LAB.encode() in value for _, value in credentials)
    places = (b"X-Avala-Api-Key", b"AUTHORIZATION")
    own = [(name, value) for name, value in fields if name in places and value.endswith(b"own")]
    assert [one for one in credentials if one[1].endswith(b"own")] == own
    assert (PUT in credentials) <= (credentials == [PUT])
    assert [one for one in up if one[0] == b"Accept"] == [one for one in fields if one[0] == b"Accept"]
