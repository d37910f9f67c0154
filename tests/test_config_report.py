"""How the configuration is told to people."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError

from proxy import config_report
from proxy.config import ConfigError, Settings, load


class Door(BaseModel, extra="forbid"):
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


class House(BaseModel, extra="forbid"):
    door: Door = Door()
    size: int = 1


def told_of(values: dict[str, object]) -> str:
    """Return the one thing that is wrong with a house."""
    with pytest.raises(ValidationError) as refused:
        House.model_validate(values)
    (problem,) = config_report.problems(refused.value, House, config_report.dotted)
    return str(problem)


def test_a_key_with_a_typo_is_repeated_beside_the_one_that_was_meant_though_its_table_holds_secrets() -> None:
    assert told_of({"door": {"widht": "hunter2"}}) == (
        "door.widht is not a setting; allowed: door.width (the nearest)"
    )
    assert told_of({"door": {"size": "hunter2"}}) == (
        "door.size is not a setting; allowed: size (of the same name)"
    )


@pytest.mark.parametrize("key", ["hunter2", "code-hunter2", "width=hunter2", "note_hunter2", ""])
def test_a_key_that_is_like_no_other_may_be_a_secret_where_secrets_are(key: str) -> None:
    told = told_of({"door": {key: "hunter2"}})
    assert told == "door.… is not a setting; allowed: one of code, note, width, share, parts"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "adresses = []",
            "listen.adresses in FILE is not a setting; allowed: listen.addresses (the nearest)",
        ),
        (
            'admin_tokn = "hunter2"',
            "listen.admin_tokn in FILE is not a setting; allowed: listen.admin_token (the nearest)",
        ),
        (
            'base_url = "hunter2"',
            "listen.base_url in FILE is not a setting; allowed: upstream.base_url (of the same name)",
        ),
        ('admin_token_hunter2 = "hunter2"', "listen.… in FILE is not a setting; allowed: one of addresses, "),
    ],
)
def test_a_wrong_key_beside_the_admin_token_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "avala.toml"
    file.write_text(f"[listen]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(refused.value).replace(str(file), "FILE").startswith(told)
    assert "hunter2" not in str(refused.value)


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
