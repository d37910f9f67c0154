"""What a terminal shows of values: texts made harmless, figures for people, bars and curves.

Texts come from requests and answers, so anybody may have written them: what would move the cursor, change
the terminal, hide or reorder text is shown as the escape that Python has for it.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST = 300
"""Characters of a text that are looked at; no terminal shows more of it."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters that are drawn and written with: the parts of a bar, a curve's heights from nothing to
    most, …
    """

    ours: str
    others: str
    reserve: str
    left: str
    heights: str
    rule: str
    cut: str
    apostrophe: str


_BLOCKS = Glyphs("█", "▓", "░", "·", "▁▂▃▄▅▆▇█", "─", "…", "’")
_ASCII = Glyphs("#", "+", "=", ".", "_.:-=+*#", "-", "~", "'")


def glyphs(encoding: str) -> Glyphs:
    """Return block elements where the output can have them."""
    try:
        "".join((*_BLOCKS.heights, _BLOCKS.ours, _BLOCKS.others, _BLOCKS.left, "░─…’")).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _BLOCKS


def harmless(text: str, encoding: str = "utf-8") -> str:
    """Show a text of somebody else's: what can't be seen, or not be written, as its escape."""
    shown = "".join(map(_visible, text[:_LONGEST]))
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _visible(character: str) -> str:
    """Controls, marks without a width of their own, direction changes and the like become escapes."""
    if character.isprintable() and unicodedata.category(character)[0] != "M":
        return character
    return character.encode("unicode_escape").decode("ascii")


def duration(seconds: float) -> str:
    """Write seconds in the units that people use for so many."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 119.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds) // 60
    if minutes < 120:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{minutes // 1440} d"


def age(seconds: float) -> str:
    """Write how long ago something was, roughly: clocks differ, and `now` is what came last."""
    count, unit = duration(max(round(seconds), 0)).split()[:2]
    return "just now" if count == "0" else f"{count.removesuffix('.0')} {unit} ago"


def shares(width: int, amounts: Sequence[int]) -> list[int]:
    """Share a bar's width out by amounts: what is not nothing gets a cell, the largest pays for it."""
    whole = sum(amounts)
    if not whole:
        return [0 for _ in amounts]
    cells = [max(amount * width // whole, int(amount > 0)) for amount in amounts]
    largest = max(range(len(amounts)), key=lambda index: amounts[index])
    cells[largest] += width - sum(cells)
    return cells


def curve(numbers: Sequence[int], until: int, width: int, heights: str) -> str:
    """Draw one number a second, the last for the second `until`, as a line of at most `width` characters.

    A character stands for the most of its seconds; which seconds share one depends on the time alone, so the
    line only ever moves to the left. What is not nothing can be told from nothing.
    """
    span = -(-len(numbers) // max(width, 1)) or 1
    most: dict[int, int] = {}
    for second, number in enumerate(numbers, until - len(numbers) + 1):
        most[second // span] = max(number, most.get(second // span, 0))
    peaks = list(most.values())[-width:]
    return "".join(heights[_height(peak, max(peaks), len(heights) - 1)] for peak in peaks)


def _height(number: int, most: int, top: int) -> int:
    return -(-number * top // most) if number else 0
