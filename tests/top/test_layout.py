"""Lines fit, columns are aligned, and room is shared out by importance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from proxy.top.layout import Line, Part, Pen, columns, fit

PEN = Pen(20)


def part(title: str, count: int, *, least: int = 2, idle: tuple[int, ...] = ()) -> Part:
    texts = [PEN.write(f"{title}{number}") for number in range(count)]
    return Part(title, Text(), [Line(text, number in idle) for number, text in enumerate(texts)], least)


def rooms(height: int | None, *counts: int) -> list[int]:
    return [room for _, room in fit([part("x", count) for count in counts], height)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("short", "short"), ("x" * 20, "x" * 20), ("x" * 21, "x" * 19 + "…"), ("東" * 11, "東" * 9 + " …")],
)
def test_what_is_too_wide_is_cut(text: str, shown: str) -> None:
    assert PEN.cut(PEN.write(text)).plain == shown


@given(st.text(), st.integers(-3, 30))
def test_whatever_is_cut_fits(text: str, width: int) -> None:
    assert PEN.cut(PEN.write(text), width).cell_len <= max(width, 0)


def test_where_there_are_no_dots_what_is_cut_ends_otherwise() -> None:
    assert Pen(5, "ascii").cut(Pen(5, "ascii").write("abcdefg")).plain == "abcd~"


def test_markup_is_text() -> None:
    assert PEN.write("[red]x[/red]").plain == "[red]x[/red]"
    assert PEN.write("[red]x[/red]").spans == []


def test_a_rule_fills_the_line_and_counts_what_is_hidden() -> None:
    assert PEN.rule("Title", Text("note"), 0).plain == "Title note ─────────"
    assert PEN.rule("Title", Text("note"), 3).plain == "Title note ─ +3 more"
    assert PEN.rule("Title", Text("a long note, which is"), 3).plain == "Title a lo…  +3 more"
    assert PEN.rule("Title", Text("a long note, which is"), 0).plain == "Title a long note… ─"


def test_columns_are_aligned() -> None:
    rows = [[Text("a"), Text("1"), Text("x")], [Text("bcd"), Text("100"), Text("")]]
    assert [text.plain for text in columns(rows, right={1})] == ["a      1  x", "bcd  100"]


def test_a_column_without_anything_takes_no_room() -> None:
    rows = [[Text("a"), Text(""), Text("x")], [Text("b"), Text(""), Text("y")]]
    assert [text.plain for text in columns(rows)] == ["a  x", "b  y"]


@pytest.mark.parametrize(
    ("height", "shared"),
    [
        (None, [5, 0, 3]),
        (100, [5, 0, 3]),
        (11, [5, 0, 3]),
        (10, [4, 0, 3]),  # in turn
        (9, [3, 0, 3]),
        (8, [3, 0, 2]),
        (7, [2, 0, 2]),
        (6, [4, 0]),  # the last part would have one line only
        (4, [2, 0]),
        (3, [2]),
        (2, []),
        (0, []),
    ],
)
def test_room_is_shared_out_by_importance(height: int | None, shared: list[int]) -> None:
    assert rooms(height, 5, 0, 3) == shared


@given(st.integers(0, 60), st.lists(st.integers(0, 20), max_size=6))
def test_no_more_is_given_than_there_is(height: int, counts: list[int]) -> None:
    given_ = rooms(height, *counts)
    assert sum(room + 1 for room in given_) <= height
    assert all(room <= count for room, count in zip(given_, counts, strict=False))


def test_what_is_idle_is_left_out_first_and_the_order_stays() -> None:
    whole = part("x", 4, idle=(0, 2))
    assert [text.plain for text in whole.draw(PEN, 3)][1:] == ["x0", "x1", "x3"]
    assert [text.plain for text in whole.draw(PEN, 2)] == ["x  ───────── +2 more", "x1", "x3"]
    assert [text.plain for text in whole.draw(PEN, 1)][1:] == ["x1"]
