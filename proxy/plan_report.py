"""A rehearsal in words and tables: what is said of a `Plan`."""

import statistics
from collections import Counter
from collections.abc import Sequence

from proxy.config import Limit, Settings
from proxy.plan import Plan, Trip


def report(plan: Plan, settings: Settings, *, callers: int, latency: float, at_once: bool) -> str:
    """Tell how long it took, of which kinds, and what each limit did."""
    manner = "all at once" if at_once else "each one after the other"
    who = "1 caller sends" if callers == 1 else f"{callers} callers send"
    what = "1 request" if len(plan.trips) == 1 else f"{len(plan.trips)} requests"
    parts = [
        f"{who} {what} with one key, {manner}; an answer takes {latency:g} s.",
        _table(_kind_rows(plan)),
        _table(_limit_rows(plan, settings.limits)),
        _conclusion(plan, settings),
    ]
    return "\n\n".join(parts)


def _kind_rows(plan: Plan) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("requests", "", "answered", "refused", "first", "last", "median wait", "longest wait")
    ]
    for kind in dict.fromkeys(trip.kind for trip in plan.trips):
        trips = [trip for trip in plan.trips if trip.kind == kind]
        done = [trip for trip in trips if trip.refused is None]
        refused = str(len(trips) - len(done))
        rows.append((str(kind), str(len(trips)), str(len(done)), refused, *_times(done)))
    return rows


def _times(done: Sequence[Trip]) -> Sequence[str]:
    if not done:
        return ("-", "-", "-", "-")
    waits = [trip.waited for trip in done]
    answers = [trip.answered for trip in done]
    return tuple(map(_seconds, (min(answers), max(answers), statistics.median(waits), max(waits))))


def _limit_rows(plan: Plan, limits: Sequence[Limit]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("limit", "", "counted", "held", "longest", "in use")]
    held = Counter(trip.limit for trip in plan.done)
    for limit in limits:
        counted = sum(any(lane.limit == limit.name for lane in trip.lanes) for trip in plan.done)
        longest = max((trip.waited for trip in plan.done if trip.limit == limit.name), default=0.0)
        use = f"{100 * _use(plan, limit, counted):.0f} %" if counted else "-"
        rows.append((limit.name, _size(limit), str(counted), str(held[limit.name]), _seconds(longest), use))
    return rows


def _use(plan: Plan, limit: Limit, counted: int) -> float:
    """Return the share of what the limit allowed in this time."""
    if limit.per is not None:
        last = max(trip.went for trip in plan.done)
        windows = max(-(-plan.seconds // limit.per), last // limit.per + 1)
        return counted / (limit.size * windows)
    busy = sum(
        trip.answered - trip.went
        for trip in plan.done
        if any(lane.limit == limit.name for lane in trip.lanes)
    )
    return busy / (limit.size * plan.seconds) if plan.seconds else 0.0


def _size(limit: Limit) -> str:
    return f"{limit.size} at once" if limit.per is None else f"{limit.size} per {limit.per:g} s"


def _conclusion(plan: Plan, settings: Settings) -> str:
    refused = Counter(trip.refused for trip in plan.trips if trip.refused is not None)
    lines = [f"{_are(len(plan.done))} answered within {_seconds(plan.seconds)}."]
    settings_of = {
        "queue_timeout": f"queue.longest_wait, {settings.queue.longest_wait:g} s",
        "queue_full": f"queue.size, {settings.queue.size}",
    }
    lines += [
        f"{_are(count)} refused by the proxy, at once and with Retry-After: {reason} ({settings_of[reason]})."
        for reason, count in sorted(refused.items())
    ]
    held = Counter(trip.limit for trip in plan.done if trip.limit != "none")
    if held:
        (limit, count), *_ = held.most_common(1)
        lines.append(f"What holds most of them is the limit {limit} ({count}).")
    return "\n".join(lines)


def _are(count: int) -> str:
    return "1 is" if count == 1 else f"{count} are"


def _seconds(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
