"""What is said where something that the settings ask for is not there."""

import sys
from pathlib import Path

import pytest

from tests.test_cli import avala_proxy


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    "part", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_without_opentelemetry_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, part: str
) -> None:
    for name in ("tracing", "collector", "spans"):
        monkeypatch.delitem(sys.modules, f"proxy.telemetry.{name}", raising=False)
    monkeypatch.setitem(sys.modules, part, None)
    path = tmp_path / "traced.toml"
    path.write_text("[tracing]\nenabled = true\n")
    code, said = avala_proxy(command, "--config", str(path))
    assert code != 0
    assert "install avala-proxy with its extra, avala-proxy[otel]." in said


def test_an_environment_that_makes_no_sense_to_opentelemetry_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "-1")
    path = tmp_path / "traced.toml"
    path.write_text("[tracing]\nenabled = true\n")
    where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1"]
    code, said = avala_proxy("serve", "--config", str(path), *where)
    assert code == 1
    assert (
        "Traces cannot be sent, by the environment (OTEL_…): schedule_delay_millis must be positive." in said
    )
