"""What the upstream says about time and limits: read if it can be meant, and never a reason to fail."""

import math
from dataclasses import dataclass
from email.utils import formatdate
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers
from proxy.policy.feedback import LONGEST, Feedback, Quota, date_to_seconds, demanded_wait, made_at, parse

WALL = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
NAMES = [
    b"Retry-After",
    b"X-RateLimit-Limit",
    b"X-RateLimit-Remaining",
    b"x-ratelimit-RESET",
    b"RateLimit",
    b"ratelimit-POLICY",
]


def read(*fields: tuple[str, str], wall: float = WALL, content: bytes = b"") -> Feedback:
    headers = Headers(tuple((name.encode(), value.encode()) for name, value in fields))
    return parse(headers, wall=wall, content=content)


def told(*fields: tuple[str, str]) -> Quota:
    """Return what is said of a limit that is the only one; nothing at all is the empty quota."""
    (quota,) = read(*fields).quotas or (Quota(),)
    return quota


def rooms(*values: str) -> tuple[Quota, ...]:
    return read(*(("RateLimit", value) for value in values)).quotas


def policies(*values: str) -> tuple[Quota, ...]:
    return read(*(("RateLimit-Policy", value) for value in values)).quotas


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
    assert said == Feedback(12.0, (Quota(limit=100, remaining=0, reset_in=12.0),))


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


_waits = st.integers(0, int(LONGEST) - 1)


@given(
    st.lists(
        _waits.map(lambda wait: (str(wait), float(wait)))
        | _waits.map(lambda wait: (_imf(WALL + wait), float(wait)))
        | _waits.map(lambda wait: (_imf(WALL - wait), 0.0))
        | st.sampled_from([("later", None), ("-1", None), ("31622401", None), ("", None)])
    )
)
def test_however_many_waits_are_said_the_longest_counts(said: list[tuple[str, float | None]]) -> None:
    meant = [wait for _, wait in said if wait is not None]
    assert retry_after(*(value for value, _ in said)) == max(meant, default=None)


def _imf(moment: float) -> str:
    return formatdate(moment, usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("784111789", 12.0), ("784111777.25", 0.25), ("784111700", 0.0), ("1000000", 0.0)],
)
def test_a_reset_is_a_point_in_unix_time(value: str, seconds: float) -> None:
    assert told(("X-RateLimit-Reset", value)) == Quota(reset_in=seconds)


@pytest.mark.parametrize("value", ["0", "60", "999999", "-5", "nan", "1700000000000", "", "later"])
def test_a_reset_that_is_no_point_in_unix_time_is_absent(value: str) -> None:
    assert read(("X-RateLimit-Reset", value)) == Feedback()


def test_of_two_resets_the_later_counts() -> None:
    both = ("X-RateLimit-Reset", "784111787"), ("X-RateLimit-Reset", "784111797")
    assert told(*both) == Quota(reset_in=20.0)


@pytest.mark.parametrize("value", ["-1", "1.5", "", "many", "1e3", "nan", "9" * 19, "100, 20"])
def test_a_count_that_is_none_is_absent(value: str) -> None:
    assert read(("X-RateLimit-Limit", value), ("X-RateLimit-Remaining", value)) == Feedback()


def test_of_two_remainders_the_smaller_counts_and_two_limits_are_none() -> None:
    said = told(
        ("X-RateLimit-Remaining", "7"),
        ("X-RateLimit-Remaining", "3"),
        ("X-RateLimit-Remaining", "?"),
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Limit", "20"),
    )
    assert said == Quota(remaining=3)


def test_a_limit_said_twice_alike_is_one() -> None:
    assert told(("X-RateLimit-Limit", "20"), ("x-ratelimit-limit", " 20")) == Quota(limit=20)


def test_a_room_and_its_policy_are_one_quota() -> None:
    both = ("RateLimit", '"default";r=50;t=30'), ("RateLimit-Policy", '"default";q=100;w=60')
    assert told(*both) == told(*reversed(both)) == Quota(limit=100, remaining=50, reset_in=30.0, window=60.0)


def test_what_is_in_one_field_only_is_a_quota_too() -> None:
    said = read(
        ("RateLimit-Policy", '"hour";q=1000;w=3600, "minute";q=100;w=60'),
        ("RateLimit", '"minute";r=0;t=7, "day";r=12'),
    )
    assert said.quotas == (
        Quota(limit=100, remaining=0, reset_in=7.0, window=60.0),
        Quota(remaining=12),
        Quota(limit=1000, window=3600.0),
    )


