"""Telling a note-taker of an event as the proxy does; but where it fails, the test does."""

from proxy.events import Event, NoteTaker


def tell(listener: NoteTaker, event: Event) -> None:
    """Let a listener hear of an event, if it wants to."""
    hear = listener.hears.get(type(event))
    if hear is not None:
        hear(event)
