"""How the configuration is told to people: what is wrong with it, and what it is.

It knows no setting by name; the words come from the models' own JSON schema, so a new setting is described
without a change here. It never repeats a value that may hold a secret.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import tomli_w
from pydantic import BaseModel, SecretStr, ValidationError

from proxy.config_values import UnfitError

Path = tuple[str | int, ...]
"""Where a value is: the keys, and the positions in lists, that lead to it."""

MASK = "********"
_MAY_BE_SECRET = re.compile(r"avk_|bearer|@|\?.*=", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9.]+")
_LONGEST_SHOWN = 60
_SHORTEST = 8
"""Characters of a secret that is looked for in what is said."""
_NEAR = 0.6
"""So alike (0 to 1) is a key to the setting that may have been meant."""
_TYPO = 0.8
"""The same where secrets are: a key is repeated then, and may be one itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it is written, what it is, and what is allowed there."""

    where: str
    what: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}; allowed: {self.allowed}"


class ConfigError(Exception):
    """The configuration can't be used; `problems` names everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def dotted(path: Path) -> str:
    """Write a path as people do: `limits[2].per`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def problems(
    error: ValidationError, model: type[BaseModel], where: Callable[[Path], str]
) -> Iterator[Problem]:
    """Tell what pydantic found, in our words; `where` says in which source a path was written."""
    schema = _schema(model)
    for found in error.errors(include_url=False):
        path, cause = found["loc"], found.get("ctx", {}).get("error")
        if found["type"] == "extra_forbidden":
            yield unknown(path, model, where(path))
        elif isinstance(cause, UnfitError):
            yield Problem(where(path + cause.at), cause.what, cause.allowed)
        elif found["type"] == "missing":
            yield Problem(where(path), "is missing", _describe(_node(schema, path), schema))
        else:
            allowed = str(cause) if cause else _describe(_node(schema, path), schema)
            yield Problem(where(path), f"is {_shown(found['input'], _node(schema, path), schema)}", allowed)


def refused(problems: Iterable[Problem], values: Mapping[str, Any], model: type[BaseModel]) -> ConfigError:
    """Make the error of problems; a secret among the values may have been written in a wrong place, too."""
    schema = _schema(model)
    secrets = sorted(_secrets(values, schema, schema), key=len, reverse=True)

    def masked(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASK)
        return text

    return ConfigError(
        tuple(Problem(masked(one.where), masked(one.what), masked(one.allowed)) for one in problems)
    )


def _secrets(value: Any, node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Go through what stands where secrets do; what is short may be a part of any word."""
    node = _resolved(node, schema)
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _secrets(item, node.get("properties", {}).get(key, {}), schema)
        case list() | tuple():
            for item in value:
                yield from _secrets(item, node.get("items", {}), schema)
        case str() if node.get("writeOnly") and len(value) >= _SHORTEST:
            yield value


def unknown(path: Path, model: type[BaseModel], where: str) -> Problem:
    """Say that a key is not a setting, and which one may have been meant."""
    schema = _schema(model)
    siblings = list(_node(schema, path[:-1]).get("properties", {}))
    # A secret may stand in the place of a key, as when a variable holds JSON of another shape.
    exposed = len(path) > 1 and _holds_secrets(_node(schema, path[:-1]), schema)
    likeness = _TYPO if exposed else _NEAR
    close = difflib.get_close_matches(str(path[-1]), siblings, n=1, cutoff=likeness)
    elsewhere = [leaf for leaf in leaves(model) if leaf[-1] == path[-1]]
    if elsewhere:
        allowed = f"{dotted(elsewhere[0])} (of the same name)"
    elif close:
        allowed = f"{dotted((*path[:-1], close[0]))} (the nearest)"
    else:
        allowed = f"one of {', '.join(siblings)}" if siblings else "no keys here"
        if exposed:
            where = where.replace(dotted(path), dotted((*path[:-1], "…")), 1)
    return Problem(where, "is not a setting", allowed)


def leaves(model: type[BaseModel]) -> Iterator[Path]:
    """Go through every setting that a table holds directly; a list counts as one."""
    schema = _schema(model)

    def under(path: Path) -> Iterator[Path]:
        keys = _node(schema, path).get("properties", {})
        for key in keys:
            yield from under((*path, key))
        if not keys:
            yield path

    return under(())


def describe(model: type[BaseModel], path: Path) -> str:
    """Say what is allowed at a path."""
    schema = _schema(model)
    return _describe(_node(schema, path), schema)


def is_list(model: type[BaseModel], path: Path) -> bool:
    """Tell whether a setting is a list."""
    return _node(_schema(model), path).get("type") == "array"


@cache
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _node(schema: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    node = _resolved(schema, schema)
    for part in path:
        below = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        node = _resolved(below, schema)
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, and take what is not null of what may be null."""
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            node = choice
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return schema["$defs"][name] if name else node


def _describe(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "enum" in node:
        *most, last = (json.dumps(value) for value in node["enum"])
        return f"{', '.join(most)} or {last}"
    match node.get("type"):
        case "integer":
            return f"a whole number{_bounds(node)}"
        case "number":
            return f"a number{_bounds(node)}"
        case "boolean":
            return "true or false"
        case "array":
            return f"a list, each {_describe(_resolved(node['items'], schema), schema)}"
        case "object":
            return f"a table with {', '.join(node['properties'])}"
    return f"text like {node['pattern']}" if "pattern" in node else "text"


def _bounds(node: Mapping[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return f" above {node['exclusiveMinimum']}" if "exclusiveMinimum" in node else ""


def _holds_secrets(node: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Tell whether a setting, or one in the table or list that it is, is secret."""
    node = _resolved(node, schema)
    below = [*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])]
    return bool(node.get("writeOnly")) or any(_holds_secrets(one, schema) for one in below)


def _shown(value: object, node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    # Numbers from the environment are text; people see them as numbers.
    number = isinstance(value, str) and _NUMBER.fullmatch(value)
    text = str(value) if number else json.dumps(value, default=str)
    if _holds_secrets(node, schema) or _MAY_BE_SECRET.search(text):
        return "a value that may hold a secret, so it is not shown"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def effective(settings: BaseModel) -> str:
    """Write every setting in force as TOML, which `config.load` reads again; secrets are masked."""
    return tomli_w.dumps(_plain(settings.model_dump()))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            # TOML has no null: a setting that is None is one that is not there.
            return {key: _plain(item) for key, item in value.items() if item is not None}
        case tuple() | list():
            return [_plain(item) for item in value]
        case SecretStr():
            return MASK
    return value
