"""What an expression of PromQL speaks of: metrics, and the values that labels are compared with."""

import re

from proxy.config import Settings
from proxy.state import State
from proxy.telemetry.metrics import Metrics

_STRING = r'"(?:[^"\\]|\\.)*"'
_COMMENT = re.compile(r"(?m)#.*$")
_NO_METRICS = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]|offset\s+\w+"
)
_NAME = re.compile(r"(?<![\w.])[A-Za-z_:][A-Za-z0-9_:]*(?!\s*\(|[A-Za-z0-9_:])")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"})
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_EXPANDED = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}

OWN_OF_PROMETHEUS = frozenset({"up", "ALERTS"})
"""Metrics that no page has."""


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics that an expression asks for."""
    bare = _NO_METRICS.sub(" ", re.sub(_STRING, '""', _COMMENT.sub("", expression)))
    return {name for name in _NAME.findall(bare) if name not in _WORDS}


def values_of(expression: str, label: str) -> set[str]:
    """Return the plain values that a label is compared with in an expression."""
    return {
        value
        for name, _, text in _MATCHER.findall(_COMMENT.sub("", expression))
        if name == label
        for value in text[1:-1].split("|")
        if re.fullmatch(r"\w+", value)
    }


def metrics_of_the_page() -> frozenset[str]:
    """Return the names of all metrics that the proxy can have, also of those without a sample yet."""
    page, _ = Metrics(Settings(), version="0").render("", State())
    families = re.findall(r"(?m)^# TYPE (\S+) (\S+)$", page.decode())
    return frozenset(name + end for name, kind in families for end in _EXPANDED.get(kind, ("",)))
