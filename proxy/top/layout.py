"""Lines that fit: texts cut to a width, cells in columns, parts shared out over a height. What they say is
none of its business.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rich.text import Text

from proxy.top.marks import Glyphs, glyphs, harmless

_GAP = "  "
_NARROW = 64
"""Columns below which things are said shorter."""
_WIDE = 100
"""Columns from which more is said than what is looked at every day."""
_SHORTEST = 8
"""Characters that a name, a bar or a curve has at least; twice that where it is not narrow."""


@dataclass(frozen=True)
class Pen:
    """Write for an output of this width and encoding."""

    width: int
    encoding: str = "utf-8"

    @cached_property
    def glyphs(self) -> Glyphs:
        """What can be drawn with."""
        return glyphs(self.encoding)

    @property
    def wide(self) -> bool:
        """Whether there is room for what is seldom looked at."""
        return self.width >= _WIDE

    @property
    def narrow(self) -> bool:
        """Whether things are to be said as short as can be."""
        return self.width < _NARROW

    def write(self, text: str, style: str = "") -> Text:
        """Make a text of somebody's words: nothing in it means anything to the terminal, or to rich."""
        return Text(harmless(text, self.encoding), style, no_wrap=True, end="")

    def sentence(self, text: str) -> Text:
        """Write a sentence of the proxy's, with an apostrophe that the output has."""
        return self.write(text.replace("’", self.glyphs.apostrophe))

    def cut(self, text: Text, width: int | None = None) -> Text:
        """Cut a text that is wider than there is room; `width` None means the output's."""
        room = max(self.width if width is None else width, 0)
        if text.cell_len > room:
            text.truncate(max(room - 1, 0))
            text.append(self.glyphs.cut if room else "")
        return text

    def name(self, name: str) -> Text:
        """Write a name, so that whatever it is there is room beside it."""
        return self.cut(self.write(name), max(_SHORTEST, self.width // 5))

    def room(self, *others: Sequence[Text]) -> int:
        """Return what the columns beside it leave to something that is drawn: never too little to see."""
        beside = sum(max(cell.cell_len for cell in column) + len(_GAP) for column in others)
        return max(_SHORTEST if self.narrow else 2 * _SHORTEST, self.width - beside)

    def rule(self, title: str, note: Text, more: int) -> Text:
        """Make the line above a part; `more` lines of it have no room."""
        hidden = f"+{more} more" if more else ""
        line = Text.assemble((title, "bold"), " ", no_wrap=True, end="")
        line.append_text(self.cut(note, self.width - line.cell_len - len(hidden) - 2))
        dashes = self.width - line.cell_len - len(hidden) - 1 - bool(hidden)
        line.append(f" {self.glyphs.rule * dashes}", "dim")
        if hidden:
            line.append(f" {hidden}", "dim")
        return self.cut(line)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a part; one that is `idle` is the first to be left out."""

    text: Text
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Lines under a title with a note; `least` of them should be there for it to be worth the room."""

    title: str
    note: Text
    lines: Sequence[Line] = field(default=())
    least: int = 2

    def draw(self, pen: Pen, room: int) -> list[Text]:
        """Return the title and as many lines as there is room for, the most important in their order."""
        by_weight = sorted(range(len(self.lines)), key=lambda index: (self.lines[index].idle, index))
        shown = sorted(by_weight[:room])
        rule = pen.rule(self.title, self.note, len(self.lines) - len(shown))
        return [rule, *(pen.cut(self.lines[index].text) for index in shown)]


def fit(parts: Sequence[Part], height: int | None) -> list[tuple[Part, int]]:
    """Give each part its lines, the first ones first; `height` None is room for all.

    First each gets its least, as long as that goes; then a line each, in turn, while there are any.
    """
    if height is None:
        return [(part, len(part.lines)) for part in parts]
    given: list[int] = []
    for part in parts:
        least = min(part.least, len(part.lines))
        if height <= least:
            break
        given.append(least)
        height -= least + 1
    fitting = parts[: len(given)]
    while height and any(room < len(part.lines) for part, room in zip(fitting, given, strict=True)):
        for index, part in enumerate(fitting):
            if height and given[index] < len(part.lines):
                given[index] += 1
                height -= 1
    return list(zip(fitting, given, strict=True))


def columns(rows: Sequence[Sequence[Text]], right: Collection[int] = ()) -> list[Text]:
    """Align cells to the left, or to the right in these columns; the last one has no end."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    texts = []
    for row in rows:
        line = Text(no_wrap=True, end="")
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (width - cell.cell_len)
            line.append(_GAP if line and width else "")
            line.append(blank if index in right else "")
            line.append_text(cell)
            line.append(blank if index not in right else "")
        line.rstrip()
        texts.append(line)
    return texts


def lines(rows: Sequence[Sequence[Text]], right: Collection[int] = ()) -> list[Line]:
    """Make lines of rows, all of which count alike."""
    return [Line(text) for text in columns(rows, right)] if rows else []