def test_the_limit_that_has_no_name_comes_first() -> None:
    said = read(("RateLimit", '"a";r=1'), ("X-RateLimit-Remaining", "2"))
    assert said.quotas == (Quota(remaining=2), Quota(remaining=1))


def test_a_name_may_be_a_string_or_a_token() -> None:
    both = ("RateLimit", "*per-minute;r=5"), ("RateLimit-Policy", '"*per-minute";q=9')
    assert told(*both) == Quota(limit=9, remaining=5)
    assert rooms(r'"a\"\\";r=1, "a";r=2') == (Quota(remaining=1), Quota(remaining=2))


def test_the_lines_of_a_field_are_one_list() -> None:
    assert rooms('\t"a";r=1', ' \t"b";r=2, "c";r=3\t') == tuple(Quota(remaining=left) for left in (1, 2, 3))
    assert rooms('"a";r=1', "(") == ()


def test_parameters_that_say_nothing_of_time_or_number_are_comments() -> None:
    assert rooms('"a";r=5;pk=:cHsdsRa894==:;acme-burst=?1;x;q=7;w=60') == (Quota(remaining=5),)
    assert policies('"a";q=5;pk=:cHsdsRa894==:;comment="slow";r=7;t=60') == (Quota(limit=5),)


@pytest.mark.parametrize("unit", ['"requests"', "requests"])
def test_a_limit_of_requests_may_say_that_it_is_one(unit: str) -> None:
    assert policies(f'"a";q=5;qu={unit}') == (Quota(limit=5),)


@pytest.mark.parametrize(
    "unit", ['"content-bytes"', '"concurrent-requests"', '"Requests"', "1", "?1", ":YQ==:"]
)
def test_what_is_not_counted_in_requests_is_left_out_with_its_room(unit: str) -> None:
    said = read(
        ("RateLimit", '"a";r=65000;t=5, "b";r=7'),
        ("RateLimit-Policy", f'"a";q=10;w=5, "a";q=65535;qu={unit};w=10'),
    )
    assert said.quotas == (Quota(remaining=7),)


def test_of_a_name_that_comes_twice_the_more_cautious_counts() -> None:
    said = told(
        ("RateLimit", '"a";r=3;t=10, "b";qu=1, a;r=7;t=20, "a";r=-1;t=x'),
        ("RateLimit-Policy", '"a";q=100;w=60, "a";q=100;w=3600, "a";q=?1'),
    )
    assert said == Quota(limit=100, remaining=3, reset_in=20.0)


def test_two_sizes_of_one_name_are_none_and_two_alike_are_one() -> None:
    assert policies('"a";q=100;w=60, "a";q=20;w=60') == (Quota(window=60.0),)


def test_the_last_of_a_parameter_counts_that_comes_twice() -> None:
    assert rooms('"a";r=9;r=2') == (Quota(remaining=2),)


@pytest.mark.parametrize("value", ["-1", "1.0", '"1"', "one", "?1", "?0", ":MQ==:", "@1", '%"1"'])
def test_a_parameter_that_is_no_count_is_absent(value: str) -> None:
    both = f'"a";r={value};t={value}, "b";r=4', f'"a";q={value};w={value}, "b";q=8'
    said = read(("RateLimit", both[0]), ("RateLimit-Policy", both[1]))
    assert said.quotas == (Quota(limit=8, remaining=4),)


def test_a_parameter_without_a_value_is_no_count() -> None:
    assert rooms('"a";r;t') == policies('"a";q;w') == ()


def test_zero_is_a_count_and_a_reset_but_no_window() -> None:
    assert rooms('"a";r=0;t=0') == (Quota(remaining=0, reset_in=0.0),)
    assert policies('"a";q=0;w=0') == (Quota(limit=0),)


def test_a_reset_or_a_window_of_more_than_a_year_is_a_mistake_and_absent() -> None:
    assert rooms('"a";r=1;t=31622400') == (Quota(remaining=1, reset_in=LONGEST),)
    assert rooms('"a";r=1;t=31622401') == (Quota(remaining=1),)
    assert policies('"a";q=1;w=31622400') == (Quota(limit=1, window=LONGEST),)
    assert policies('"a";q=1;w=31622401') == (Quota(limit=1),)


