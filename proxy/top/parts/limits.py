"""How much of each limit is taken, by whom, and what is left."""

from rich.text import Text

from proxy.policy.words import rough
from proxy.top.layout import Line, Part, Pen, columns
from proxy.top.marks import shares
from proxy.top.status import Limit, State

_WIDEST = 60


def limits(state: State, pen: Pen) -> Part:
    """Tell of the limits: those of which nothing is taken are the first to be left out."""
    names = [pen.name(limit.name) for limit in state.limits]
    figures = [_figures(pen, limit) for limit in state.limits]
    notes = [pen.write(_note(limit, state.pauses.get(limit.name))) for limit in state.limits]
    width = min(pen.room(names, figures, notes), _WIDEST)
    bars = [_bar(pen, limit, width) for limit in state.limits]
    texts = columns(list(zip(names, bars, figures, notes, strict=True)), right={2})
    idle = [not (limit.ours or limit.foreign or limit.queued or limit.paused) for limit in state.limits]
    return Part("Limits", _legend(pen), tuple(map(Line, texts, idle)), least=3)


def _figures(pen: Pen, limit: Limit) -> Text:
    if pen.narrow:
        return pen.write(f"{limit.remaining:,}/{limit.capacity:,}")
    window = "" if limit.window is None else f", {limit.window:g} s" if limit.window else ", at once"
    return pen.write(f"{limit.remaining:,} of {limit.capacity:,} left{window}")


def _note(limit: Limit, pause: float | None) -> str:
    said = []
    if limit.paused:
        said.append("paused" if pause is None else f"paused {rough(pause)}")
    if limit.queued:
        said.append(f"{limit.queued:,} wait")
    if limit.foreign:
        said.append(f"{limit.foreign:,} by others")
    return ", ".join(said)


def _bar(pen: Pen, limit: Limit, width: int) -> Text:
    cells = shares(width, (limit.ours, limit.foreign, limit.reserve, limit.remaining))
    pieces = zip(_signs(pen), cells, strict=True)
    return Text.assemble(*((sign * count, style) for (sign, _, style), count in pieces))


def _legend(pen: Pen) -> Text:
    return Text(" ").join(Text.assemble((sign, style), f" {what}") for sign, what, style in _signs(pen))


def _signs(pen: Pen) -> tuple[tuple[str, str, str], ...]:
    signs = pen.glyphs
    return (
        (signs.ours, "ours", "blue"),
        (signs.others, "others", "magenta"),
        (signs.reserve, "reserve", "yellow"),
        (signs.left, "left", "dim"),
    )
