"""`docs/metrics.md`, made of what the code says: `python -m proxy.telemetry.reference` prints it."""

from collections.abc import Iterable, Iterator
from typing import get_args

from proxy.errors import ErrorClass, Fault
from proxy.events import LEDGER_REASONS
from proxy.policy.classify import FAULT_OF
from proxy.policy.retry import Reason
from proxy.policy.routes import LONGEST_LEARNED
from proxy.telemetry.children import MOST
from proxy.telemetry.series import ALL, LABELS, PREFIX, Series

_OPENING = f"""# Metrics

The admin listener serves them at `/metrics`, in Prometheus' text format, or as OpenMetrics for who asks for
that. Every series begins with `{PREFIX}_`, which is left out here; `process_*` and `python_*` tell of the
process. Times are in seconds.

This page is made from the code (`make docs`). What to do when a figure is bad is in
[runbooks.md](runbooks.md).
"""

_KINDS = {
    "counter": "Counters: what happened since the start",
    "histogram": "Histograms: how long it took",
    "gauge": "Gauges: what is so now",
    "info": "What runs",
}

_BOUNDS = f"""## How large the page gets

Nothing that clients send makes it grow: no path, credential, caller or client is a label. A route gets series
of its own while there is room, up to `metrics.routes`, and loses them when nobody has asked for it for
`metrics.idle` seconds (an hour); all others are `other`, and so is a path that the SDK does not know and that
gives a route of more than {LONGEST_LEARNED} characters. From {MOST} combinations of method, route, status and
class on, further ones are counted for the route `other`. An error's class is never lost, so sums by class are
exact. With the documented limits the page stays under 2,000 series and 300 kB.

`upstream_attempts_total` equals the API's own count. A connection that could not be made is no attempt that
the API knows of, and is in `errors_total` alone. When a series was dropped and its route is asked for again,
it begins at zero, as after a start; `rate()` and `increase()` know that.

With tracing on, `request_duration_seconds` and `upstream_duration_seconds` have exemplars in the OpenMetrics
format: the id of a trace.
"""


def pages() -> str:
    """Write the page."""
    parts = [_OPENING]
    for kind, title in _KINDS.items():
        parts.append(f"## {title}\n\n{_table(one for one in ALL if one.kind == kind)}")
    parts += [_buckets(), _labels(), _BOUNDS]
    return "\n".join(parts)


def _table(some: Iterable[Series]) -> str:
    rows = (f"| `{one.name}` | {_names(one.labels)} | {one.tells} |" for one in some)
    return "\n".join(["| series | labels | |", "|---|---|---|", *rows, ""])


def _names(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels) or "–"


def _buckets() -> str:
    return "\n".join(
        f"Buckets of `{one.name}` end at {', '.join(f'{end:g}' for end in one.buckets)} s.\n"
        for one in ALL
        if one.buckets
    )


def _labels() -> str:
    rows = (f"| `{label}` | {tells} |" for label, tells in LABELS.items())
    return "\n".join(
        ["## Labels", "", "| label | |", "|---|---|", *rows, "", *_classes(), "", *_reasons(), ""]
    )


def _classes() -> Iterator[str]:
    yield from ("| `fault` | `error_class` |", "|---|---|")
    for fault in Fault:
        classes = [one for one in ErrorClass if FAULT_OF[one] is fault]
        if fault is not Fault.NONE:
            yield f"| `{fault}` | {_names(classes)} |"


def _reasons() -> Iterator[str]:
    yield from ("| series | `reason` |", "|---|---|")
    yield f"| `retries_stopped_total` | {_names(one for one in get_args(Reason) if one != 'not_transient')} |"
    refused = [one for one in ErrorClass if FAULT_OF[one] is Fault.PROXY]
    refused.remove(ErrorClass.CLIENT_DISCONNECTED)
    yield f"| `rejected_total`, `observed_rejected_total` | {_names(refused)} |"
    yield f"| `ledger_failures_total` | {_names(LEDGER_REASONS)} |"


if __name__ == "__main__":
    print(pages(), end="")
