"""What the metrics page says after something happened."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, product
from typing import get_args

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.config import DOCUMENTED_LIMITS, Settings
from proxy.errors import ErrorClass, Fault
from proxy.events import (
    LEDGER_REASONS,
    Admitted,
    AttemptEnded,
    Coalesced,
    Event,
    ExchangeEnded,
    Failed,
    ForeignSeen,
    LedgerFailed,
    LifecycleChanged,
    LimitPaused,
    Observed,
    Rejected,
    Retried,
    RetryStopped,
)
from proxy.policy.classify import FAULT_OF, TRANSIENT
from proxy.policy.retry import Reason
from proxy.policy.routes import KNOWN_ROUTES, LONGEST_LEARNED
from proxy.state import BreakerState, LimitState, State
from proxy.telemetry.metrics import METHODS, Metrics
from proxy.telemetry.series import CALLS, WAITS
from tests.telemetry.telling import tell

ROUTE = "/api/v1/datasets/{id}/"
STATE = State(
    limits=(
        LimitState("standard", 100, 60.0, 10, 42, 5, 3, True),
        LimitState("burst", 20, 1.0, 0, 20, 0, 0, False),
    ),
    in_flight=7,
    queued=3,
    queue_size=1000,
    pauses={"standard": 12.5},
    breakers=(BreakerState("upstream", "half_open", False), BreakerState("exports", "open", True)),
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Settings(), version="1.2.3")


def page(metrics: Metrics, state: State = STATE) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Read the page back: values by series and labels."""
    body, _ = metrics.render("", state)
    series: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in parse_text(body.decode()):
        for one in family.samples:
            series.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return series


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return page(metrics).get(f"avala_proxy_{name}", {}).get(tuple(sorted(labels.items())))


def attempt(
    status: int | None = 200,
    error_class: ErrorClass = ErrorClass.NONE,
    fault: Fault = Fault.NONE,
    *,
    method: str = "GET",
    written: bool = True,
) -> AttemptEnded:
    return AttemptEnded(method, ROUTE, status, error_class, fault, 0.2, written)


def ended(
    status: int | None = 200,
    error_class: ErrorClass = ErrorClass.NONE,
    fault: Fault = Fault.NONE,
    method: str = "GET",
) -> ExchangeEnded:
    return ExchangeEnded(
        "id",
        method,
        ROUTE,
        status,
        error_class,
        fault,
        None,
        1,
        3.0,
        2.5,
        0.2,
        "standard",
        "5e1f",
        "ci",
        "nightly",
        "192.0.2.1",
        False,
        None,
    )


def failed(error_class: ErrorClass, fault: Fault) -> Failed:
    return Failed("id", "GET", ROUTE, None, error_class, fault, None)


def test_what_a_client_got_is_counted_by_method_route_status_and_class(metrics: Metrics) -> None:
    tell(metrics, ended())
    tell(metrics, ended())
    tell(metrics, ended(404, ErrorClass.NOT_FOUND, Fault.CLIENT))
    good = {"method": "GET", "route": ROUTE, "status": "200", "error_class": "none"}
    assert value(metrics, "requests_total", **good) == 2
    bad = {"method": "GET", "route": ROUTE, "status": "404", "error_class": "not_found"}
    assert value(metrics, "requests_total", **bad) == 1
    assert value(metrics, "request_duration_seconds_sum", route=ROUTE) == 9.0


def test_attempts_that_were_never_written_are_errors_but_no_calls_of_the_api(metrics: Metrics) -> None:
    tell(metrics, attempt())
    tell(metrics, attempt(None, ErrorClass.CONNECTION_REFUSED, Fault.NETWORK, written=False))
    tell(metrics, attempt(None, ErrorClass.READ_TIMEOUT, Fault.NETWORK))
    assert page(metrics)["avala_proxy_upstream_attempts_total"] == {
        (("error_class", "none"), ("method", "GET"), ("route", ROUTE), ("status", "200")): 1,
        (("error_class", "read_timeout"), ("method", "GET"), ("route", ROUTE), ("status", "none")): 1,
    }
    assert value(metrics, "upstream_duration_seconds_count", route=ROUTE) == 2


