"""The first line says whether there is a configuration, and where it comes from."""

from pathlib import Path

import pytest

from proxy.doctor.configuration import read
from proxy.doctor.report import Result


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVALA_PROXY_CONFIG", raising=False)


def test_without_any_it_is_the_defaults() -> None:
    finding, settings = read(None, {})
    assert finding.detail == "It is valid; all of it is the defaults."
    assert settings is not None


def test_file_environment_and_command_line_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[retry]\nmax_retries = 1\n")
    monkeypatch.setenv("AVALA_PROXY_LOG__LEVEL", "error")
    finding, settings = read(path, {"upstream": {"base_url": "https://eu.example"}})
    assert finding.detail == f"It is valid; it comes from {path}, AVALA_PROXY_LOG__LEVEL, the command line."
    assert settings is not None
    assert (settings.retry.max_retries, settings.log.level) == (1, "error")
    monkeypatch.setenv("AVALA_PROXY_CONFIG", str(path))
    assert f"from {path}, AVALA_PROXY_LOG__LEVEL." in read(None, {})[0].detail


def test_every_problem_is_shown_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text('[retry]\nmax_retries = -1\nmax_retrys = 3\n[credential]\nvalue = "avk secret"\n')
    finding, settings = read(path, {})
    assert settings is None
    assert finding.result is Result.FAIL
    assert finding.detail.startswith("3 problems:\n")
    for name in ("retry.max_retries", "retry.max_retrys", "credential.value"):
        assert name in finding.detail
    assert "avk secret" not in finding.detail


def test_a_single_problem_is_one(tmp_path: Path) -> None:
    finding, _ = read(tmp_path / "missing.toml", {})
    assert finding.detail.startswith("1 problem:\n")
    assert "does not exist" in finding.detail
