"""The dashboard, as Grafana would read it."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.programs import promtool
from tests.deploy.shipped import BOARD, GRAFANA, VARIABLES, board, document, panels, shown

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PANELS = panels()


def test_panels_have_ids_and_titles_of_their_own() -> None:
    ids = [panel["id"] for panel in board()["panels"]]
    titles = [panel["title"] for panel in board()["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_panels_do_not_lie_upon_each_other_nor_beyond_the_edge() -> None:
    taken = {panel["title"]: panel["gridPos"] for panel in board()["panels"]}
    for one, other in combinations(taken.values(), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(place["x"] + place["w"] <= 24 for place in taken.values())


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_in_which_unit_and_from_where(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["expr"]
        assert target["datasource"] == SOURCE
        assert target["legendFormat"] or panel["type"] == "table"
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_a_panel_is_of_the_jobs_and_proxies_that_are_chosen() -> None:
    loose = [
        (panel["title"], target["expr"])
        for panel in PANELS
        for target in panel["targets"]
        for selector in re.findall(r"[a-z_]+\{[^}]*\}", target["expr"])
        if not selector.partition("{")[2].startswith('job=~"$job", instance=~"$instance"')
    ]
    assert loose == []


def test_jobs_and_proxies_can_be_chosen_several_at_once_or_all() -> None:
    variables = {one["name"]: one for one in board()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]


def test_every_variable_that_is_used_is_there() -> None:
    used = set(re.findall(r"\$\{?(\w+)", BOARD.read_text())) - {"__all"}
    own = {one["name"] for one in board()["templating"]["list"]}
    assert used - own == {name[1:] for name in VARIABLES} - own
    assert own <= used


def test_every_expression_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    recorded = [
        {"record": f"dashboard:expression_{number}:shown", "expr": one.text}
        for number, one in enumerate(shown())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))  # JSON is YAML
    assert f"{len(recorded)} rules found" in promtool("check", "rules", path)


def test_grafana_is_told_where_the_dashboard_and_prometheus_are() -> None:
    (provider,) = document(GRAFANA / "provisioning/dashboards/avala-proxy.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
    (source,) = document(GRAFANA / "provisioning/datasources/prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["isDefault"]