def test_what_failed_is_an_error_of_its_class_and_nothing_else_is(metrics: Metrics) -> None:
    tell(metrics, attempt(None, ErrorClass.READ_TIMEOUT, Fault.NETWORK))
    tell(metrics, ended(502, ErrorClass.READ_TIMEOUT, Fault.NETWORK))
    assert "avala_proxy_errors_total" not in page(metrics)
    tell(metrics, failed(ErrorClass.READ_TIMEOUT, Fault.NETWORK))
    assert value(metrics, "errors_total", error_class="read_timeout", fault="network") == 1


def test_a_refusal_of_ours_is_counted_by_reason(metrics: Metrics) -> None:
    tell(metrics, Rejected(ROUTE, ErrorClass.QUEUE_TIMEOUT))
    assert value(metrics, "rejected_total", reason="queue_timeout") == 1


def test_a_configuration_that_was_bad_is_shown_until_one_is_good(metrics: Metrics) -> None:
    assert value(metrics, "config_reload_successful") == 1
    tell(metrics, LifecycleChanged("reload_failed", "Nothing was changed."))
    tell(metrics, LifecycleChanged("draining", ""))
    assert value(metrics, "config_reload_successful") == 0
    tell(metrics, LifecycleChanged("reloaded", ""))
    assert value(metrics, "config_reload_successful") == 1


def test_retries_waits_and_pauses_are_counted(metrics: Metrics) -> None:
    tell(metrics, Retried(ROUTE, ErrorClass.UNAVAILABLE))
    tell(metrics, RetryStopped(ROUTE, ErrorClass.UNAVAILABLE, "deadline"))
    tell(metrics, Admitted(ROUTE, "inference", 42.0))
    tell(metrics, LimitPaused("standard", 12.0))
    assert value(metrics, "retries_total", error_class="unavailable") == 1
    assert value(metrics, "retries_stopped_total", error_class="unavailable", reason="deadline") == 1
    assert value(metrics, "queue_wait_seconds_bucket", limit="inference", le="30.0") == 0
    assert value(metrics, "queue_wait_seconds_bucket", limit="inference", le="60.0") == 1
    assert value(metrics, "limit_pauses_total", limit="standard") == 1


def test_requests_of_others_are_counted_by_limit(metrics: Metrics) -> None:
    tell(metrics, ForeignSeen("standard", 3))
    tell(metrics, ForeignSeen("standard", 2))
    assert value(metrics, "foreign_requests_total", limit="standard") == 5


def test_the_shared_store_is_there_or_not(metrics: Metrics) -> None:
    assert (value(metrics, "ledger_up"), value(metrics, "replicas")) == (1, 1)
    for reason in (*LEDGER_REASONS, LEDGER_REASONS[0]):
        tell(metrics, LedgerFailed(reason))
    assert value(metrics, "ledger_failures_total", reason="refused") == 2
    series = page(metrics, replace(STATE, ledger_up=False, replicas=4))
    assert series["avala_proxy_ledger_up"] == {(): 0}
    assert series["avala_proxy_replicas"] == {(): 4}


def test_a_breaker_is_in_one_of_three_states(metrics: Metrics) -> None:
    series = page(metrics)["avala_proxy_breaker_state"]
    states = {tuple(value for _, value in labels): is_in for labels, is_in in series.items()}
    assert states == {
        ("upstream", "closed"): 0,
        ("upstream", "open"): 0,
        ("upstream", "half_open"): 1,
        ("exports", "closed"): 0,
        ("exports", "open"): 1,
        ("exports", "half_open"): 0,
    }


def test_an_event_that_no_series_counts_is_let_pass(metrics: Metrics) -> None:
    before = {name for name in page(metrics) if name.startswith("avala_proxy_")}
    tell(metrics, LifecycleChanged("draining", ""))
    assert {name for name in page(metrics) if name.startswith("avala_proxy_")} == before


