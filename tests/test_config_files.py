"""The files in config/, which people copy."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.config import Settings, load

FILES = sorted((Path(__file__).parent.parent / "config").glob("*.toml"))
COMPLETE = next(file for file in FILES if file.name == "avala.toml")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_file_loads(file: Path) -> None:
    load(file)


def test_the_complete_file_is_the_default() -> None:
    assert load(COMPLETE) == Settings()


def test_the_complete_file_names_every_setting() -> None:
    text = COMPLETE.read_text()
    for model, schema in Settings.model_json_schema()["$defs"].items():
        for key in schema["properties"]:
            assert re.search(rf"(^|[#{{,.\s`]){key}\b", text, re.MULTILINE), f"{model}.{key}"


def test_the_complete_file_sets_every_setting_that_has_a_default() -> None:
    written = tomllib.loads(COMPLETE.read_text())
    for table, value in Settings().model_dump(exclude={"limits", "clients"}).items():
        missing = {key for key, default in value.items() if default is not None} - written[table].keys()
        assert not missing, table


def test_every_setting_and_limit_of_the_complete_file_is_explained_above_it() -> None:
    lines = COMPLETE.read_text().splitlines()
    for above, line in pairwise(lines):
        table = line.startswith("[[") or re.match(r"\w+ = ", line)
        inside_limit = re.match(r"(name|requests|per|concurrent|key|match|pace) = ", line)
        if table and not inside_limit:
            assert above.startswith("# "), line