def test_the_largest_integer_there_is_can_be_read() -> None:
    assert rooms('"a";r=999999999999999') == (Quota(remaining=999999999999999),)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "50",
        "100;w=60",
        "limit=100, remaining=50, reset=30",
        '("a";r=1)',
        '("a");r=1',
        ":YQ==:;r=1",
        "?1;r=1",
        "1.5;r=1",
        "@1;r=1",
        '%"a";r=1',
        '"a";r=1,',
        ', "a";r=1',
        '"a";r=1 "b";r=2',
        '"a";R=1',
        '"a";r=1;',
        '"a";r=',
        '"a";r=1000000000000000',
        '"a";r=nan',
        '"a";r=inf;t=-inf',
        '"a";r=1e3',
        '"a;r=1',
        "'a';r=1",
        '"ä";r=1',
        '"a";r=1;x=ä',
        '"a\x00";r=1',
        '"a";r=1\n',
        '"a"',
    ],
    ids=repr,
)
def test_a_list_of_something_else_or_with_a_fault_is_absent(value: str) -> None:
    said = read(("RateLimit", value), ("RateLimit-Policy", value.replace("r=", "q=")))
    assert said == Feedback()


def test_a_fault_in_one_field_leaves_the_other() -> None:
    assert read(("RateLimit", '"a";r=1;'), ("RateLimit-Policy", '"a";q=5')).quotas == (Quota(limit=5),)
    assert read(("RateLimit", '"a";r=1'), ("RateLimit-Policy", "\xff")).quotas == (Quota(remaining=1),)


def test_an_inner_list_among_names_is_passed_over() -> None:
    assert rooms('("a" "b");r=1, "c";r=2, ?1;r=3') == (Quota(remaining=2),)


def test_sixteen_names_are_read_and_those_that_say_what_is_left_come_first() -> None:
    def names(letter: str, key: str) -> str:
        return ", ".join(f"{letter}{number};{key}={number}" for number in range(10))

    said = read(("RateLimit-Policy", names("p", "q")), ("RateLimit", names("r", "r")))
    assert said.quotas == (
        *(Quota(remaining=number) for number in range(10)),
        *(Quota(limit=number) for number in range(6)),
    )


def test_a_list_is_read_up_to_4096_bytes_over_all_its_lines() -> None:
    longest = '"a";r=1;x="' + "x" * 4084 + '"'
    assert len(longest) == 4096
    assert rooms(longest) == (Quota(remaining=1),)
    assert rooms(longest.replace("r=1", "r=10")) == ()
    assert rooms(longest[:-8] + '"', "b;r=2") == (Quota(remaining=1), Quota(remaining=2))
    assert rooms(longest[:-7] + '"', "b;r=2") == ()


@dataclass(frozen=True)
class Named:
    """A limit as the upstream knows it, and how it writes that down."""

    name: str
    said: Quota
    as_token: bool
    comments: tuple[str, str]

    def item(self, numbers: list[tuple[str, float | None]]) -> list[str]:
        """Write one field's item with what it says, if it says anything."""
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        name = self.name if self.as_token else f'"{escaped}"'
        parameters = "".join(f";{key}={int(value)}" for key, value in numbers if value is not None)
        return [f"{name}{self.comments[0]}{parameters}{self.comments[1]}"] if parameters else []

    @property
    def room(self) -> list[str]:
        return self.item([("r", self.said.remaining), ("t", self.said.reset_in)])

    @property
    def policy(self) -> list[str]:
        return self.item([("w", self.said.window), ("q", self.said.limit)])


_counts = st.none() | st.integers(0, 999_999_999_999_999)
_quotas = st.builds(
    Quota,
    limit=_counts,
    remaining=_counts,
    reset_in=st.none() | st.integers(0, int(LONGEST)).map(float),
    window=st.none() | st.integers(1, int(LONGEST)).map(float),
)
_comments = st.sampled_from(["", ";pk=:cHsdsRa894==:", '; qu="requests"', ";x", ";x=1.5;y=?0", ';x="a, b"'])
_named = st.lists(
    st.tuples(
        st.from_regex(r"[A-Za-z*][A-Za-z0-9:/!#*_.-]{0,9}", fullmatch=True).map(lambda name: (name, True))
        | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10).map(
            lambda name: (name, False)
        ),
        _quotas,
        st.tuples(_comments, _comments),
    ).map(lambda drawn: Named(drawn[0][0], drawn[1], drawn[0][1], drawn[2])),
    max_size=16,
    unique_by=lambda named: named.name,
)
_cuts = st.lists(st.integers(0, 16), max_size=3).map(lambda cuts: [0, *sorted(cuts), 16])


