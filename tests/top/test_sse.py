"""Server-sent events are read as the standard says, wherever the bytes are cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.top.sse import Event, Parser, TooLarge


def parsed(*chunks: bytes) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\n", [("message", "one")]),
        (b"event: status\ndata: {}\n\n", [("status", "{}")]),
        (b"data: {}\nevent: status\n\n", [("status", "{}")]),
        (b"event: status\ndata: 1\n\ndata: 2\n\n", [("status", "1"), ("message", "2")]),
        (b"event: one\nevent: two\ndata: x\n\n", [("two", "x")]),
        (b"event\ndata: x\n\n", [("message", "x")]),
        (b"data: one\ndata: two\n\n", [("message", "one\ntwo")]),
        (b"data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
        (
            b"data:test\n\ndata: test\n\ndata:  test\n\n",
            [("message", text) for text in ("test", "test", " test")],
        ),
        (b"data: a: b\n\n", [("message", "a: b")]),
        (b": a comment\n:\ndata: x\n:another\n\n", [("message", "x")]),
        (b"id: 1\nretry: 10\nunknown: x\nDATA: y\n data: z\n\n", []),
        (b"event: status\n\ndata: x\n\n", [("message", "x")]),
        (b"data: x\r\n\r\ndata: y\r\rdata: z\n\n", [("message", text) for text in "xyz"]),
        (b"data: x\r\n\n", [("message", "x")]),
        (b"data: x\n\r", [("message", "x")]),
        ("﻿data: x\n\n".encode(), [("message", "x")]),
        ("﻿﻿data: x\n\n".encode(), []),
        ("data: é€😀\n\n".encode(), [("message", "é€😀")]),
        (b"data: \xff\xe2\x82\n\n", [("message", "�" * 2)]),
        ("data: a\u2028b\x85c\x0bd\n\n".encode(), [("message", "a\u2028b\x85c\x0bd")]),
        (b"data: half an event\n", []),
        (b"", []),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert parsed(stream) == events
    assert parsed(*(bytes([byte]) for byte in stream)) == events


_PIECES = [
    "data",
    "event",
    "id",
    ":",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "status",
    "é",
    "😀",
    "﻿",
    "\u2028",
    "x",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=60), st.lists(st.integers(1, 200)), st.binary(max_size=3))
@example(["data", ":", "x", "\r", "\n", "\r", "\n"], [7, 8, 9], b"")
def test_any_chunking_gives_the_same_events(pieces: list[str], cuts: list[int], junk: bytes) -> None:
    stream = "".join(pieces).encode() + junk + b"\n\n"
    edges = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    assert parsed(*(stream[start:end] for start, end in pairwise(edges))) == parsed(stream)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_what_is_written_by_the_rules_comes_out_again(texts: list[str]) -> None:
    texts = [re.sub("\r\n|\r", "\n", text) for text in texts]
    stream = "".join("".join(f"data: {line}\n" for line in text.split("\n")) + "\n" for text in texts)
    assert [event.data for event in parsed(stream.encode())] == texts


@pytest.mark.parametrize("endless", [b"data: " + b"x" * 101, b"data: x\n" * 60, b"data:\n" * 101, b"x" * 101])
def test_an_event_that_does_not_end_is_not_kept_for_ever(endless: bytes) -> None:
    with pytest.raises(TooLarge):
        Parser(largest=100).feed(endless)


def test_events_that_end_may_be_many() -> None:
    parser = Parser(largest=100)
    assert sum(len(parser.feed(b"data: %b\n\n" % (b"x" * 90))) for _ in range(100)) == 100
