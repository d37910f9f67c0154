"""The metrics page at one moment: what has been counted, and the gauges of a state."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from proxy.state import State
from proxy.telemetry import series


def render(registry: CollectorRegistry, accept: str, state: State) -> tuple[bytes, str]:
    """Write the page in the format that an Accept header asks for; return it and its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number is not survived there
        encode, content_type = choose_encoder("")
    return encode(_Page(registry, state)), content_type


class _Page:
    """All series at one moment, as the encoders take them."""

    def __init__(self, registry: CollectorRegistry, state: State) -> None:
        self._registry = registry
        self._state = state

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            # The library can leave these out for the whole process only, and we are not alone in it. The
            # other types belong to collectors that are shared, and have none.
            if family.type in ("counter", "histogram"):
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
            yield family
        yield from _gauges(self._state)


def _gauges(state: State) -> Iterator[Metric]:
    yield _value(series.IN_FLIGHT, state.in_flight)
    yield _value(series.QUEUED, state.queued)
    yield _value(series.QUEUE_SIZE, state.queue_size)
    yield from _of_limits(state)
    yield _breakers(state)
    yield _value(series.LEDGER_UP, state.ledger_up)
    yield _value(series.REPLICAS, state.replicas)
    yield _value(series.DRAINING, state.draining)


def _of_limits(state: State) -> Iterator[Metric]:
    for one, what in (
        (series.QUEUE_DEPTH, "queued"),
        (series.LIMIT_CAPACITY, "capacity"),
        (series.LIMIT_REMAINING, "remaining"),
        (series.LIMIT_RESERVE, "reserve"),
        (series.LIMIT_FOREIGN, "foreign"),
        (series.LIMIT_WINDOW, "window"),
        (series.LIMIT_PAUSED, "paused"),
    ):
        family = GaugeMetricFamily(one.full_name, one.tells, labels=one.labels)
        for limit in state.limits:
            family.add_metric([limit.name], float(getattr(limit, what)))
        yield family


def _breakers(state: State) -> Metric:
    one = series.BREAKER_STATE
    family = GaugeMetricFamily(one.full_name, one.tells, labels=one.labels)
    for breaker in state.breakers:
        for name in ("closed", "open", "half_open"):
            family.add_metric([breaker.name, name], float(breaker.state == name))
    return family


def _value(one: series.Series, value: float) -> Metric:
    return GaugeMetricFamily(one.full_name, one.tells, value=float(value))
