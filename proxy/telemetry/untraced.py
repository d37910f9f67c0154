"""What the rest of the program asks of tracing, and the answer where it is off.

The only part of tracing that is imported then. Off is no listener, nothing around the upstream, and no trace
to name: requests go the same way as if tracing did not exist.
"""

from collections.abc import Callable
from typing import Protocol

from proxy.events import Events, Listener
from proxy.forwarder import Upstream

TraceId = Callable[[], str | None]
"""Return the id, in hexadecimal, of the trace that what happens now belongs to; None if it is not kept."""


def no_trace() -> str | None:
    """Return None: there are no traces."""
    return None


class Tracing(Protocol):
    """Spans of what happens to requests."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who has to be told of events, after everybody who asks for `trace_id`."""

    def trace_id(self) -> str | None:
        """Return the id of the trace that what happens now belongs to; None if it is not kept."""

    def around(self, upstream: Upstream, base_url: str) -> Upstream:
        """Return who sends to this upstream so that it is seen."""

    def start(self, events: Events) -> None:
        """Begin to send what is seen, and tell of trouble with it; raises ValueError if it can't be sent."""

    async def close(self) -> None:
        """Send what is left, if that is soon done, and end."""


class Untraced:
    """See nothing."""

    listeners: tuple[Listener, ...] = ()

    def trace_id(self) -> str | None:
        """Return None."""
        return no_trace()

    def around(self, upstream: Upstream, _base_url: str) -> Upstream:
        """Return the upstream itself."""
        return upstream

    def start(self, _events: Events) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