@given(_named, _cuts, st.sampled_from([",", ", ", " ,\t"]))
def test_what_is_well_said_is_read_exactly(limits: list[Named], cuts: list[int], comma: str) -> None:
    fields = [
        (name, comma.join(line))
        for name, items in (
            ("RateLimit-Policy", [item for limit in limits for item in limit.policy]),
            ("RateLimit", [item for limit in limits for item in limit.room]),
        )
        for line in (items[start:end] for start, end in pairwise(cuts))
        if line
    ]
    with_room = [limit.said for limit in limits if limit.room]
    without = [limit.said for limit in limits if limit.policy and not limit.room]
    assert read(*fields) == Feedback(quotas=(*with_room, *without))


THROTTLED = b'{"detail": "Request was throttled. Expected available in %b."}'


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [
        (b"12 seconds", 12.0),
        (b"1 second", 1.0),
        (b"0 seconds", 0.0),
        (b"1.5 seconds", 1.5),
        (b"31622400 seconds", LONGEST),
    ],
)
def test_the_sentence_of_a_refusal_is_a_wait(wait: bytes, seconds: float) -> None:
    assert read(content=THROTTLED % wait) == Feedback(retry_after=seconds)


@pytest.mark.parametrize(
    "wait",
    [
        b"",
        b"a few seconds",
        b"-1 seconds",
        b"+1 seconds",
        b"nan seconds",
        b"inf seconds",
        b"1e3 seconds",
        b".5 seconds",
        b"12 minutes",
        b"12  seconds",
        b"12 secondsx",
        b"\xd9\xa3 seconds",
        b"31622401 seconds",
        b"9" * 21 + b" seconds",
        b"9" * 5000 + b" seconds",
    ],
    ids=lambda wait: repr(wait[:30]),
)
def test_a_sentence_that_names_no_wait_that_can_be_meant_is_none(wait: bytes) -> None:
    assert read(content=THROTTLED % wait) == Feedback()


def test_of_two_sentences_the_longest_wait_counts_that_can_be_meant() -> None:
    said = b"".join(THROTTLED % wait for wait in (b"5 seconds", b"9 seconds", b"99999999 seconds"))
    assert read(content=said).retry_after == 9.0


def test_a_sentence_stands_in_for_a_field_that_cannot_be_meant_and_gives_way_to_one_that_can() -> None:
    content = THROTTLED % b"12 seconds"
    assert read(("Retry-After", "soon"), content=content).retry_after == 12.0
    assert read(("Retry-After", "1700000000"), content=content).retry_after == 12.0
    assert read(("Retry-After", "0"), content=content).retry_after == 0.0
    assert read(("Retry-After", "99"), content=content).retry_after == 99.0


def test_a_sentence_counts_beside_quotas() -> None:
    said = read(("RateLimit", '"a";r=0;t=9'), content=THROTTLED % b"12 seconds")
    assert said == Feedback(12.0, (Quota(remaining=0, reset_in=9.0),))


def test_a_sentence_is_looked_for_in_the_first_4096_bytes() -> None:
    sentence = b"Expected available in 12 seconds."
    assert read(content=sentence.rjust(4096)).retry_after == 12.0
    assert read(content=sentence.rjust(4097)).retry_after is None


def test_nothing_else_of_a_body_is_read() -> None:
    assert read(content=b'{"detail": "Try again in 12 seconds.", "retry_after": 12}') == Feedback()


# The parts of which such values are made, well put together or not.
_parts = st.sampled_from(
    b'a|"b"|;r=|;t=|;q=|;w=|;qu=|;pk=|0|7|31622401|-1|1.5|?1|:YQ==:|@1|@999999999999999|(|)|, |,|;| |=|"|\\'
    b'|%"|%"%c3"|nan|\xff|\x00|999999999999999|"requests"|"content-bytes"'.split(b"|")
)
_values = (
    st.binary(max_size=40)
    | st.from_regex(rb"[0-9 .,:GMTa-z-]{0,30}")
    | st.lists(_parts, max_size=20).map(b"".join)
)
_lines = st.lists(st.tuples(st.sampled_from(NAMES), _values))
_contents = st.binary(max_size=80) | st.tuples(
    st.binary(max_size=9), st.from_regex(rb"Expected available in [0-9.e-]{0,25} seconds?\.?"), st.binary()
).map(b"".join)


