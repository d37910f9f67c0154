"""A finding is a line for people, with what to do below it, and a record for machines."""

import io
import json

import pytest

from proxy.doctor import report
from proxy.doctor.report import Finding, fail, ok, skipped, warning

FINDINGS = [
    ok("configuration", "It is valid."),
    warning("secret files", "k is open to everybody.", "chmod 600 k"),
    fail("dns", "The name x cannot be resolved.", "Spell it."),
    skipped("tcp", "No address is known."),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, *findings: Finding, **environ: str) -> str:
    tell = report.teller(stream, environ, quiet=False)
    for finding in findings:
        tell(finding)
    return stream.getvalue()


def test_lines_are_aligned_and_advice_stands_below() -> None:
    assert told(io.StringIO(), *FINDINGS).splitlines() == [
        "ok       configuration   It is valid.",
        "warning  secret files    k is open to everybody.",
        "                         What to do: chmod 600 k",
        "FAIL     dns             The name x cannot be resolved.",
        "                         What to do: Spell it.",
        "skipped  tcp             No address is known.",
    ]


def test_several_sentences_are_lines_below_each_other() -> None:
    lines = report.line(fail("configuration", "2 problems:\na is 1\nb is 2", "Mend."), colour=False)
    assert lines.splitlines()[1] == "                         a is 1"


def test_colours_are_for_terminals_and_for_those_who_want_them() -> None:
    assert "\x1b[31m" in told(Terminal(), *FINDINGS)
    assert "\x1b" not in told(Terminal(), *FINDINGS, NO_COLOR="1")
    assert "\x1b" not in told(io.StringIO(), *FINDINGS)


def test_for_machines_nothing_is_told_before_the_end() -> None:
    stream = io.StringIO()
    report.teller(stream, {}, quiet=True)(FINDINGS[0])
    assert stream.getvalue() == ""
    assert json.loads(report.as_json(FINDINGS))[1] == {
        "check": "secret files",
        "result": "warning",
        "detail": "k is open to everybody.",
        "advice": "chmod 600 k",
    }


def test_words_of_other_programs_do_not_steer_a_terminal() -> None:
    assert "\x1b" not in report.line(ok("listen", "version \x1b[2J1.0\r"), colour=False)


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (FINDINGS, "1 FAIL, 1 warning: what to do is said below each."),
        (FINDINGS[1:2] * 2, "2 warnings: what to do is said below each."),
        (FINDINGS[2:3] * 2, "2 FAIL: what to do is said below each."),
        (FINDINGS[:1] + FINDINGS[3:], "Nothing is wrong."),
    ],
)
def test_the_last_line_says_how_it_went(findings: list[Finding], said: str) -> None:
    assert report.summary(findings) == said


def test_only_a_fail_is_one() -> None:
    assert report.any_fails(FINDINGS)
    assert not report.any_fails([*FINDINGS[:2], FINDINGS[3]])


def test_what_the_proxy_would_say_itself_becomes_what_is_wrong_and_what_to_do() -> None:
    finding = report.failed("store", "The store is full: give it more memory.", ": ")
    assert (finding.detail, finding.advice) == ("The store is full.", "Give it more memory.")


def test_short_times_are_written_with_as_many_digits_as_say_something() -> None:
    assert (report.milliseconds(0.00041), report.milliseconds(0.0123)) == ("0.4 ms", "12 ms")
