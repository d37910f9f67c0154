"""Server-sent events out of bytes, however they were cut, by the rules of the standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6. What serves to resume a stream
(`id`, `retry`) is passed over: a status is whole, so there is nothing to catch up with.
"""

import codecs
import re
from typing import NamedTuple

_LINE_END = re.compile("\r\n|\r|\n")
_LARGEST = 4 * 1024 * 1024
"""Characters that an event may have: what is larger is no status, and would fill the memory."""


class Event(NamedTuple):
    """One event, its lines of data joined."""

    type: str
    data: str


class TooLarge(Exception):
    """An event does not end."""


class Parser:
    """Take one stream, chunk by chunk."""

    def __init__(self, largest: int = _LARGEST) -> None:
        self._largest = largest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")  # one byte order mark is dropped
        self._rest = ""
        self._after_return = False
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that end in this chunk. Raises TooLarge."""
        text = self._decoder.decode(chunk)
        if self._after_return:  # a line ended there already; this may be the other half of its CRLF
            text, self._after_return = text.removeprefix("\n"), not text
        self._after_return = self._after_return or text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > self._largest:
            raise TooLarge
        return events

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")  # a comment has no name
        value = value.removeprefix(" ")
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value) + 1
        return None

    def _dispatch(self) -> Event | None:
        """End an event; one without data is none."""
        event = Event(self._type or "message", "\n".join(self._data)) if self._data else None
        self._type, self._data, self._size = "", [], 0
        return event