@given(_lines, st.floats(0, 4e9), _contents)
def test_nothing_makes_reading_fail_or_gives_nonsense(
    fields: list[tuple[bytes, bytes]], wall: float, content: bytes
) -> None:
    said = parse(Headers(tuple(fields)), wall=wall, content=content)
    waits = [said.retry_after, *(time for quota in said.quotas for time in (quota.reset_in, quota.window))]
    counts = [count for quota in said.quotas for count in (quota.limit, quota.remaining)]
    assert all(wait is None or (type(wait) is float and 0 <= wait <= LONGEST) for wait in waits)
    assert all(count is None or (type(count) is int and 0 <= count < 10**18) for count in counts)
    assert len(said.quotas) <= 17
    assert Quota() not in said.quotas


@given(st.integers(0, 31622400), st.floats(0, 4e9))
def test_whole_seconds_are_read_as_they_are(seconds: int, wall: float) -> None:
    assert retry_after(str(seconds), wall=wall) == seconds


@pytest.mark.parametrize(
    ("said", "status", "wait"),
    [
        (Feedback(5.0, (Quota(reset_in=9.0),)), 429, 5.0),
        (Feedback(5.0, (Quota(reset_in=9.0),)), 503, 5.0),
        (Feedback(0.0, (Quota(reset_in=9.0),)), 429, 0.0),
        (Feedback(quotas=(Quota(reset_in=9.0),)), 429, 9.0),
        (Feedback(quotas=(Quota(reset_in=9.0),)), 503, None),
        (Feedback(quotas=(Quota(reset_in=9.0, remaining=0),)), 200, None),
        (Feedback(), 429, None),
    ],
)
def test_a_demand_is_retry_after_else_the_reset_of_a_429(
    said: Feedback, status: int, wait: float | None
) -> None:
    assert demanded_wait(said, status) == wait


SPENT, LONG_SPENT, DUMB = (
    Quota(remaining=0, reset_in=5.0),
    Quota(remaining=0, reset_in=7.0),
    Quota(remaining=0),
)
UNSAID, LONG_UNSAID = Quota(limit=100, reset_in=20.0), Quota(reset_in=30.0)
ROOMY = Quota(remaining=1, reset_in=60.0)


@pytest.mark.parametrize(
    ("quotas", "wait"),
    [
        ((SPENT, LONG_SPENT, UNSAID, ROOMY), 7.0),
        ((LONG_SPENT, SPENT, DUMB), 7.0),
        ((UNSAID, LONG_UNSAID, ROOMY, Quota(window=60.0)), 30.0),
        ((Quota(remaining=0, reset_in=0.0), UNSAID), 0.0),
        ((ROOMY,), None),
        ((ROOMY, Quota(limit=100)), None),
        ((DUMB,), None),
        ((DUMB, UNSAID), None),
        ((Quota(remaining=0, window=60.0),), None),
    ],
)
def test_of_resets_the_longest_counts_of_the_limits_that_have_nothing_left_else_of_those_that_may(
    quotas: tuple[Quota, ...], wait: float | None
) -> None:
    assert demanded_wait(Feedback(quotas=quotas), 429) == wait
    assert demanded_wait(Feedback(quotas=quotas[::-1]), 429) == wait


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


@pytest.mark.parametrize(
    ("dates", "made"),
    [
        (["Sun, 06 Nov 1994 08:49:37 GMT"], WALL),
        (["Sunday, 06-Nov-94 08:49:37 GMT"], WALL),
        (["Sun, 06 Nov 1994 08:49:38 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"], WALL),
        (["today", "Sun, 06 Nov 1994 08:49:37 GMT"], WALL),
        (["today"], None),
        ([], None),
    ],
)
def test_when_an_answer_was_made_is_read_if_it_can_be_meant(dates: list[str], made: float | None) -> None:
    assert made_at(Headers(tuple((b"DATE", date.encode()) for date in dates)), wall=WALL + 5) == made
