"""A rehearsal is told in a sentence, two tables and a conclusion."""

from typing import Any

import pytest

from proxy.config import Limit, Match, Queue, Settings, Upstream
from proxy.plan import parse_kind, rehearse
from proxy.plan_report import report
from tests.fakes import UPLOADS

TEN = Limit(name="ten", requests=10, per=60.0)
THREE = Limit(name="three", requests=3, per=1.0)


def told(
    *kinds: str,
    limits: tuple[Limit, ...] = (TEN, UPLOADS),
    callers: int = 1,
    latency: float = 0.5,
    at_once: bool = True,
    **queue: Any,
) -> str:
    """Return what is said of a rehearsal."""
    settings = Settings(limits=limits, upstream=Upstream(clock_drift=0.0), queue=Queue(**queue))
    how: dict[str, Any] = {"callers": callers, "latency": latency, "at_once": at_once}
    return report(rehearse(settings, [parse_kind(kind) for kind in kinds], **how), settings, **how)


def row(text: str, name: str) -> list[str]:
    """Return the cells of the line that begins so."""
    (line,) = [line for line in text.splitlines() if line.startswith(name + "  ")]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def conclusion(text: str) -> str:
    return text.rpartition("\n\n")[2]


def test_a_whole_report() -> None:
    # Ten go in each minute. Of the first and of the second ten, two are uploads, which are counted half a
    # second later than the others, and so are their successors.
    unused = Limit(name="anonymous", requests=5, per=60.0, match=Match(anonymous=True))
    kinds = ["20 GET /api/v1/x/", "5 POST /api/v1/uploads/ 5"]
    said = told(*kinds, limits=(TEN, UPLOADS, unused), callers=2)
    assert said == WHOLE.removesuffix("\n")


WHOLE = """\
2 callers send 25 requests with one key, all at once; an answer takes 0.5 s.

requests                   answered  refused  first       last  median wait  longest wait
GET /api/v1/x/         20        20        0  0.5 s  2 min 2 s       60.5 s     2 min 1 s
POST /api/v1/uploads/   5         5        0  5.0 s  2 min 6 s       60.5 s     2 min 1 s

limit                   counted  held    longest  in use
ten        10 per 60 s       25    15  2 min 1 s    83 %
uploads      2 at once        5     0      0.0 s    10 %
anonymous   5 per 60 s        0     0      0.0 s       -

25 are answered within 2 min 6 s.
What holds most of them is the limit ten (15).
"""


def test_one_caller_sends_by_itself() -> None:
    said = told("3", at_once=False)
    assert said.startswith("1 caller sends 3 requests with one key, each one after the other; an answer ta")
    assert row(said, "GET /api/v1/datasets/") == [
        *["GET /api/v1/datasets/", "3", "3", "0", "0.5 s", "1.5 s", "0.0 s", "0.0 s"]
    ]


def test_where_nothing_is_held_nothing_is_blamed() -> None:
    said = told("10", callers=10)
    assert conclusion(said) == "10 are answered within 0.5 s."
    assert row(said, "ten") == ["ten", "10 per 60 s", "10", "0", "0.0 s", "100 %"]
    assert row(said, "uploads") == ["uploads", "2 at once", "0", "0", "0.0 s", "-"]


def test_without_limits_there_is_nothing_to_say_of_them() -> None:
    said = told("10", limits=())
    assert said.split("\n\n")[2] == "limit    counted  held  longest  in use"


def test_who_is_refused_is_told_by_reason_and_setting() -> None:
    said = told("30", longest_wait=70.0)
    refused = "10 are refused by the proxy, at once and with Retry-After: "
    assert conclusion(said).splitlines() == [
        "20 are answered within 61.0 s.",
        f"{refused}queue_timeout (queue.longest_wait, 70 s).",
        "What holds most of them is the limit ten (10).",
    ]
    assert row(said, "GET /api/v1/datasets/")[1:4] == ["30", "20", "10"]
    said = told("30", size=4)
    assert "16 are refused by the proxy, at once and with Retry-After: queue_full (queue.size, 4)." in said
    assert row(said, "ten")[2:4] == ["14", "4"], "who was refused was not counted"


def test_both_reasons_are_told() -> None:
    said = told("40 GET /x", "30 POST /api/v1/uploads/ 20", size=12, longest_wait=70.0)
    lines = conclusion(said).splitlines()
    assert [line.split(": ")[1] for line in lines if "refused" in line] == [
        "queue_full (queue.size, 12).",
        "queue_timeout (queue.longest_wait, 70 s).",
    ]


def test_of_a_kind_that_is_refused_altogether_there_are_no_times() -> None:
    no_room = Limit(name="narrow", requests=1, per=600.0)
    said = told("1 GET /first", "1 GET /second", limits=(no_room,), longest_wait=10.0)
    assert row(said, "GET /first")[2:4] == ["1", "0"]
    assert row(said, "GET /second") == ["GET /second", "1", "0", "1", "-", "-", "-", "-"]


def test_what_a_limit_is_used_is_the_share_of_what_it_allowed_meanwhile() -> None:
    said = told("3 POST /api/v1/uploads/ 4", limits=(UPLOADS, THREE))
    # Two places for eight seconds, and three calls of four; three calls where eight times three may be.
    assert row(said, "uploads") == ["uploads", "2 at once", "3", "1", "4.0 s", "75 %"]
    assert row(said, "three") == ["three", "3 per 1 s", "3", "0", "0.0 s", "12 %"]
    assert row(told("3", limits=(THREE,), at_once=False), "three")[-1] == "50 %"


def test_no_more_than_all_of_a_limit_is_used() -> None:
    assert row(told("20", latency=0.0), "ten")[-1] == "100 %"


def test_the_limit_that_holds_most_is_the_one_that_they_wait_for_longest() -> None:
    minute = Limit(name="minute", requests=100, per=60.0)
    second = Limit(name="second", requests=20, per=1.0)
    said = told("300", limits=(minute, second), latency=0.2)
    assert "What holds most of them is the limit minute" in said  # 17 s without it, 121 s without the other
    assert float(row(said, "second")[4].removesuffix(" s")) < 10


def test_one_request_is_one() -> None:
    said = told("1")
    assert said.startswith("1 caller sends 1 request with")
    assert conclusion(said) == "1 is answered within 0.5 s."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ("0", "0.0 s"),
        ("0.04", "0.0 s"),
        ("0.06", "0.1 s"),
        ("119.9", "119.9 s"),
        ("120", "2 min 0 s"),
        ("179.7", "3 min 0 s"),
        ("3600", "60 min 0 s"),
        ("7199.4", "119 min 59 s"),
        ("7199.6", "2 h 0 min"),
        ("100000", "27 h 46 min"),
    ],
)
def test_durations_are_written_for_people(seconds: str, said: str) -> None:
    assert conclusion(told(f"1 GET /x {seconds}")).endswith(f" answered within {said}.")


def test_tables_are_aligned_and_have_no_blanks_at_their_ends() -> None:
    said = told("3 GET /api/v1/a/rather/long/path/", "12 POST /x 7", "1 POST /api/v1/uploads/", callers=3)
    for table in said.split("\n\n")[1:3]:
        lines = table.splitlines()
        assert len({len(line) for line in lines}) == 1
        assert [line.rstrip() for line in lines] == lines
