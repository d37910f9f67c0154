"""What lies between the proxy and the API: breakers, whom the budget is shared with, how long things take."""

from collections.abc import Sequence

from rich.text import Text

from proxy.top.layout import Part, Pen, lines
from proxy.top.marks import duration
from proxy.top.status import Breaker, Quantiles, State, Status

_STYLES = {"open": "red", "half_open": "yellow"}


def calls(status: Status, pen: Pen) -> Part:
    """Tell of the way to the API."""
    rows = [
        (pen.write("breaker"), _breakers(pen, status.state.breakers)),
        (pen.write("budget"), _sharing(pen, status.state)),
    ]
    if status.recent is None:
        return Part("Calls", pen.write(""), lines(rows))
    rows += [
        (pen.write("API took"), _quantiles(pen, status.recent.upstream)),
        (pen.write("waited"), _quantiles(pen, status.recent.waits)),
    ]
    return Part("Calls", pen.write("times are of the last 5 minutes"), lines(rows))


def _breakers(pen: Pen, breakers: Sequence[Breaker]) -> Text:
    """Name each group; those that are not closed come first."""
    said = []
    for one in sorted(breakers, key=lambda one: one.state == "closed"):
        by_hand = " by hand" if one.forced else ""
        text = f"{one.name} {one.state.replace('_', ' ')}{by_hand}"
        said.append(pen.write(text, _STYLES.get(one.state, "")))
    return Text(", ").join(said) if said else pen.write("none")


def _sharing(pen: Pen, state: State) -> Text:
    if not state.ledger_up:
        return pen.write("the store is gone, an own share is kept to", "red")
    if state.shared:
        replicas = "1 replica" if state.replicas == 1 else f"{state.replicas:,} replicas"
        return pen.write(f"shared by {replicas}, the store is there")
    return pen.write("not shared")


def _quantiles(pen: Pen, times: Quantiles) -> Text:
    known = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("most", times.most))
    said = [f"{name} {duration(value)}" for name, value in known if value is not None]
    return pen.write("  ".join([*said, f"of {times.count:,}"]) if said else "none")
