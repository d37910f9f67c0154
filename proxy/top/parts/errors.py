"""What went wrong since the start, whose fault it was, and the last example of each class."""

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from proxy.top.layout import Part, Pen, lines
from proxy.top.marks import age
from proxy.top.status import Error, Example

_STYLES = {"upstream": "red", "network": "red", "proxy": "yellow", "client": "cyan"}
"""Faults, in the order in which they are told: what clients get wrong is their business."""


def errors(said: Sequence[Error], now: float, pen: Pen) -> Part:
    """Tell of the classes, by fault, the most frequent first."""
    counts: Counter[str] = Counter()
    for error in said:
        counts[error.fault] += error.count
    faults = ", ".join(f"{fault} {counts[fault]:,}" for fault in sorted(counts, key=_rank))
    note = pen.write(f"since the start: {faults}" if faults else "none since the start")
    in_order = sorted(said, key=lambda error: (_rank(error.fault), -error.count))
    return Part("Errors", note, lines([_row(pen, error, now) for error in in_order], right={2}))


def _rank(fault: str) -> int:
    faults = list(_STYLES)
    return faults.index(fault) if fault in faults else len(faults)


def _row(pen: Pen, error: Error, now: float) -> Sequence[Text]:
    last = error.last
    return (
        pen.write(error.fault, _STYLES.get(error.fault, "")),
        pen.write(error.error_class),
        pen.write(f"{error.count:,}", "bold"),
        pen.write(age(now - last.at) if last else ""),
        pen.write(_example(last) if last else ""),
        pen.write(last.request_id or "" if last and pen.wide else "", "dim"),
    )


def _example(last: Example) -> str:
    answer = "" if last.status is None else str(last.status)
    return " ".join(filter(None, (answer, last.code, last.method, last.route)))
