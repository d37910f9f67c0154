"""What was found, as a value, and how it is told: lines for people, JSON for machines.

The only place that knows how a finding looks. No finding ever holds a secret.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TextIO

import click


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "FAIL"
    SKIPPED = "skipped"


_COLOURS = {Result.OK: "green", Result.WARNING: "yellow", Result.FAIL: "red", Result.SKIPPED: "bright_black"}
_RESULT, _CHECK = 7, 14
"""Widths of the first two columns."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `advice` says what to do, and is there with a warning and a FAIL."""

    check: str
    result: Result
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Finding:
    """Say that all is well."""
    return Finding(check, Result.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """Say that the proxy works, and that something should be changed all the same."""
    return Finding(check, Result.WARNING, detail, advice)


def fail(check: str, detail: str, advice: str) -> Finding:
    """Say that the proxy would not start, or not do what it is for."""
    return Finding(check, Result.FAIL, detail, advice)


def skipped(check: str, why: str) -> Finding:
    """Say that a check was not made, and why."""
    return Finding(check, Result.SKIPPED, why)


def failed(check: str, message: str, mark: str) -> Finding:
    """Make a FAIL of what the proxy itself would say: what is wrong, the mark, what to do."""
    detail, _, advice = message.partition(mark)
    return fail(check, detail.rstrip(".") + ".", advice[:1].upper() + advice[1:])


def milliseconds(seconds: float) -> str:
    """Write a short time."""
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def any_fails(findings: Sequence[Finding]) -> bool:
    """Tell whether something has to be put right."""
    return any(finding.result is Result.FAIL for finding in findings)


def teller(stream: TextIO, environ: Mapping[str, str], *, quiet: bool) -> Callable[[Finding], None]:
    """Return who writes findings for people as they come; in colours on a terminal, if NO_COLOR allows."""
    colour = stream.isatty() and not environ.get("NO_COLOR")

    def tell(finding: Finding) -> None:
        if not quiet:
            click.echo(line(finding, colour=colour), file=stream, color=colour)

    return tell


def line(finding: Finding, *, colour: bool) -> str:
    """Write a finding for people: a line, and below it what to do."""
    margin = " " * (_RESULT + _CHECK + 4)
    result = f"{finding.result:<{_RESULT}}"
    if colour:
        result = click.style(result, fg=_COLOURS[finding.result], bold=finding.result is Result.FAIL)
    text = f"{result}  {finding.check:<{_CHECK}}  " + _shown(finding.detail, margin)
    return f"{text}\n{margin}What to do: {_shown(finding.advice, margin)}" if finding.advice else text


def _shown(text: str, margin: str) -> str:
    """Indent, and leave out what is not to be seen: other programs' words could steer a terminal."""
    return f"\n{margin}".join("".join(sign for sign in one if sign.isprintable()) for one in text.split("\n"))


def summary(findings: Sequence[Finding]) -> str:
    """Say in a line how it went."""
    count = Counter(finding.result for finding in findings)
    fails, warnings = count[Result.FAIL], count[Result.WARNING]
    if not fails + warnings:
        return "Nothing is wrong."
    said = [f"{fails} FAIL"] if fails else []
    if warnings:
        said.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    return f"{', '.join(said)}: what to do is said below each."


def as_json(findings: Sequence[Finding]) -> str:
    """Write all findings for machines."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
