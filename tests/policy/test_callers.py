"""Who calls, and how urgent a request is: what the fields say, if it makes sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers
from proxy.policy.callers import LEAST_URGENT, MOST_URGENT, USUAL, caller, urgency
from tests.fakes import headers


def named(said: str | None, client: str | None = None) -> str:
    fields = Headers() if said is None else headers(Avala_Proxy_Client=said)
    return caller(fields, client=client, peer="192.0.2.1")


def asked(*lines: str) -> int:
    return urgency(Headers(tuple((b"Priority", line.encode("latin-1")) for line in lines)))


@pytest.mark.parametrize("name", ["a", "nightly export", "x" * 64, "!~", "team/eu:7"])
def test_a_caller_is_named_by_what_it_says_of_itself(name: str) -> None:
    assert named(name, client="token") == name
    assert named(f" \t{name}\t ") == name


@pytest.mark.parametrize("name", ["", " \t ", "x" * 65, "a\tb", "café", "a\x7f", "a\nb"])
def test_a_name_that_makes_no_sense_counts_as_absent(name: str) -> None:
    assert named(name, client="token") == named(None, client="token") == "token"
    assert named(name) == "192.0.2.1"


def test_who_says_nothing_is_its_token_and_without_one_its_address() -> None:
    assert named(None, client="token") == "token"
    assert named(None, client="") == named(None) == "192.0.2.1"


def test_the_first_name_of_two_counts() -> None:
    both = Headers(((b"avala-proxy-client", b"first"), (b"Avala-Proxy-Client", b"second")))
    assert caller(both, client=None, peer="") == "first"


@given(st.text())
def test_no_name_can_break_a_line_of_the_log(said: str) -> None:
    name = caller(
        Headers(((b"Avala-Proxy-Client", said.encode("utf-8", "replace")),)), client=None, peer="peer"
    )
    assert name.isascii()
    assert name.isprintable()
    assert 1 <= len(name) <= 64
    assert name == name.strip()


@pytest.mark.parametrize("level", range(8))
def test_urgency_is_asked_for_in_the_words_of_rfc_9218(level: int) -> None:
    assert asked(f"u={level}") == asked(f" i, u={level};x=1, other=(1 2)") == level


def test_without_a_word_a_request_is_as_urgent_as_usual() -> None:
    assert asked() == USUAL
    assert MOST_URGENT < USUAL < LEAST_URGENT


@pytest.mark.parametrize(
    "said",
    ["", "i", "u", "u=8", "u=-1", "u=1.0", 'u="1"', "u=(1)", "u=?1", "u=1 2", "U=1", "u=é", "u=" + "1" * 99],
)
def test_an_urgency_that_makes_no_sense_is_the_usual_one(said: str) -> None:
    assert asked(said) == USUAL


def test_the_last_urgency_of_several_counts_over_all_lines() -> None:
    assert asked("u=1, u=5") == asked("u=1", "u=5") == 5
    assert asked("u=1", "u=9") == USUAL


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"u=1", b"u=", b"=", b"u=7;q", b"i"]), max_size=4))
def test_whatever_is_said_an_urgency_comes_of_it(lines: list[bytes]) -> None:
    said = urgency(Headers(tuple((b"priority", line) for line in lines)))
    assert said in range(MOST_URGENT, LEAST_URGENT + 1)
