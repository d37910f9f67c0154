"""What the tests of the doctor hand in: a clock that stands, and findings taken apart."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from proxy.doctor.report import Finding

NOW = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""


@dataclass
class Standing:
    """A clock that stands until a test sets it."""

    time: float = 0.0
    date: float = NOW

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.date


def results(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Return each check, and how it ended."""
    return [(finding.check, str(finding.result)) for finding in findings]


async def collected(findings: AsyncIterator[Finding]) -> list[Finding]:
    """Wait for all of them."""
    return [finding async for finding in findings]
