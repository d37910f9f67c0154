"""What went on in the last minutes, second by second, as curves."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from proxy.top.layout import Line, Part, Pen, columns
from proxy.top.marks import curve
from proxy.top.status import History

_SECONDS = 180


class _Curve(NamedTuple):
    """One number a second; what `flows` can be summed up, other than what stands in line."""

    label: str
    style: str
    numbers: Sequence[int]
    flows: bool = True


def history(said: History, pen: Pen) -> Part:
    """Tell of the last three minutes: what did not occur is the first to be left out."""
    curves = (
        _Curve("sent", "green", said.sent[-_SECONDS:]),
        _Curve("queued", "blue", said.queued[-_SECONDS:], flows=False),
        _Curve("refused", "yellow", said.refused[-_SECONDS:]),
        _Curve("429s", "red", said.rate_limited[-_SECONDS:]),
    )
    labels = [pen.write(one.label) for one in curves]
    figures = [_figures(pen, one) for one in curves]
    width = pen.room(labels, *zip(*figures, strict=True))
    drawn = [_draw(pen, one, said.until, width) for one in curves]
    rows = [(label, line, *cells) for label, line, cells in zip(labels, drawn, figures, strict=True)]
    texts = columns(rows, right={2, 3, 4})
    lines = [Line(text, idle=not any(one.numbers)) for text, one in zip(texts, curves, strict=True)]
    return Part("Last 3 minutes", pen.write("each second"), lines)


def _draw(pen: Pen, one: _Curve, until: int, width: int) -> Text:
    style = one.style if any(one.numbers) else "dim"
    return pen.write(curve(one.numbers, until, width, pen.glyphs.heights), style)


def _figures(pen: Pen, one: _Curve) -> Sequence[Text]:
    """Tell the last, the highest and the sum."""
    last, most = (one.numbers[-1], max(one.numbers)) if one.numbers else (0, 0)
    told = [f"{last:,} now", f"{most:,} at most"]
    if not pen.narrow:
        told.append(f"{sum(one.numbers):,} in all" if one.flows else "")
    return [pen.write(text) for text in told]
