"""The parts of a frame, a file for each, which tells one thing of a status; the most important come first."""

from collections.abc import Iterator

from proxy.top.layout import Part, Pen
from proxy.top.parts.calls import calls
from proxy.top.parts.errors import errors
from proxy.top.parts.history import history
from proxy.top.parts.limits import limits
from proxy.top.parts.queue import queue
from proxy.top.status import Status


def every_part(status: Status, pen: Pen) -> Iterator[Part]:
    """Yield them in the order in which they stand, but for those of which nothing is told."""
    if status.state.limits:
        yield limits(status.state, pen)
    recent = status.recent
    if recent is not None and recent.history is not None:
        yield history(recent.history, pen)
    yield queue(status, pen)
    if recent is not None:
        yield errors(recent.errors, status.now, pen)
    yield calls(status, pen)
