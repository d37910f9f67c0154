"""Where settings are written: the TOML file, the environment, the command line, each beating the one before.

The only place where the file and the environment are read. What is wrong with a source itself (no file, no
TOML, a name that is no setting) is found here; what is wrong with a value, the models find.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource

from proxy import config_report
from proxy.config_report import Problem

PREFIX = "AVALA_PROXY_"
FILE_VARIABLE = f"{PREFIX}CONFIG"

# Kubernetes gives every pod variables for every Service: one called `avala-proxy` makes AVALA_PROXY_PORT
# and AVALA_PROXY_SERVICE_HOST, which are nobody's mistake.
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(?:[A-Z0-9]+_)*(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)=.*"
    r"|PORT(?:_\d+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://.*|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)=.*)"
)

Values = dict[str, Any]


class _Environment(EnvSettingsSource):
    """Read nested settings from the variables that are handed in."""

    def __init__(self, model: type[BaseSettings], variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(model)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._variables.items()}


@dataclass(frozen=True, slots=True)
class Sources:
    """What each source says, and what is wrong with the sources themselves."""

    file_name: str
    file: Values
    variables: Mapping[config_report.Path, str]
    environment: Values
    overrides: Mapping[str, Any]
    problems: tuple[Problem, ...]

    def merged(self) -> Values:
        """Put the sources together, key by key; a list is one value."""
        return _merge(_merge(self.file, self.environment), self.overrides)

    def where(self, path: config_report.Path) -> str:
        """Name a setting and the source that its value comes from."""
        name = config_report.dotted(path)
        if _holds(self.overrides, path):
            return f"{name} (from the command line)"
        if _holds(self.environment, path):
            return f"{name} (from the environment variable {self._variable(path)})"
        return f"{name} in {self.file_name}" if _holds(self.file, path) else name

    def _variable(self, path: config_report.Path) -> str:
        """Name the variable that holds a path, or else one of those that hold a part of it."""
        around = [known for known in self.variables if path[: len(known)] == known]
        below = [known for known in self.variables if known[: len(path)] == path]
        return self.variables[max(around, key=len) if around else below[0]]


def read(model: type[BaseSettings], path: Path | None, overrides: Mapping[str, Any]) -> Sources:
    """Read every source; `path` None means the file that the environment names, if it does."""
    named = os.environ.get(FILE_VARIABLE)
    source = "" if path or not named else f" (named by the environment variable {FILE_VARIABLE})"
    path = path or (Path(named) if named else None)
    file, file_problems = _read_file(path, source) if path else ({}, ())
    variables, problems = _screen(model, dict(_ours(os.environ)))
    known = {_path(name): name for name in variables}
    environment = _Environment(model, variables)()
    return Sources(str(path), file, known, environment, overrides, (*file_problems, *problems))


def _read_file(path: Path, source: str) -> tuple[Values, tuple[Problem, ...]]:
    problem: tuple[str, str]
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig")), ()
    except FileNotFoundError:
        problem = "does not exist", "the path of a TOML file"
    except IsADirectoryError:
        problem = "is a directory", "the path of a TOML file in it"
    except OSError as error:
        problem = f"can't be read: {error.strerror}", "a file that the proxy's user may read"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = f"is not text: line {line} is not UTF-8", "TOML in UTF-8"
    except (ValueError, RecursionError) as error:
        problem = f"is not TOML: {error}", "TOML, such as config/avala.toml"
    return {}, (Problem(f"{path}{source}", *problem),)


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pick the variables that are settings of ours, or want to be; an empty one counts as not set."""
    for name, value in environ.items():
        ours = name.upper().startswith(PREFIX) and name.upper() != FILE_VARIABLE
        if ours and value and not _SERVICE_LINK.fullmatch(f"{name}={value}"):
            yield name, value


def _screen(model: type[BaseSettings], variables: dict[str, str]) -> tuple[dict[str, str], list[Problem]]:
    problems = {name: _fault(model, name, value) for name, value in variables.items()}
    good = {name: value for name, value in variables.items() if problems[name] is None}
    return good, [problem for problem in problems.values() if problem]


def _fault(model: type[BaseSettings], name: str, value: str) -> Problem | None:
    path = _path(name)
    where = f"{config_report.dotted(path)} (from the environment variable {name})"
    leaves = set(config_report.leaves(model))
    tables = {leaf[:depth] for leaf in leaves for depth in range(1, len(leaf))}
    if path not in leaves | tables:
        known = next(depth for depth in range(len(path)) if path[: depth + 1] not in leaves | tables)
        if config_report.is_list(model, path[:known]):
            return Problem(
                where, "is a part of a list", f"all of it as JSON, in {_variable_of(path[:known])}"
            )
        return config_report.unknown(path[: known + 1], model, where)
    if path in tables or config_report.is_list(model, path):
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return Problem(where, "is not JSON", f"JSON of {config_report.describe(model, path)}")
    return None


def _path(name: str) -> config_report.Path:
    return tuple(name[len(PREFIX) :].lower().split("__"))


def _variable_of(path: config_report.Path) -> str:
    return PREFIX + "__".join(map(str, path)).upper()


def _holds(values: Mapping[str, Any], path: config_report.Path) -> bool:
    """Tell whether a source says something about a path, or has a list that leads there."""
    node: Any = values
    for part in path:
        if not isinstance(node, Mapping):
            return True
        if part not in node:
            return False
        node = node[part]
    return True


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            both[key] = _merge(old, value)
        else:
            both[key] = value
    return both
