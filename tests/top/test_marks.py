"""Texts are made harmless, figures readable, and what is drawn tells something from nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.top.marks import age, curve, duration, glyphs, harmless, shares


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nightly é 東京", "nightly é 東京"),
        ("[bold]x[/bold] [link=file:///]:smile:", "[bold]x[/bold] [link=file:///]:smile:"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\nb\rc\td\0e\x7f\x9b2J", r"a\nb\rc\td\x00e\x7f\x9b2J"),
        ("\u202eevil\u2066\u200b", r"\u202eevil\u2066\u200b"),
        ("a\u2028b\xa0c\xad", r"a\u2028b\xa0c\xad"),
        ("e\u0301\ufe0f\U000e0001", r"e\u0301\ufe0f\U000e0001"),
        ("\ud800", r"\ud800"),
        ("\\x1b", r"\x1b"),
    ],
)
def test_what_could_mean_something_to_a_terminal_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert harmless(text) == shown


@given(st.text())
def test_whatever_is_written_can_be_seen(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable()
    assert not any(unicodedata.combining(character) for character in shown)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "koi8-r", "utf-8"])
@given(text=st.text())
def test_what_the_output_can_not_have_is_escaped_too(encoding: str, text: str) -> None:
    harmless(text, encoding).encode(encoding)


def test_a_text_has_a_bound() -> None:
    assert len(harmless("x" * 10_000)) == 300


@pytest.mark.parametrize(
    ("encoding", "ours"),
    [("utf-8", "█"), ("gb18030", "█"), ("ascii", "#"), ("latin-1", "#"), ("cp437", "#"), ("nonsense", "#")],
)
def test_blocks_are_drawn_where_the_output_can_have_them(encoding: str, ours: str) -> None:
    assert glyphs(encoding).ours == ours


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0 ms"),
        (0.0004, "0 ms"),
        (0.12, "120 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (3.14, "3.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (119.6, "2 min 0 s"),
        (3599.0, "59 min 59 s"),
        (7199.4, "119 min 59 s"),
        (7200.0, "2 h 0 min"),
        (172_799.0, "47 h 59 min"),
        (172_800.0, "2 d"),
        (1e12, "11574074 d"),
    ],
)
def test_durations_are_written_for_people(seconds: float, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-5.0, "just now"),
        (0.4, "just now"),
        (1.2, "1 s ago"),
        (59.6, "60 s ago"),
        (3005.0, "50 min ago"),
        (10_000.0, "2 h ago"),
        (1e6, "11 d ago"),
    ],
)
def test_how_long_ago_something_was_is_told_roughly(seconds: float, written: str) -> None:
    assert age(seconds) == written


@pytest.mark.parametrize(
    ("amounts", "cells"),
    [
        ((50, 0, 0, 50), [5, 0, 0, 5]),
        ((43, 5, 10, 42), [4, 1, 1, 4]),
        ((1, 1, 1, 997), [1, 1, 1, 7]),
        ((0, 0, 0, 0), [0, 0, 0, 0]),
        ((100, 0, 0, 0), [10, 0, 0, 0]),
    ],
)
def test_a_bar_is_shared_out_and_what_is_there_is_seen(amounts: list[int], cells: list[int]) -> None:
    assert shares(10, amounts) == cells


@given(st.lists(st.integers(0, 10**15), min_size=4, max_size=4), st.integers(8, 200))
def test_a_bar_is_as_long_as_it_should_be(amounts: list[int], width: int) -> None:
    cells = shares(width, amounts)
    assert sum(cells) == (width if any(amounts) else 0)
    assert [bool(cell) for cell in cells] == [bool(amount) for amount in amounts]


HEIGHTS = "_12345678"


@pytest.mark.parametrize(
    ("numbers", "until", "width", "drawn"),
    [
        ([0, 1, 2, 4, 8], 100, 5, "_1248"),
        ([0, 0, 0], 100, 3, "___"),
        ([0, 1, 1000], 100, 3, "_18"),
        ([5], 100, 80, "8"),
        ([], 100, 80, ""),
        # Two seconds share a character: 98 with 99, 100 alone with its successor still to come.
        ([1, 4, 2], 100, 2, "84"),
        ([1, 4, 2], 101, 2, "28"),
        ([1, 0, 0, 0, 0, 8], 101, 3, "1_8"),
    ],
)
def test_a_curve_has_a_character_for_some_seconds_at_most(
    numbers: list[int], until: int, width: int, drawn: str
) -> None:
    assert curve(numbers, until, width, HEIGHTS) == drawn


@given(st.lists(st.integers(0, 50), min_size=180, max_size=180), st.integers(0, 10**9), st.integers(8, 200))
def test_a_curve_fits_and_only_ever_moves_to_the_left(numbers: list[int], until: int, width: int) -> None:
    most = [51, *numbers[1:]]  # the same scale in both
    drawn = curve([*most[1:], 51], until, width, HEIGHTS)
    later = curve([*most[2:], 51, 51], until + 1, width, HEIGHTS)
    assert len(drawn) <= width
    middle = drawn[1:-1]
    assert later[1:].startswith(middle) or later.startswith(middle)
