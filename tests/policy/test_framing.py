"""The ends of heads and sized bodies are found, however the bytes arrive."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.framing import Framing, Head, Sized


def feed(framing: Framing, *pieces: bytes) -> tuple[bytes, bytes]:
    onward = rest = b""
    for piece in pieces:
        if framing.ended:
            rest += piece
            continue
        passed, left = framing.feed(piece)
        onward += passed
        rest += left
    return onward, rest


@given(st.binary(max_size=60), st.lists(st.integers(0, 80)))
def test_a_head_ends_with_the_first_empty_line_in_any_pieces(noise: bytes, cuts: list[int]) -> None:
    data = noise + b"\r\n\r\nrest"
    end = data.index(b"\r\n\r\n") + 4
    places = sorted({min(cut, len(data)) for cut in (0, *cuts, len(data))})
    head = Head()
    assert feed(head, *(data[low:high] for low, high in pairwise(places))) == (data[:end], data[end:])
    assert head.ended


def test_a_head_without_its_end_goes_on_as_far_as_it_came() -> None:
    head = Head()
    assert head.feed(b"GET / HTTP/1.1\r\n") == (b"GET / HTTP/1.1\r\n", b"")
    assert not head.ended


@pytest.mark.parametrize("pieces", [(b"hello", b"next"), (b"hel", b"lonext"), (b"hellonext",)])
def test_a_sized_body_ends_after_its_bytes(pieces: tuple[bytes, ...]) -> None:
    body = Sized(5)
    assert feed(body, *pieces) == (b"hello", b"next")
    assert body.ended


def test_a_body_of_no_bytes_has_ended() -> None:
    assert Sized(0).ended
