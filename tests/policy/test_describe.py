"""An answer says who made it and where the time went."""

import pytest

from proxy.account import Account
from proxy.policy import describe

FIELDS = ((b"via", b"1.1 cdn"), (b"A", b"1"))


def test_who_made_an_answer_is_said_in_the_words_of_rfc_9209() -> None:
    assert describe.made_here("dns_error") == b"avala-proxy; error=dns_error"
    assert describe.forwarded(404) == b"avala-proxy; received-status=404"


def test_time_is_told_in_milliseconds_and_the_first_attempt_is_no_retry() -> None:
    said = describe.timing(Account(waited=1.23456, upstream=0.05, attempts=3))
    assert said == b'queue;dur=1234.6, upstream;dur=50.0, retries;desc="2"'
    said = describe.timing(Account())
    assert said.endswith(b'retries;desc="0"')


@pytest.mark.parametrize(
    ("coalesced", "would_wait", "end"),
    [
        (True, None, b", coalesced"),
        (False, 1.23456, b", would-wait;dur=1234.6"),
        (False, 0.0, b", would-wait;dur=0.0"),
        (True, 2.0, b", coalesced, would-wait;dur=2000.0"),
    ],
)
def test_it_tells_whether_the_call_was_anothers_and_what_would_have_been_waited(
    coalesced: bool, would_wait: float | None, end: bytes
) -> None:
    said = describe.timing(
        Account(waited=0, upstream=0, attempts=1, coalesced=coalesced, would_wait=would_wait)
    )
    assert said == b'queue;dur=0, upstream;dur=0, retries;desc="0"' + end


def test_what_the_proxy_says_comes_after_what_was_said_before() -> None:
    said = describe.additions(FIELDS, describe=(b"p", b"t"), request_id="id", via=b"1.0")
    assert said == (
        *FIELDS,
        (b"Via", b"1.0 avala-proxy"),
        (b"Proxy-Status", b"p"),
        (b"Server-Timing", b"t"),
        (b"X-Request-Id", b"id"),
    )


def test_an_answers_own_request_id_stays() -> None:
    own = ((b"x-request-ID", b"theirs"),)
    said = describe.additions(own, describe=(b"p", b"t"), request_id="id", via=None)
    assert said == (*own, (b"Proxy-Status", b"p"), (b"Server-Timing", b"t"))


def test_it_may_be_told_to_say_nothing() -> None:
    assert describe.additions(FIELDS, describe=None, request_id="id", via=None) == FIELDS