def test_limits_are_on_the_page_from_the_start(metrics: Metrics) -> None:
    assert value(metrics, "limit_capacity", limit="standard") == 100
    assert value(metrics, "limit_remaining", limit="standard") == 42
    assert value(metrics, "limit_paused", limit="standard") == 1
    assert value(metrics, "limit_paused", limit="burst") == 0
    assert value(metrics, "limit_reserve", limit="standard") == 10
    assert value(metrics, "limit_foreign", limit="standard") == 5
    assert value(metrics, "limit_window_seconds", limit="standard") == 60
    assert value(metrics, "queue_depth", limit="standard") == 3
    assert (value(metrics, "queued"), value(metrics, "queue_size")) == (3, 1000)
    assert value(metrics, "draining") == 0
    assert value(metrics, "in_flight") == 7


def test_it_says_what_runs_and_how_it_is_configured(metrics: Metrics) -> None:
    (build,) = page(metrics)["avala_proxy_build_info"]
    assert {"version", "python", "aiohttp"} == dict(build).keys()
    assert dict(build)["version"] == "1.2.3"
    (before,) = page(metrics)["avala_proxy_config_info"]
    assert dict(before)["upstream"] == "https://api.avala.ai"
    metrics.configured(Settings.model_validate({"queue": {"size": 5}}))
    (after,) = page(metrics)["avala_proxy_config_info"]
    assert dict(after)["hash"] != dict(before)["hash"]


def test_the_process_and_the_interpreter_are_on_the_page(metrics: Metrics) -> None:
    series = page(metrics)
    assert {"process_cpu_seconds_total", "python_info", "python_gc_collections_total"} <= series.keys()


def test_unknown_methods_and_impossible_statuses_do_not_grow_the_page(metrics: Metrics) -> None:
    for number in range(1000):
        tell(metrics, ended(1000 + number, method=f"M{number}"))
        tell(metrics, attempt(-number - 1, method=f"M{number}"))
    labels = {"method": "other", "route": ROUTE, "status": "other", "error_class": "none"}
    assert value(metrics, "requests_total", **labels) == 1000
    assert value(metrics, "upstream_attempts_total", **labels) == 1000


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain", parse_text),
        ("*/*", "text/plain", parse_text),
        (
            "application/openmetrics-text; version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text",
            parse_open,
        ),
        ("application/openmetrics-text; version=nonsense", "text/plain", parse_text),
    ],
)
def test_the_page_is_in_the_format_asked_for_and_without_times_of_creation(
    metrics: Metrics, accept: str, content_type: str, parse: Callable[[str], object]
) -> None:
    tell(metrics, ended())
    tell(metrics, Admitted(ROUTE, "standard", 1.0))
    body, said = metrics.render(accept, STATE)
    assert said.startswith(content_type)
    assert list(parse(body.decode()))  # type: ignore[call-overload]
    assert b"_created" not in body


def test_a_duration_points_to_a_trace_where_there_is_one_and_the_format_allows_it() -> None:
    ids = iter(["4bf92f35", "4bf92f35", None])
    metrics = Metrics(Settings(), version="1", trace=lambda: next(ids))
    tell(metrics, attempt())
    tell(metrics, ended())
    tell(metrics, replace(ended(), route="/api/v1/exports/"))
    assert b"4bf92f35" not in metrics.render("", STATE)[0]
    page = metrics.render("application/openmetrics-text; version=1.0.0", STATE)[0].decode()
    pointed = {
        (one.name, one.labels["route"]): one.exemplar.labels
        for family in parse_open(page)  # type: ignore[no-untyped-call]
        for one in family.samples
        if one.exemplar
    }
    assert pointed == {
        (f"avala_proxy_{name}_duration_seconds_bucket", ROUTE): {"trace_id": "4bf92f35"}
        for name in ("request", "upstream")
    }


def test_what_others_in_the_process_count_is_left_alone(metrics: Metrics) -> None:
    other = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("mine", "Mine.", registry=other).inc()
    metrics.render("", STATE)
    assert b"mine_created" in prometheus_client.generate_latest(other)
    Metrics(Settings(), version="1")  # no series is registered twice


