"""The rules and alerts: Prometheus takes them, each is tried in a story, and people are told what to do."""

import re
from itertools import chain
from typing import Any

import pytest

from proxy.errors import ErrorClass, Fault
from proxy.policy.classify import FAULT_OF
from tests.deploy.programs import promtool
from tests.deploy.promql import OWN_OF_PROMETHEUS, metrics_of, metrics_of_the_page, values_of
from tests.deploy.shipped import PROMETHEUS, ROOT, RUNBOOKS, document, panels, rules, shown

RULES, ALERTS = rules("rules.yml"), rules("alerts.yml")
STORIES: list[dict[str, Any]] = document(PROMETHEUS / "tests.yml")["tests"]
NAMES = {alert["alert"] for alert in ALERTS}
SECTIONS = dict(re.findall(r"(?ms)^## (\w+)\n\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text()))
EXPRESSIONS = [rule["expr"] for rule in RULES + ALERTS] + [one.text for one in shown()]

MADE_BY_CLIENTS = {
    ErrorClass.BAD_REQUEST,
    ErrorClass.REQUEST_TOO_LARGE,
    ErrorClass.REQUEST_TIMEOUT,
    ErrorClass.UNAUTHORIZED_CLIENT,
    ErrorClass.CLIENT_DISCONNECTED,
}
"""Refusals of the proxy that say nothing against it."""


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", "--lint-fatal", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")
    promtool("check", "config", "--lint-fatal", PROMETHEUS / "prometheus.yml")


def test_the_stories_come_out() -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / "tests.yml")


@pytest.mark.parametrize(
    ("alert", "severity"), [(one["alert"], one["labels"]["severity"]) for one in ALERTS], ids=str
)
def test_an_alert_fires_in_a_story_and_ends(alert: str, severity: str) -> None:
    def ends(story: dict[str, Any]) -> bool:
        seen = [check for check in story["promql_expr_test"] if "ALERTS" in check["expr"]]
        fired = [
            any(alert in one["labels"] and severity in one["labels"] for one in check["exp_samples"])
            for check in seen
        ]
        return any(fired) and not seen[-1]["exp_samples"]

    assert any(ends(story) for story in STORIES)


def test_each_recorded_rule_has_a_value_that_is_expected() -> None:
    checks = chain.from_iterable(story["promql_expr_test"] for story in STORIES)
    tried = set(chain.from_iterable(metrics_of(check["expr"]) for check in checks if check["exp_samples"]))
    assert {rule["record"] for rule in RULES} - tried == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_an_alert_says_what_it_means_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert re.fullmatch("AvalaProxy[A-Za-z]+", alert["alert"])
    assert alert["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    said = alert["annotations"]
    assert set(said) == {"summary", "description", "runbook"}
    assert said["summary"].endswith(".")
    assert said["description"].endswith(".")
    assert said["runbook"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert set(SECTIONS) == NAMES


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_runbook_says_what_it_means_whose_it_is_where_to_look_and_what_to_do(name: str) -> None:
    points = re.findall(r"(?m)^- \*\*([\w ]+)\*\*: ", SECTIONS[name])
    assert points == ["Meaning", "Whose", "Look at", "Do"]


def test_runbooks_name_panels_that_there_are() -> None:
    titles = {panel["title"] for panel in panels()}
    on_one_line = " ".join("".join(SECTIONS.values()).split())
    named = set(re.findall(r'"([A-Z][^"]+)"', on_one_line))
    assert named
    assert named - titles == set()


def test_runbooks_name_log_lines_that_there_are() -> None:
    written = "".join(path.read_text() for path in (ROOT / "proxy").rglob("*.py"))
    looks = re.findall(r"(?m)^- \*\*Look at\*\*: (.*(?:\n  .*)*)", "\n".join(SECTIONS.values()))
    # `breaker_open` and its like are put together from the state.
    events = set(re.findall(r"`([a-z]+_[a-z_]+)`", "".join(looks))) - {"error_class", "breaker_open"}
    assert events
    assert [event for event in events if f'"{event}"' not in written] == []


def test_every_metric_that_is_asked_for_exists() -> None:
    known = metrics_of_the_page() | OWN_OF_PROMETHEUS | {rule["record"] for rule in RULES}
    asked = set(chain.from_iterable(metrics_of(expression) for expression in EXPRESSIONS))
    missing = sorted(asked - known)
    assert not missing, f"not on the page: {', '.join(missing)}"


def test_every_metric_of_the_proxy_is_on_the_dashboard() -> None:
    on_it = set(chain.from_iterable(metrics_of(one.text) for one in shown()))
    ours = {name for name in metrics_of_the_page() if name.startswith("avala_proxy_")}
    timed = {name for name in ours if name.endswith(("_sum", "_count"))}
    assert ours - timed - on_it == set()


def test_every_class_and_fault_that_is_asked_for_exists() -> None:
    classes = set(chain.from_iterable(values_of(text, "error_class") for text in EXPRESSIONS))
    faults = set(chain.from_iterable(values_of(text, "fault") for text in EXPRESSIONS))
    assert classes - set(ErrorClass) == set()
    assert faults - set(Fault) == set()


def test_no_request_is_answered_well_that_the_api_the_network_or_the_proxy_failed() -> None:
    failed = {
        error_class
        for error_class, fault in FAULT_OF.items()
        if fault in (Fault.UPSTREAM, Fault.NETWORK, Fault.PROXY)
    }
    (rule,) = [rule["expr"] for rule in RULES if rule["record"] == "avala_proxy:failed_requests:increase5m"]
    (panel,) = [one.text for one in shown() if one.place == "Answered well"]
    assert values_of(rule, "error_class") == failed - MADE_BY_CLIENTS
    assert values_of(panel, "error_class") == failed - MADE_BY_CLIENTS
