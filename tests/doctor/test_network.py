"""The way to the API is gone step by step; what is in the way is told, and what to do about that."""

import asyncio
import socket
import time
from collections.abc import Mapping
from typing import Any

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.clock import LoopClock
from proxy.doctor import network
from proxy.doctor.report import Finding, Result
from tests.adapters.servers import OK, Dns, answering, refusing, serving
from tests.doctor.fixtures import collected, results

ONE, TWO = "127.0.0.1", "127.0.0.2"


async def way(
    base_url: str, dns: Dns | None = None, environ: Mapping[str, str] | None = None, **settings: Any
) -> list[Finding]:
    chosen = config.Upstream.model_validate({"base_url": base_url, **settings})
    clock = LoopClock()
    dialer = Dialer(chosen, resolver=dns or Dns(), now=clock.now)
    return await collected(network.Way(chosen, dialer, clock, environ or {}).examine())


async def test_a_way_that_is_free_is_gone_without_a_word() -> None:
    async with serving(answering(OK)) as server:
        dns, tcp, tls = await way(f"http://api.test:{server.port}", Dns([ONE]))
        assert server.heads == []
    assert dns.detail.startswith("api.test is 127.0.0.1 (IPv4), found in ")
    assert tcp.detail.startswith(f"127.0.0.1 (IPv4) took a connection to port {server.port} in ")
    assert [dns.result, tcp.result] == [Result.OK, Result.OK]
    assert tls.check == "tls"


async def test_an_address_is_not_looked_up() -> None:
    async with serving(answering(OK)) as server:
        dns = (await way(server.url, Dns(error=socket.gaierror("asked"))))[0]
    assert dns.detail == "127.0.0.1 (IPv4) is an address: there is no name to look up."


async def test_a_name_that_is_not_known_is_told_and_the_rest_is_skipped() -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    findings = await way("https://api.test", Dns(error=unknown))
    assert results(findings) == [("dns", "FAIL"), ("tcp", "skipped"), ("tls", "skipped")]
    assert findings[0].detail == "The name api.test cannot be resolved (Name or service not known)."
    assert "getent hosts api.test" in findings[0].advice


async def test_a_name_server_that_is_silent_has_its_time() -> None:
    finding = (await way("https://api.test", Dns(gate=asyncio.Event()), connect_timeout=0.05))[0]
    assert finding.detail == "The name api.test was not resolved in time."


async def test_a_port_that_refuses_is_told() -> None:
    with refusing(ONE) as port:
        findings = await way(f"https://api.test:{port}", Dns([ONE]))
    assert results(findings) == [("dns", "ok"), ("tcp", "FAIL"), ("tls", "skipped")]
    assert findings[1].detail == f"Port {port}: 127.0.0.1 (IPv4) refuses it."
    assert "right host and port" in findings[1].advice


async def test_an_address_that_refuses_is_a_warning_where_another_one_does_not() -> None:
    with refusing(ONE) as port:
        async with serving(answering(OK), TWO, port):
            tcp = (await way(f"http://api.test:{port}", Dns([ONE, TWO])))[1]
    assert tcp.result is Result.WARNING
    assert tcp.detail.startswith("127.0.0.2 (IPv4) took a connection")
    assert tcp.detail.endswith("; but 127.0.0.1 (IPv4) refuses it.")


async def test_addresses_that_are_silent_share_the_time_there_is() -> None:
    # A full queue of a listener lets further connections wait, as a firewall that drops packets does.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind((ONE, 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        began = time.monotonic()
        port = full.getsockname()[1]
        findings = await way(f"https://api.test:{port}", Dns([ONE, ONE]), connect_timeout=0.4)
        assert time.monotonic() - began < 5
    silent = "127.0.0.1 (IPv4) does not answer"
    assert findings[1].detail == f"Port {port}: {silent}, {silent}."
    assert f"lets this machine out to port {port}." in findings[1].advice


async def test_a_network_that_is_not_there_is_told_by_the_systems_words() -> None:
    # 0.0.0.0/8 but for the first is nowhere, and IPv6 has its own text.
    tcp = (await way("http://api.test:9", Dns(["255.255.255.255"])))[1]
    assert tcp.result is Result.FAIL
    assert "255.255.255.255 (IPv4) can't be reached (" in tcp.detail


async def test_a_proxy_of_the_environment_is_spoken_of_when_something_fails() -> None:
    environ = {"HTTPS_PROXY": "http://user:secret@proxy:3128", "NO_PROXY": "x"}
    said = " HTTPS_PROXY is set here: avala-proxy does not use it, and connects to the API itself."
    finding = (await way("https://api.test", Dns(), environ))[0]
    assert finding.advice.endswith(said)
    with refusing(ONE) as port:
        finding = (await way(f"http://{ONE}:{port}", None, environ))[1]
    assert finding.advice.endswith(said)


def test_nobody_waits_longer_than_somebody_watches() -> None:
    long = network.bounded(config.Upstream(connect_timeout=60, tls_timeout=3))
    assert (long.connect_timeout, long.tls_timeout) == (10.0, 3)
