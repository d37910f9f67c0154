"""The page about the log names every event and field that there is, and nothing that is not."""

import ast
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import proxy
from proxy.telemetry.logs import Logs
from tests.telemetry.lines import REQUEST, lines, logger_to
from tests.telemetry.telling import tell

PROXY = Path(proxy.__file__).parent
PAGE = (PROXY.parent / "docs" / "logs.md").read_text(encoding="utf-8")
_NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")
_TELLING = {"LifecycleChanged", "told", "_told"}
_WRITING = {"write", "debug", "info", "warning", "error"}


def events() -> set[str]:
    """Find the names that the code can write, in the code itself."""
    found = {f"breaker_{state}" for state in ("open", "half_open", "closed")}
    for path in PROXY.rglob("*.py"):
        if "sandbox" in path.parts or "doctor" in path.parts or "top" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        writes = _TELLING | (_WRITING if path.parent.name == "telemetry" else set())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _called(node) in writes and node.args:
                found |= set(_names(node.args[0]))
            # A pair of an event and its sentence, told elsewhere.
            if isinstance(node, ast.Assign) and path.name == "collector.py":
                found |= {name for name in _names(node.value) if name.startswith("traces_")}
    return found


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if _NAME.fullmatch(text):
            yield text
        case ast.Tuple(elts=[first, *_]):
            yield from _names(first)


def section(title: str) -> list[str]:
    """Return the rows of the table in a section."""
    text = PAGE.partition(f"\n## {title}")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


def first_cells(rows: list[str]) -> set[str]:
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_every_event_is_on_the_page_and_no_other() -> None:
    written = events()
    assert len(written) > 30
    assert first_cells(section("Changes of state")) | {"request"} == written


def test_every_field_of_a_requests_line_is_on_the_page_and_no_other() -> None:
    stream = io.StringIO()
    logs = Logs(lambda level: logger_to(stream), "info", trace=lambda: "4bf92f35")
    tell(logs, replace(REQUEST, would_wait=1.0))
    fields = lines(stream)[0].keys() - {"timestamp", "level", "event"}
    assert first_cells(section("A request")) == fields
