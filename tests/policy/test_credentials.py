"""Credentials: told apart by a keyed hash, and never kept."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.messages import Headers
from proxy.policy.credentials import Credentials

NAMES = ("X-Avala-Api-Key", "Authorization")
ours = Credentials(NAMES, b"secret")
_values = st.binary(min_size=1, max_size=40).filter(lambda value: value.strip(b" \t"))


def identify(*fields: tuple[bytes, bytes], by: Credentials = ours) -> str | None:
    return by.identify(Headers(fields))


def test_a_credential_becomes_twelve_hex_digits_that_stay_the_same() -> None:
    assert identify((b"X-Avala-Api-Key", b"avk_1")) == "04f107c834ac"


def test_case_of_the_name_and_space_around_the_value_do_not_matter() -> None:
    assert identify((b"x-avala-API-key", b" avk_1\t")) == identify((b"X-Avala-Api-Key", b"avk_1"))


def test_the_first_configured_header_counts_in_whatever_order_they_come() -> None:
    key, token = (b"X-Avala-Api-Key", b"avk_1"), (b"Authorization", b"Bearer t")
    assert identify(token, key) == identify(key)
    assert identify(token) not in (None, identify(key))


def test_an_empty_value_does_not_count() -> None:
    token = (b"Authorization", b"Bearer t")
    assert identify((b"X-Avala-Api-Key", b" "), token) == identify(token)
    assert identify((b"Authorization", b""), token) == identify(token)


def test_without_a_credential_there_is_no_name() -> None:
    assert identify() is None
    assert identify((b"Cookie", b"a=b"), (b"X-Avala-Api-Key", b"")) is None


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="secret"):
        Credentials(NAMES, b"")


def test_its_repr_shows_neither_the_secret_nor_a_value() -> None:
    identify((b"X-Avala-Api-Key", b"avk_1"))
    assert repr(ours) == "<Credentials in x-avala-api-key, authorization>"
    assert repr(Credentials((), b"secret")) == "<Credentials in no header>"
    assert b"avk_1" not in repr(vars(ours)).encode()


@given(_values, _values)
def test_two_values_have_two_names(one: bytes, other: bytes) -> None:
    assume(one.strip(b" \t") != other.strip(b" \t"))
    assert identify((b"Authorization", one)) != identify((b"Authorization", other))


@given(_values)
def test_another_header_or_another_secret_gives_another_name(value: bytes) -> None:
    by_key, by_token = identify((b"X-Avala-Api-Key", value)), identify((b"Authorization", value))
    elsewhere = identify((b"Authorization", value), by=Credentials(NAMES, b"another"))
    assert len({by_key, by_token, elsewhere}) == 3
