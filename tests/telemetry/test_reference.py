"""The page about the metrics is what the code says."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from proxy.config import Settings
from proxy.state import State
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.reference import pages
from proxy.telemetry.series import ALL, LABELS, PREFIX

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == pages(), "say `make docs`"


def test_every_series_of_the_metrics_page_is_on_it_with_its_type_and_its_words() -> None:
    body, _ = Metrics(Settings(), version="1").render("", State())
    served = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(body.decode())
        if family.name.startswith(PREFIX)
    }
    told = {
        one.full_name + ("_info" if one.kind == "info" else ""): (
            "gauge" if one.kind == "info" else one.kind,
            one.tells,
        )
        for one in ALL
    }
    assert served == told


def test_every_label_is_explained_and_nothing_else_is() -> None:
    assert {label for one in ALL for label in one.labels} == LABELS.keys()


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    for one in ALL:
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert one.name.endswith("_info") == (one.kind == "info")
        assert bool(one.buckets) == (one.kind == "histogram")
        if one.kind == "histogram":
            assert one.name.endswith("_seconds")
            assert list(one.buckets) == sorted(set(one.buckets))
        assert one.tells.endswith(".")
