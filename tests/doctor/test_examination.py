"""The order of the checks, and what is skipped when another one failed."""

import socket
from pathlib import Path
from typing import Any

import pytest

from proxy.config_places import Place
from proxy.doctor.examination import NEEDS_SETTINGS, World, examine
from proxy.doctor.report import Finding
from proxy.sandbox import Sandbox
from tests.adapters.servers import Dns
from tests.doctor.fixtures import results

KEY = "avk_hunter2-hunter2"


async def nobody(_: Place) -> None:
    return None


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVALA_PROXY_CONFIG", raising=False)


async def found(
    upstream: str, dns: Dns | None = None, *, spending: bool = False, **listen: Any
) -> list[Finding]:
    told: list[Finding] = []
    overrides = {
        "upstream": {"base_url": upstream},
        "listen": {"addresses": ["127.0.0.1:0"], "admin_address": "127.0.0.1:0", **listen},
    }
    world = World(resolver=dns or Dns(["127.0.0.1"]), environ={"AVALA_API_KEY": KEY}, ask=nobody)
    findings = await examine(None, overrides, spending=spending, told=told.append, world=world)
    assert told == findings
    return findings


async def test_where_all_is_well_each_check_is_made_once_and_nothing_is_spent() -> None:
    sandbox = Sandbox()
    async with sandbox.running() as url:
        findings = await found(url)
        assert [finding.check for finding in findings] == ["configuration", *NEEDS_SETTINGS]
        assert results(findings)[-6:] == [
            ("dns", "ok"),
            ("tcp", "ok"),
            ("tls", "skipped"),
            ("clock", "ok"),
            ("store", "skipped"),
            ("key", "skipped"),
        ]
        assert sandbox.ledger.summary()["requests"] == 0


async def test_a_wish_costs_one_request() -> None:
    sandbox = Sandbox()
    async with sandbox.running() as url:
        assert results(await found(url, spending=True))[-1] == ("key", "ok")
        assert sandbox.ledger.summary()["requests"] == 1


async def test_without_a_configuration_everything_else_is_skipped() -> None:
    findings = await examine(Path("missing.toml"), {}, spending=True, told=lambda _: None)
    assert results(findings) == [("configuration", "FAIL"), *((check, "skipped") for check in NEEDS_SETTINGS)]


async def test_where_the_api_can_not_be_reached_nobody_tries_the_clock_and_the_key() -> None:
    findings = await found("https://api.test", Dns(error=socket.gaierror("no such name")), spending=True)
    assert results(findings)[-6:] == [
        ("dns", "FAIL"),
        ("tcp", "skipped"),
        ("tls", "skipped"),
        ("clock", "skipped"),
        ("store", "skipped"),
        ("key", "skipped"),
    ]
    assert findings[-1].detail.endswith("No request was sent.")
