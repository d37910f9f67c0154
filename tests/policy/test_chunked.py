"""The end of a chunked body is found exactly, and trailers stop there."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.policy.chunked import Chunks

NEXT = b"GET / HTTP/1.1\r\n"


def feed(*pieces: bytes, longest: int = 100) -> tuple[bytes, bytes, bool]:
    """Feed pieces until the body ends; return what goes on, what is left, and whether it ended."""
    chunks, onward, rest = Chunks(longest), b"", b""
    for piece in pieces:
        if chunks.ended:
            rest += piece
            continue
        passed, left = chunks.feed(piece)
        onward += passed
        rest += left
    return onward, rest, chunks.ended


def content(framed: bytes) -> bytes:
    """Read a chunked body as h11 does."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + framed)
    parser.next_event()
    read = b""
    while isinstance(event := parser.next_event(), h11.Data):
        read += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert not list(event.headers)
    return read


@pytest.mark.parametrize(
    "framed",
    [
        b"0\r\n\r\n",
        b"000\r\n\r\n",
        b"2\r\nok\r\n0\r\n\r\n",
        b"A\r\n" + b"\r\n" * 5 + b"\r\n0;x\r\n\r\n",
        b'1;a="b;c"\r\n\n\r\n0\r\n\r\n',
    ],
)
def test_a_body_without_trailers_goes_on_as_it_is(framed: bytes) -> None:
    assert feed(framed) == (framed, b"", True)
    assert feed(framed + NEXT) == (framed, NEXT, True)
    assert feed(*(bytes([byte]) for byte in framed + NEXT)) == (framed, NEXT, True)


def test_trailers_stop_here() -> None:
    framed = b"2\r\nok\r\n0\r\nX-Evil: 1\r\nY:\r\n\r\n" + NEXT
    expected = (b"2\r\nok\r\n0\r\n\r\n", NEXT, True)
    assert feed(framed) == expected
    assert feed(*(bytes([byte]) for byte in framed)) == expected


@pytest.mark.parametrize(
    "framed",
    [
        *(b"\r\n", b"x\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b" 1\r\n", b"1 \r\n", b"1 ;a\r\n", b"1_0\r\n"),
        *(b"1\n", b"1\r\r\n", b"1;\r\r\n", b"1;a\0\r\n", b"1" * 16 + b"\r\n", b";a\r\n", b"1" * 101),
        *(b"1\r\nab\r\n", b"1\r\na\n", b"1\r\na\rb\n", b"2\r\na\r\n1\r\n"),
        *(
            b"0\r\n\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n X: 1\r\n",
            b"0\r\nX : 1\r\n",
            b"0\r\nX\r\n",
            b"0\r\n: 1\r\n",
        ),
        *(b"0\r\nX: a\rb\r\n", b"0\r\nX: " + b"y" * 98, b"0\r\n" + b"X: yyyyyy\r\n" * 11),
    ],
)
def test_what_is_not_exactly_chunked_is_refused(framed: bytes) -> None:
    with pytest.raises(BadRequest):
        feed(framed)
    with pytest.raises(BadRequest):
        feed(*(bytes([byte]) for byte in framed))


def test_a_body_that_has_not_ended_goes_on_as_far_as_it_came() -> None:
    assert feed(b"5\r\nhe") == (b"5\r\nhe", b"", False)
    assert feed(b"5") == (b"5", b"", False)
    assert feed(b"0\r\nX: 1\r\n") == (b"0\r\n", b"", False)


@given(
    st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300)), st.booleans(), st.binary()
)
def test_any_body_in_any_pieces_is_read_by_others_as_it_was(
    parts: list[bytes], cuts: list[int], trailers: bool, after: bytes
) -> None:
    framed = b"".join(b"%X;e=1\r\n%b\r\n" % (len(part), part) for part in parts)
    framed += b"0\r\n" + (b"X: 1\r\nY: 2\r\n" if trailers else b"") + b"\r\n" + after
    places = sorted({min(cut, len(framed)) for cut in (0, *cuts, len(framed))})
    onward, rest, ended = feed(*(framed[low:high] for low, high in pairwise(places)))
    assert ended
    assert rest == after
    assert content(onward) == b"".join(parts)


@given(st.lists(st.sampled_from([b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b";", b"X: 1", b" ", b"zz"])))
def test_whatever_is_taken_is_read_by_others_too(parts: list[bytes]) -> None:
    try:
        onward, _, ended = feed(*parts)
    except BadRequest:
        return
    if ended:
        content(onward)
