"""What clients call themselves and their requests is repeated, unless it is a secret."""

import pytest

from proxy.messages import Headers
from proxy.policy.said import Said
from tests.fakes import headers

said = Said(
    ["X-Avala-Api-Key", "Authorization"], is_secret=lambda word: "avk_" in word, new_id=lambda: "made-here"
)


def request_id(**fields: str) -> str:
    return said.request_id(headers(**fields))


def caller(client: str | None = None, **fields: str) -> str:
    made = headers(**fields)
    return said.caller(made, shown=made, client=client, peer="192.0.2.1")


@pytest.mark.parametrize("word", ["req-1", "4f1c2b7a9be84bde8f0c1d2e3a4b5c6d", "~" * 128])
def test_an_id_that_makes_sense_is_kept(word: str) -> None:
    assert request_id(X_Request_Id=word) == word


@pytest.mark.parametrize("word", ["", "a b", "a\x7f", "é", "x" * 129, "avk_of-a-client"])
def test_any_other_is_replaced_by_a_new_one(word: str) -> None:
    assert request_id(X_Request_Id=word) == "made-here"
    assert said.request_id(Headers()) == "made-here"


def test_a_secret_is_no_name() -> None:
    assert caller(Avala_Proxy_Client="nightly") == "nightly"
    assert caller(Avala_Proxy_Client="avk_of-a-client") == "192.0.2.1"
    assert caller("ci", Avala_Proxy_Client="my avk_of-a-client") == "ci"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("X_Avala_Api_Key", "opaque-key-of-a-client"),
        ("Authorization", "Bearer opaque-key-of-a-client"),
        ("Avala_Proxy_Token", "opaque-key-of-a-client"),
    ],
)
@pytest.mark.parametrize("word", ["opaque-key-of-a-client", "opaque-key"])
def test_the_credential_that_comes_with_it_or_a_part_is_neither_id_nor_name(
    field: str, value: str, word: str
) -> None:
    assert request_id(**{"X_Request_Id": word, field: value}) == "made-here"
    assert caller(**{"Avala_Proxy_Client": word, field: value}) == "192.0.2.1"


def test_a_short_word_is_in_a_credential_by_chance() -> None:
    assert request_id(X_Request_Id="client", X_Avala_Api_Key="opaque-key-of-a-client") == "client"


def test_a_token_that_was_taken_off_before_the_caller_is_named_counts() -> None:
    shown = headers(Avala_Proxy_Token="token-of-the-lab")
    fields = headers(Avala_Proxy_Client="token-of-the-lab")
    assert said.caller(fields, shown=shown, client="lab", peer="192.0.2.1") == "lab"
