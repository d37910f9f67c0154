"""The only place where it is decided where messages on a connection end, but for chunks (`chunked.py`)."""

from typing import Protocol

_END = b"\r\n\r\n"


class Framing(Protocol):
    """The part of a message that is arriving."""

    @property
    def ended(self) -> bool:
        """Whether it is complete."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came; return what of it goes on, and what belongs to the next part.

        Raises `BadRequest` where the end can't be told.
        """


class Head:
    """A head, or the empty lines before it: it ends with an empty line (RFC 9112 section 2.1)."""

    def __init__(self) -> None:
        self._last = b""
        self.ended = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Find the empty line, even when it came in two pieces."""
        place = (self._last + data).find(_END)
        if place < 0:
            self._last = (self._last + data)[-len(_END) + 1 :]
            return data, b""
        end = place + len(_END) - len(self._last)
        self.ended = True
        return data[:end], data[end:]


class Sized:
    """A body whose length is known (RFC 9112 section 6.3), or none."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def ended(self) -> bool:
        """Whether it is complete."""
        return not self._left

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Count."""
        taken, rest = data[: self._left], data[self._left :]
        self._left -= len(taken)
        return taken, rest
