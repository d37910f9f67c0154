"""How the configuration is told to people."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError

from proxy import config_report
from proxy.config import Settings, load


class Door(BaseModel):
    code: SecretStr = SecretStr("hunter2")
    note: str | None = None
    width: int = Field(default=1, ge=1)
    share: float = 0.5
    parts: tuple[int, ...] = (1, 2)


def test_the_effective_configuration_is_toml_that_loads_to_the_same(tmp_path: Path) -> None:
    odd = tmp_path / "a\"b'c"
    odd.mkdir()
    first = load(
        None,
        {
            "upstream": {"base_url": "http://[::1]:81/v2"},
            "body": {"directory": str(odd)},
            "retry": {"routes": [{"paths": ["/x/**"], "repeat": "always"}]},
            "limits": [{"name": "a", "requests": 3, "per": 0.25, "pace": {"burst": 2, "rate": 1e-3}}],
        },
    )
    for settings in (Settings(), first):
        path = tmp_path / "effective.toml"
        path.write_text(config_report.effective(settings))
        assert load(path) == settings


def test_secrets_are_masked_and_absent_values_left_out() -> None:
    assert (
        config_report.effective(Door())
        == 'code = "********"\nwidth = 1\nshare = 0.5\nparts = [\n    1,\n    2,\n]\n'
    )


def test_a_secret_that_is_wrong_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        Door.model_validate({"code": 12345, "note": "x" * 10_000, "width": 0})
    told = [str(one) for one in config_report.problems(refused.value, Door, config_report.dotted)]
    assert told == [
        "code is a value that may hold a secret, so it is not shown; allowed: text",
        "width is 0; allowed: a whole number of at least 1",
    ]


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ValidationError) as refused:
        Door.model_validate({"width": "x" * 1000})
    (problem,) = config_report.problems(refused.value, Door, config_report.dotted)
    assert len(problem.what) < 70
    assert problem.what.endswith("…")


def test_what_is_allowed_is_said_for_every_setting() -> None:
    for path in config_report.leaves(Settings):
        assert config_report.describe(Settings, path)
    assert config_report.describe(Door, ("share",)) == "a number"
    assert config_report.describe(Door, ("parts",)) == "a list, each a whole number"


def test_every_setting_has_its_sentence() -> None:
    schema = Settings.model_json_schema()
    for name, table in schema["$defs"].items():
        for key, described in table["properties"].items():
            assert described.get("description"), f"{name}.{key}"
