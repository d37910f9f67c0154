"""The parts of a frame, each of which tells one thing of a status; the most important come first."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.text import Text

from proxy.top.layout import Line, Part, Pen, columns
from proxy.top.marks import age, curve, duration, shares
from proxy.top.status import Breaker, Caller, Error, History, Limit, Quantiles, State, Status

_NARROW = 64
"""Columns below which figures are written shorter."""
_SHORTEST_BAR, _WIDEST_BAR = 8, 60
_SECONDS = 180
_FAULTS = ("upstream", "network", "proxy", "client")
_STYLES = {"upstream": "red", "network": "red", "proxy": "yellow", "client": "cyan"}


def every_part(status: Status, pen: Pen) -> Iterator[Part]:
    """Yield them in the order in which they stand."""
    if status.state.limits:
        yield _limits(status.state, pen)
    if status.recent.history is not None:
        yield _history(status.recent.history, pen)
    yield _queue(status, pen)
    yield _errors(status, pen)
    yield _calls(status, pen)


def _limits(state: State, pen: Pen) -> Part:
    names = [_name(pen, limit.name) for limit in state.limits]
    figures = [_figures(pen, limit) for limit in state.limits]
    notes = [pen.write(_note(limit, state.pauses.get(limit.name))) for limit in state.limits]
    width = min(_room(pen, names, figures, notes), _WIDEST_BAR)
    bars = [_bar(pen, limit, width) for limit in state.limits]
    texts = columns(list(zip(names, bars, figures, notes, strict=True)), right={2})
    idle = [not (limit.ours or limit.foreign or limit.queued or limit.paused) for limit in state.limits]
    return Part("Limits", _legend(pen), tuple(map(Line, texts, idle)), least=3)


def _name(pen: Pen, name: str) -> Text:
    return pen.cut(pen.write(name), max(8, pen.width // 5))


def _room(pen: Pen, *others: Sequence[Text]) -> int:
    """Return what the columns beside them leave of a line, for what is drawn: never too little to see."""
    least = _SHORTEST_BAR if pen.width < _NARROW else 2 * _SHORTEST_BAR
    return max(least, pen.width - sum(max(cell.cell_len for cell in column) + 2 for column in others))


def _figures(pen: Pen, limit: Limit) -> Text:
    if pen.width < _NARROW:
        return pen.write(f"{limit.remaining:,}/{limit.capacity:,}")
    window = "" if limit.window is None else f", {limit.window:g} s" if limit.window else ", at once"
    return pen.write(f"{limit.remaining:,} of {limit.capacity:,} left{window}")


def _note(limit: Limit, pause: float | None) -> str:
    said = []
    if limit.paused:
        said.append("paused" if pause is None else f"paused {duration(pause)}")
    if limit.queued:
        said.append(f"{limit.queued:,} wait")
    if limit.foreign:
        said.append(f"{limit.foreign:,} by others")
    return ", ".join(said)


def _bar(pen: Pen, limit: Limit, width: int) -> Text:
    cells = shares(width, (limit.ours, limit.foreign, limit.reserve, limit.remaining))
    pieces = zip(_bar_signs(pen), cells, strict=True)
    return Text.assemble(*((sign * count, style) for (sign, _, style), count in pieces), no_wrap=True, end="")


def _bar_signs(pen: Pen) -> tuple[tuple[str, str, str], ...]:
    signs = pen.glyphs
    return (
        (signs.ours, "ours", "blue"),
        (signs.others, "others", "magenta"),
        (signs.reserve, "reserve", "yellow"),
        (signs.left, "left", "dim"),
    )


def _legend(pen: Pen) -> Text:
    return Text(" ").join(Text.assemble((sign, style), f" {what}") for sign, what, style in _bar_signs(pen))


def _history(history: History, pen: Pen) -> Part:
    rows = [
        ("sent", history.sent, "green"),
        ("queued", history.queued, "blue"),
        ("refused", history.refused, "yellow"),
        ("429s", history.rate_limited, "red"),
    ]
    labels = [pen.write(label) for label, _, _ in rows]
    figures = [_recently(pen, numbers[-_SECONDS:], flow=label != "queued") for label, numbers, _ in rows]
    width = _room(pen, labels, *zip(*figures, strict=True))
    curves = [
        pen.write(curve(numbers[-_SECONDS:], history.until, width, pen.glyphs.heights), style)
        for _, numbers, style in rows
    ]
    texts = columns(
        [(label, line, *cells) for label, line, cells in zip(labels, curves, figures, strict=True)],
        right={2, 3, 4},
    )
    idle = [not any(numbers[-_SECONDS:]) for _, numbers, _ in rows]
    return Part("Last 3 minutes", Text("each second"), tuple(map(Line, texts, idle)))


def _recently(pen: Pen, numbers: Sequence[int], *, flow: bool) -> Sequence[Text]:
    """Tell of a curve its last, its highest and, of what flows, the sum."""
    last, most = (numbers[-1], max(numbers)) if numbers else (0, 0)
    told = [pen.write(f"{last:,} now"), pen.write(f"{most:,} at most")]
    if pen.width >= _NARROW:
        told.append(pen.write(f"{sum(numbers):,} in all" if flow else ""))
    return told


def _queue(status: Status, pen: Pen) -> Part:
    state = status.state
    bound = f" of {state.queue_size:,}" if state.queue_size else ""
    note = pen.write(f"{state.queued:,}{bound} wait, {state.in_flight:,} in flight")
    return Part("Queue", note, _lines([_caller(pen, one) for one in status.callers], right={1}))


def _caller(pen: Pen, caller: Caller) -> Sequence[Text]:
    key = "" if caller.credential is None else f"key {caller.credential}"
    return (
        _name(pen, caller.caller),
        pen.write(f"{caller.queued:,} wait"),
        pen.write(_estimate(caller)),
        pen.write(key, "dim"),
    )


def _estimate(caller: Caller) -> str:
    if caller.first is None or caller.last is None:
        return "not known when they go" if caller.first is None else f"first in {duration(caller.first)}"
    if caller.queued == 1:
        return f"in {duration(caller.first)}"
    return f"in {duration(caller.first)} to {duration(caller.last)}"


def _lines(rows: Sequence[Sequence[Text]], right: set[int]) -> tuple[Line, ...]:
    return tuple(map(Line, columns(rows, right))) if rows else ()


def _errors(status: Status, pen: Pen) -> Part:
    errors = status.recent.errors
    counts: Counter[str] = Counter()
    for error in errors:
        counts[error.fault] += error.count
    said = ", ".join(f"{fault} {counts[fault]:,}" for fault in sorted(counts, key=_rank))
    note = pen.write(f"since the start: {said}" if said else "none since the start")
    in_order = sorted(errors, key=lambda error: (_rank(error.fault), -error.count))
    return Part("Errors", note, _lines([_error(pen, one, status.now) for one in in_order], right={2}))


def _rank(fault: str) -> int:
    return _FAULTS.index(fault) if fault in _FAULTS else len(_FAULTS)


def _error(pen: Pen, error: Error, now: float) -> Sequence[Text]:
    last = error.last
    if last is None:
        ago, example, identity = "", "", ""
    else:
        ago = age(now - last.at)
        answer = "" if last.status is None else str(last.status)
        example = " ".join(filter(None, (answer, last.code, last.method, last.route)))
        identity = last.request_id or ""
    return (
        pen.write(error.fault, _STYLES.get(error.fault, "")),
        pen.write(error.error_class),
        pen.write(f"{error.count:,}", "bold"),
        pen.write(ago),
        pen.write(example),
        pen.write(identity, "dim"),
    )


def _calls(status: Status, pen: Pen) -> Part:
    state = status.state
    rows = [
        (pen.write("breaker"), _breakers(pen, state.breakers)),
        (pen.write("budget"), _sharing(pen, state)),
        (pen.write("API took"), _quantiles(pen, status.recent.upstream)),
        (pen.write("waited"), _quantiles(pen, status.recent.waits)),
    ]
    return Part("Calls", Text("times are of the last 5 minutes"), _lines(rows, right=set()))


def _breakers(pen: Pen, breakers: Sequence[Breaker]) -> Text:
    said = []
    for one in sorted(breakers, key=lambda one: one.state == "closed"):
        by_hand = " by hand" if one.forced else ""
        style = "" if one.state == "closed" else "yellow" if one.state == "half_open" else "red"
        said.append(pen.write(f"{one.name} {one.state.replace('_', ' ')}{by_hand}", style))
    return Text(", ").join(said) if said else pen.write("not told")


def _sharing(pen: Pen, state: State) -> Text:
    if not state.ledger_up:
        return pen.write("the store is lost, an own share is kept to", "red")
    if state.shared:
        return pen.write(f"shared by {state.replicas:,} replicas, the store is there")
    return pen.write("not shared")


def _quantiles(pen: Pen, times: Quantiles) -> Text:
    known = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("most", times.most))
    said = [f"{name} {duration(value)}" for name, value in known if value is not None]
    return pen.write("  ".join([*said, f"of {times.count:,}"]) if said else "none")
