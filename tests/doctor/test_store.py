"""All that is wrong with the store is told, each with what to do; else how near it is."""

import importlib.util
from typing import Any

import pytest
from pydantic import SecretStr

from proxy import config
from proxy.adapters.store_check import Pulse
from proxy.clock import LoopClock
from proxy.doctor import store
from proxy.doctor.report import Finding, Result
from tests.servers import StoreServer, free_port

SECRET = "0123456789abcdef"


async def found(url: str | None, **more: Any) -> list[Finding]:
    redis = config.Redis(url=url, secret=SecretStr(SECRET), **more)
    return await store.examine(redis, LoopClock())


async def test_without_a_shared_store_there_is_nothing_to_try() -> None:
    (only,) = await found(None)
    assert only.result is Result.SKIPPED


async def test_a_store_as_it_should_be_is_timed(valkey: StoreServer) -> None:
    (only,) = await found(valkey.url, timeout=0.4)
    assert only.result in (Result.OK, Result.WARNING), "a machine may be that busy"
    assert only.detail.startswith(f"The store at {valkey.url} does all that is needed, and answers in ")


@pytest.mark.parametrize(
    ("pulse", "result", "said"),
    [
        (
            Pulse(0.0004, 3.21),
            "ok",
            "and answers in 0.4 ms; its clock differs from this machine's by 3.2 s, which is fine.",
        ),
        (Pulse(0.06, 0.0), "warning", "and answers in 60 ms: redis.timeout is 200 ms."),
        (None, "ok", "The store at redis://store:6379/0 does all that is needed."),
    ],
)
def test_how_near_it_is_is_judged_by_the_time_a_call_has(pulse: Pulse | None, result: str, said: str) -> None:
    settings = config.Redis(url="redis://store:6379", secret=SecretStr(SECRET), timeout=0.2)
    finding = store.judged(settings, pulse)
    assert finding.result == result
    assert finding.detail.endswith(said)


async def test_nobody_there_is_told() -> None:
    (only,) = await found(f"redis://127.0.0.1:{free_port()}")
    assert only.result is Result.FAIL
    assert only.detail.endswith(" refuses connections.")
    assert only.advice == "Start it, or check redis.url."


async def test_each_thing_that_is_wrong_is_a_line(valkey: StoreServer) -> None:
    rights = ("on", "nopass", "~avala-proxy:*", "+@all", "-publish", "-subscribe")
    valkey.command("ACL", "SETUSER", "little", *rights)
    findings = await found(valkey.url, username="little")
    assert [finding.result for finding in findings] == [Result.FAIL, Result.FAIL]
    assert "forbids its user PUBLISH" in findings[0].detail
    assert findings[0].advice.startswith("Allow them (ACL SETUSER, ")


async def test_without_its_client_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    (only,) = await found("redis://127.0.0.1:1")
    assert only.advice == "Install avala-proxy with its extra, avala-proxy[redis]."
