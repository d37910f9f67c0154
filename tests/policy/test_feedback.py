"""What the upstream says about time and limits: read if it can be meant, and never a reason to fail."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers
from proxy.policy.feedback import LONGEST, Feedback, date_to_seconds, demanded_wait, parse

WALL = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
NAMES = [b"Retry-After", b"X-RateLimit-Limit", b"X-RateLimit-Remaining", b"x-ratelimit-RESET"]


def read(*fields: tuple[str, str], wall: float = WALL) -> Feedback:
    return parse(Headers(tuple((name.encode(), value.encode()) for name, value in fields)), wall=wall)


def retry_after(*values: str, wall: float = WALL) -> float | None:
    return read(*(("Retry-After", value) for value in values), wall=wall).retry_after


def test_a_response_that_says_nothing_says_nothing() -> None:
    assert read(("Content-Type", "text/plain")) == Feedback()


def test_a_refusal_is_read_in_full() -> None:
    said = read(
        ("Retry-After", "12"),
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset", "784111789"),
    )
    assert said == Feedback(retry_after=12.0, limit=100, remaining=0, reset_in=12.0)


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("12", 12.0), ("1.5", 1.5), (" 7\t", 7.0), ("007", 7.0), ("3.", 3.0)]
)
def test_a_retry_after_in_seconds_is_read(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Mon, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_a_retry_after_date_is_read_in_all_three_forms(value: str) -> None:
    assert retry_after(value, wall=WALL - 90.5) == 90.5


def test_a_date_that_has_passed_is_a_wait_of_nothing() -> None:
    assert retry_after("Sun, 06 Nov 1994 08:49:37 GMT", wall=WALL + 1) == 0.0


def test_a_leap_second_is_a_second() -> None:
    assert retry_after("Sun, 06 Nov 1994 08:49:60 GMT") == 23.0


@pytest.mark.parametrize(("now", "year"), [(1_700_000_000, 2023), (4_000_000_000, 2096), (0, 1970)])
@pytest.mark.parametrize("ahead", range(-49, 51))
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(now: int, year: int, ahead: int) -> None:
    short = f"Friday, 02-Jan-{(year + ahead) % 100:02} 00:00:00 GMT"
    full = f"Fri, 02 Jan {year + ahead} 00:00:00 GMT"
    assert date_to_seconds(Headers(((b"Retry-After", short.encode()),)), wall=now) == date_to_seconds(
        Headers(((b"Retry-After", full.encode()),)), wall=now
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "+1",
        "nan",
        "inf",
        "1e3",
        "0x10",
        "1_0",
        ".5",
        "5, 10",
        "٣",
        "9" * 5000,
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06-Nov 1994 08:49:37 GMT",
        "Sun Nov 06 08:49:37 1994 GMT",
        "Sun Nov  0 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
    ],
    ids=lambda value: repr(value[:30]),
)
def test_a_retry_after_that_cannot_be_meant_is_absent(value: str) -> None:
    assert retry_after(value) is None


@pytest.mark.parametrize("value", ["31622401", "1700000000", "Wed, 06 Nov 2994 08:49:37 GMT"])
def test_a_wait_of_more_than_a_year_is_a_mistake_and_absent(value: str) -> None:
    assert retry_after(value) is None


def test_of_two_waits_the_longest_counts_that_can_be_meant() -> None:
    assert retry_after("5", "9", "7") == 9.0
    assert retry_after("5", "1700000000", "later") == 5.0
    assert retry_after("5", "Sun, 06 Nov 1994 08:49:47 GMT") == 10.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("784111789", 12.0), ("784111777.25", 0.25), ("784111700", 0.0), ("1000000", 0.0)],
)
def test_a_reset_is_a_point_in_unix_time(value: str, seconds: float) -> None:
    assert read(("X-RateLimit-Reset", value)).reset_in == seconds


@pytest.mark.parametrize("value", ["0", "60", "999999", "-5", "nan", "1700000000000", "", "later"])
def test_a_reset_that_is_no_point_in_unix_time_is_absent(value: str) -> None:
    assert read(("X-RateLimit-Reset", value)).reset_in is None


def test_of_two_resets_the_later_counts() -> None:
    assert read(("X-RateLimit-Reset", "784111787"), ("X-RateLimit-Reset", "784111797")).reset_in == 20.0


@pytest.mark.parametrize("value", ["-1", "1.5", "", "many", "1e3", "nan", "9" * 19, "100, 20"])
def test_a_count_that_is_none_is_absent(value: str) -> None:
    said = read(("X-RateLimit-Limit", value), ("X-RateLimit-Remaining", value))
    assert (said.limit, said.remaining) == (None, None)


def test_of_two_remainders_the_smaller_counts_and_two_limits_are_none() -> None:
    said = read(
        ("X-RateLimit-Remaining", "7"),
        ("X-RateLimit-Remaining", "3"),
        ("X-RateLimit-Remaining", "?"),
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Limit", "20"),
    )
    assert (said.limit, said.remaining) == (None, 3)


def test_a_limit_said_twice_alike_is_one() -> None:
    assert read(("X-RateLimit-Limit", "20"), ("x-ratelimit-limit", " 20")).limit == 20


_lines = st.lists(
    st.tuples(st.sampled_from(NAMES), st.binary(max_size=40) | st.from_regex(rb"[0-9 .,:GMTa-z-]{0,30}"))
)


@given(_lines, st.floats(0, 4e9))
def test_no_header_makes_reading_fail_or_gives_nonsense(
    fields: list[tuple[bytes, bytes]], wall: float
) -> None:
    said = parse(Headers(tuple(fields)), wall=wall)
    assert all(wait is None or 0 <= wait <= LONGEST for wait in (said.retry_after, said.reset_in))
    assert all(count is None or count >= 0 for count in (said.limit, said.remaining))


@given(st.integers(0, 31622400), st.floats(0, 4e9))
def test_whole_seconds_are_read_as_they_are(seconds: int, wall: float) -> None:
    assert retry_after(str(seconds), wall=wall) == seconds


@pytest.mark.parametrize(
    ("said", "status", "wait"),
    [
        (Feedback(retry_after=5.0, reset_in=9.0), 429, 5.0),
        (Feedback(retry_after=5.0, reset_in=9.0), 503, 5.0),
        (Feedback(retry_after=0.0, reset_in=9.0), 429, 0.0),
        (Feedback(reset_in=9.0), 429, 9.0),
        (Feedback(reset_in=9.0), 503, None),
        (Feedback(reset_in=9.0), 200, None),
        (Feedback(), 429, None),
    ],
)
def test_a_demand_is_retry_after_else_the_reset_of_a_429(
    said: Feedback, status: int, wait: float | None
) -> None:
    assert demanded_wait(said, status) == wait


@pytest.mark.parametrize(
    ("wall", "seconds"), [(WALL - 12, b"12"), (WALL - 11.5, b"12"), (WALL, b"0"), (WALL + 99, b"0")]
)
def test_a_date_becomes_whole_seconds_rounded_up(wall: float, seconds: bytes) -> None:
    before = Headers(((b"A", b"1"), (b"rEtRy-aFtEr", b" Sun, 06 Nov 1994 08:49:37 GMT"), (b"a", b" 2 ")))
    after = Headers(((b"A", b"1"), (b"rEtRy-aFtEr", seconds), (b"a", b" 2 ")))
    assert date_to_seconds(before, wall=wall) == after


def test_even_a_date_too_far_to_be_meant_becomes_seconds_because_clients_crash_on_it() -> None:
    headers = date_to_seconds(Headers(((b"Retry-After", b"Wed, 06 Nov 2994 08:49:37 GMT"),)), wall=WALL)
    assert headers.get(b"retry-after") == "31556995200"


@pytest.mark.parametrize("value", [b"12", b"1.5", b"soon", b"", b"Sun, 06 Nov 1994 08:49:37 CET", b"\xff"])
def test_everything_else_stays_the_very_same_object(value: bytes) -> None:
    headers = Headers(((b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"Retry-After", value)))
    assert date_to_seconds(headers, wall=WALL) is headers


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40))), st.integers(0, 4_000_000_000))
def test_afterwards_no_client_finds_a_date(fields: list[tuple[bytes, bytes]], wall: int) -> None:
    date = b"Sun, 06 Nov 1994 08:49:37 GMT"
    headers = date_to_seconds(Headers((*fields, (b"Retry-After", date))), wall=float(wall))
    assert len(headers.raw) == len(fields) + 1
    assert headers.raw[-1][1] == str(max(0, math.ceil(WALL - wall))).encode()
