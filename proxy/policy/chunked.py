"""The only place where it is decided where a chunked body ends, and what of its framing goes on.

The parser behind (llhttp) finds the same end; but aiohttp keeps the last trailer field and puts it among the
fields of the connection's next request, which would let one client speak for another behind a shared
connection. So trailers stop here, as RFC 9110 section 6.5.1 allows.
"""

import re
from enum import Enum, auto

from proxy.errors import BadRequest

_SIZE = re.compile(rb"(?P<size>[0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    ENDED = auto()


class Chunks:
    """Follow a chunked body (RFC 9112 section 7.1); `longest` bounds a line, and all trailers (bytes)."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._state = _State.SIZE
        self._left = 0
        self._line = b""
        self._trailers = 0

    @property
    def ended(self) -> bool:
        """Whether the body is complete."""
        return self._state is _State.ENDED

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came; return what of it goes on, and what belongs to the next message.

        Raises `BadRequest` where the framing is not exactly as the RFC has it.
        """
        at = 0
        passed = 0 if self._state is _State.TRAILERS else None
        while at < len(data) and not self.ended:
            step = self._skip_data if self._state is _State.DATA else self._read_line
            at = step(data, at)
            if passed is None and self._state in (_State.TRAILERS, _State.ENDED):
                passed = at
        onward = data[:passed] + (b"\r\n" if self.ended else b"")
        return onward, data[at:]

    def _skip_data(self, data: bytes, at: int) -> int:
        taken = min(self._left, len(data) - at)
        self._left -= taken
        if not self._left:
            self._state = _State.DATA_END
        return at + taken

    def _read_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        self._line += data[at : end or None]
        if len(self._line) > self._longest:
            raise BadRequest("A line of the chunked body is too long.")
        if not end:
            return len(data)
        line, self._line = self._line, b""
        self._state = self._after(line)
        return end

    def _after(self, line: bytes) -> _State:
        if self._state is _State.SIZE:
            return self._after_size(line)
        if line == b"\r\n":
            return _State.SIZE if self._state is _State.DATA_END else _State.ENDED
        self._trailers += len(line)
        if self._state is _State.DATA_END or _TRAILER.fullmatch(line) is None:
            raise BadRequest("The chunked body is malformed.")
        if self._trailers > self._longest:
            raise BadRequest("The trailers of the chunked body are too long.")
        return _State.TRAILERS

    def _after_size(self, line: bytes) -> _State:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadRequest("A chunk's size is malformed.")
        self._left = int(match["size"], 16)
        return _State.DATA if self._left else _State.TRAILERS