def test_no_credential_or_client_is_on_the_page(metrics: Metrics) -> None:
    tell(metrics, ended())
    body, _ = metrics.render("", STATE)
    for private in (b"5e1f", b"192.0.2.1", b"limit_wait_for_credential"):
        assert private not in body


def test_the_page_can_be_written_in_a_thread_while_events_come(metrics: Metrics) -> None:
    pages: list[bytes] = []
    scrape = threading.Thread(target=lambda: pages.extend(metrics.render("", STATE)[0] for _ in range(20)))
    scrape.start()
    while scrape.is_alive():
        for number in range(100, 999):
            tell(metrics, ended(number))
    assert len(pages) == 20


# How large the page gets, whatever happens.

MOST_SERIES, MOST_BYTES = 2000, 300_000
"""What `docs/metrics.md` promises, with the documented limits."""


def routes(count: int) -> list[str]:
    """Return routes of the API, and others that can be learned, the longest first."""
    learned = [f"/learned/{n:03}/".ljust(LONGEST_LEARNED, "x") for n in range(count - len(KNOWN_ROUTES))]
    return sorted((*learned, *KNOWN_ROUTES), key=len, reverse=True)


def all_that_can_be_counted() -> Iterator[Event]:
    """Yield what makes every series that there can be: each label with each of its values."""
    methods, statuses = sorted(METHODS | {"BREW"}), (None, 100, 200, 404, 599, 999, 1000)
    seconds = cycle(bucket + 0.001234 for bucket in (0.0, *CALLS, *WAITS))
    for route in routes(400):
        yield Coalesced(route)
        for method, status, (error_class, fault) in zip(
            cycle(methods), cycle(statuses), FAULT_OF.items(), strict=False
        ):
            took = next(seconds)
            yield replace(ended(status, error_class, fault, method), route=route, duration=took)
            yield replace(attempt(status, error_class, fault, method=method), route=route, seconds=took)
    for method, status, (error_class, fault) in product(methods, range(100, 1000, 50), FAULT_OF.items()):
        yield ended(status, error_class, fault, method)
        yield attempt(status, error_class, fault, method=method)
    for error_class, fault in FAULT_OF.items():
        yield failed(error_class, fault)
        if fault is Fault.PROXY:
            yield Rejected(ROUTE, error_class)
            yield Observed(ROUTE, "none", 0.0, error_class)
    for error_class in TRANSIENT:
        yield Retried(ROUTE, error_class)
        yield from (RetryStopped(ROUTE, error_class, reason) for reason in get_args(Reason))
    for limit in (*(limit.name for limit in DOCUMENTED_LIMITS), "breaker", "none"):
        yield from (Admitted(ROUTE, limit, 1.0), Observed(ROUTE, limit, 1.0, None))
        yield from (LimitPaused(limit, 1.0), ForeignSeen(limit, 1))
    yield from (LedgerFailed(reason) for reason in LEDGER_REASONS)


def crowded() -> State:
    """Return the state of a proxy with the documented limits and some groups of routes."""
    return State(
        limits=tuple(
            LimitState(limit.name, limit.size, limit.per or 0.0, 0, 1, 1, 1, True)
            for limit in DOCUMENTED_LIMITS
        ),
        breakers=tuple(BreakerState(f"group_{n}", "half_open", False) for n in range(4)),
    )


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_whatever_happens_the_page_has_fewer_series_and_bytes_than_promised(accept: str) -> None:
    metrics = Metrics(Settings(), version="1.2.3", trace=lambda: "0123456789abcdef" * 2)
    for event in all_that_can_be_counted():
        tell(metrics, event)
    body, _ = metrics.render(accept, crowded())
    series = Counter(
        line.partition(b" ")[0].partition(b"{")[0].decode() for line in body.splitlines() if line[:1] != b"#"
    )
    assert series.total() < MOST_SERIES, series.most_common()
    assert len(body) < MOST_BYTES, series.most_common()
