"""What `deploy/` ships for Prometheus and Grafana, read as data."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
BOARD = GRAFANA / "dashboards/avala-proxy.json"
RUNBOOKS = ROOT / "docs/runbooks.md"

VARIABLES = {
    "$job": ".+",
    "$instance": ".+",
    "$limit": "standard",
    "$__rate_interval": "10s",
    "$__range": "1h",
}
"""What Grafana would put in the place of each variable of an expression."""


@dataclass(frozen=True)
class Expression:
    """One query: where it stands, and its PromQL with the variables filled in."""

    place: str
    text: str


def document(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())


def rules(name: str) -> list[dict[str, Any]]:
    """Return the rules of a file of `deploy/prometheus`, over all groups."""
    return [rule for group in document(PROMETHEUS / name)["groups"] for rule in group["rules"]]


def board() -> dict[str, Any]:
    """Return the dashboard."""
    read: dict[str, Any] = json.loads(BOARD.read_text())
    return read


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard that show something."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def shown() -> list[Expression]:
    """Return every query of the dashboard, by the title of its panel or annotation."""
    return [Expression(place, _filled(text)) for place, text in _queries()]


def _queries() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in board()["annotations"]["list"]:
        if "expr" in annotation:
            yield f"annotation {annotation['name']}", annotation["expr"]


def _filled(text: str) -> str:
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    return text
