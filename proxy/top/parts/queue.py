"""Who waits, and for how long still."""

from collections.abc import Sequence

from rich.text import Text

from proxy.top.layout import Part, Pen, lines
from proxy.top.marks import duration
from proxy.top.status import Caller, Status


def queue(status: Status, pen: Pen) -> Part:
    """Tell of the queue, and of each caller in it in the order that the proxy tells: the longest first."""
    state = status.state
    bound = f" of {state.queue_size:,}" if state.queue_size else ""
    note = pen.write(f"{state.queued:,}{bound} wait, {state.in_flight:,} are being answered")
    return Part("Queue", note, lines([_row(pen, one) for one in status.callers], right={1}))


def _row(pen: Pen, one: Caller) -> Sequence[Text]:
    key = "" if one.credential is None else f"key {one.credential}"
    return (
        pen.name(one.caller),
        pen.write(f"{one.queued:,} wait"),
        pen.write(_goes(one)),
        pen.write(key, "dim"),
    )


def _goes(one: Caller) -> str:
    if one.first is None:
        return "not known when"
    first = f"in {duration(one.first)}"
    if one.last is None:
        return f"{first} or later"
    return first if one.queued == 1 else f"{first} to {duration(one.last)}"
