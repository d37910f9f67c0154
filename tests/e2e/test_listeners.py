"""The shipped program where clients reach it: by TLS, by a Unix socket, in several places at once."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import avala  # type: ignore[import-untyped]  # the SDK ships no types
import httpx
import pytest
import trustme

from tests.e2e import programs
from tests.fakes import until

KEY = {"X-Avala-Api-Key": "avk_team"}
LIST = "/api/v1/datasets/?limit=2"
RAW = f"GET {LIST} HTTP/1.1\r\nHost: x\r\nX-Avala-Api-Key: avk_team\r\n\r\n".encode()


@dataclass
class Proxy:
    """A running proxy: where it is, and what it says."""

    process: asyncio.subprocess.Process
    urls: list[str]
    log: Path

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.events())


@asynccontextmanager
async def proxy(
    tmp_path: Path, upstream: str, *options: str, config: str = "", name: str = "proxy", code: int = 0
) -> AsyncIterator[Proxy]:
    """Run `avala-proxy serve` until it listens."""
    path, log = tmp_path / f"{name}.toml", tmp_path / f"{name}.log"
    path.write_text(config)
    arguments = ["--config", str(path), "--admin-listen", "127.0.0.1:0", "--upstream", upstream, *options]
    async with programs.started("serve", *arguments, log=log, traced=True, code=code) as process:
        found = None
        async with asyncio.timeout(20):
            while found is None:
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)
                found = re.search(r'"listening", "detail": "(.+) \(metrics', log.read_text())
        yield Proxy(process, found[1].split(", "), log)
        assert "Traceback" not in log.read_text()


@dataclass
class Tls:
    """What `avala-proxy cert` made."""

    directory: Path

    @property
    def options(self) -> list[str]:
        """The options that serve it."""
        directory = self.directory
        return ["--tls-certificate", f"{directory}/proxy.pem", "--tls-key", f"{directory}/proxy-key.pem"]

    @property
    def authority(self) -> str:
        """What clients trust."""
        return str(self.directory / "ca.pem")

    def client(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """Make a client that trusts it."""
        context = ssl.create_default_context(cafile=self.authority)
        if certificate is not None:
            certificate.configure_cert(context)
        return context


async def certify(directory: Path, *arguments: str) -> Tls:
    """Run `avala-proxy cert`."""
    log = directory.with_suffix(".log")
    options = ["--directory", str(directory), *arguments]
    async with programs.started("cert", *options, log=log, traced=True) as process, asyncio.timeout(20):
        await process.wait()
    return Tls(directory)


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[str]:
    async with programs.sandbox(tmp_path) as url:
        yield url


def own_address() -> str:
    """Return an address of this machine that does not look like loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks for the route
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def ask(url: str, tls: ssl.SSLContext | bool = True) -> int:
    """Ask once, over whatever the URL says, as httpx does it."""
    uds = url.removeprefix("unix:") if url.startswith("unix:") else None
    transport = httpx.AsyncHTTPTransport(uds=uds, verify=tls)
    async with httpx.AsyncClient(transport=transport, headers=KEY) as client:
        return (await client.get(("http://localhost" if uds else url) + LIST)).status_code


async def shown_by(url: str, tls: ssl.SSLContext) -> object:
    """Return the serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(url), ssl=tls)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return certificate["serialNumber"]


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Tell whether a connection still carries a request."""
    writer.write(RAW)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length is not None
    await reader.readexactly(int(length[1]))
    return head.startswith(b"HTTP/1.1 200 ")


async def listed(client: Any) -> int:
    """List datasets with either form of the SDK, and close it."""
    if isinstance(client, avala.Client):
        return await asyncio.to_thread(lambda: (len(client.datasets.list()), client.close())[0])
    async with client:
        return len(await client.datasets.list())


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AVALA_")]:
        monkeypatch.delenv(name)
    return monkeypatch


async def test_the_sdk_reaches_another_address_by_tls_with_a_certificate_made_by_cert(
    tmp_path: Path, upstream: str, no_settings: pytest.MonkeyPatch
) -> None:
    address = own_address()
    tls = await certify(tmp_path / "tls", address)
    async with proxy(tmp_path, upstream, "--listen", f"https://{address}:0", *tls.options) as running:
        (url,) = running.urls
        assert url.startswith(f"https://{address}:")
        no_settings.setenv("AVALA_BASE_URL", f"{url}/api/v1")
        for form in (avala.Client, avala.AsyncClient):
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await listed(form(api_key="avk_sdk"))
        no_settings.setenv("SSL_CERT_FILE", tls.authority)
        for form in (avala.Client, avala.AsyncClient):
            assert await listed(form(api_key="avk_sdk")) == 20
        await until(lambda: running.count("request") == 2)


@pytest.mark.parametrize("form", [avala.Client, avala.AsyncClient], ids=["sync", "async"])
async def test_the_sdk_goes_over_a_unix_socket(
    tmp_path: Path, upstream: str, no_settings: pytest.MonkeyPatch, form: type
) -> None:
    path = tmp_path / "proxy.sock"
    no_settings.setenv("AVALA_BASE_URL", "http://localhost/api/v1")
    no_settings.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
    config = '[listen]\nunix_mode = "0600"\n'
    async with proxy(tmp_path, upstream, "--listen", f"unix:{path}", config=config) as running:
        assert running.urls == [f"unix:{path}"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = form(api_key="avk_sdk")
        inner = client._transport._client
        # Put in the place of the connections that httpx made; the SDK has no setting for it.
        if form is avala.Client:
            inner._transport = httpx.HTTPTransport(uds=str(path))
        else:
            inner._transport = httpx.AsyncHTTPTransport(uds=str(path))
        assert await listed(client) == 20
        await programs.said(running.log, '"request"')
        (request,) = [line for line in running.events() if line["event"] == "request"]
        assert request["peer"] == "unix"
    assert not path.exists()


async def test_one_process_serves_several_places_at_once(tmp_path: Path, upstream: str) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1", "::1")
    places = ["127.0.0.1:0", "[::1]:0", "https://127.0.0.1:0", f"unix:{tmp_path / 's'}"]
    options = [part for place in places for part in ("--listen", place)]
    async with proxy(tmp_path, upstream, *options, *tls.options) as running:
        schemes = [url.partition(":")[0] for url in running.urls]
        assert schemes == ["http", "http", "https", "unix"]
        answers = await asyncio.gather(*(ask(url, tls.client()) for url in running.urls * 5))
        assert set(answers) == {200}
        await until(lambda: running.count("request") == 20)
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            await running.process.wait()
        for url in running.urls:
            with pytest.raises(httpx.ConnectError):
                await ask(url, tls.client())


async def test_a_new_certificate_is_shown_to_new_connections_while_old_ones_live_on(
    tmp_path: Path, upstream: str
) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    trusting = tls.client()
    async with proxy(tmp_path, upstream, "--listen", "https://127.0.0.1:0", *tls.options) as running:
        (url,) = running.urls
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url), ssl=trusting)
        assert await answered(reader, writer)
        first = await shown_by(url, trusting)
        await certify(tmp_path / "tls", "--force", "--days", "7", "127.0.0.1")
        async with asyncio.timeout(10):
            while await shown_by(url, trusting) == first:  # noqa: ASYNC110 - another process reads it
                await asyncio.sleep(0.1)
        second = await shown_by(url, trusting)
        assert await answered(reader, writer)

        (tmp_path / "tls" / "proxy-key.pem").write_text("half of a k")
        async with asyncio.timeout(10):
            while not running.count("certificate_unusable"):
                assert await shown_by(url, trusting) == second
                await asyncio.sleep(0.1)
        assert await shown_by(url, trusting) == second
        assert await answered(reader, writer)
        writer.close()
        await writer.wait_closed()
        told = [line for line in running.events() if line["event"].startswith("certificate_")]
        assert [line["event"] for line in told][-1] == "certificate_unusable"
        assert "certificate_reloaded" in [line["event"] for line in told]
        assert "holds no private key" in told[-1]["detail"]
        assert "half of a k" not in running.log.read_text()


async def test_who_shows_no_certificate_of_the_demanded_authority_gets_nothing(
    tmp_path: Path, upstream: str
) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    theirs = trustme.CA()
    theirs.cert_pem.write_to_path(tmp_path / "clients.pem")
    config = f'[listen.tls]\nclient_ca = "{tmp_path / "clients.pem"}"\n'
    options = ["--listen", "https://127.0.0.1:0", *tls.options]
    known = tls.client(theirs.issue_cert("me@example.com"))
    strangers = [tls.client(), tls.client(trustme.CA().issue_cert("me@example.com"))]
    async with proxy(tmp_path, upstream, *options, config=config) as running:
        (url,) = running.urls
        assert await ask(url, known) == 200
        for stranger in strangers:
            with pytest.raises(httpx.TransportError):
                await ask(url, stranger)
        others = trustme.CA()
        others.cert_pem.write_to_path(tmp_path / "clients.pem")
        await asyncio.sleep(1.1)
        with pytest.raises(httpx.TransportError):
            await ask(url, known)
        assert await ask(url, tls.client(others.issue_cert("me@example.com"))) == 200
        await until(lambda: running.count("request") == 2)


async def test_two_proxies_do_not_share_a_path_and_one_that_was_killed_leaves_it_to_the_next(
    tmp_path: Path, upstream: str
) -> None:
    path = tmp_path / "s"
    listen = ["--listen", f"unix:{path}"]
    async with proxy(tmp_path, upstream, *listen, code=-signal.SIGKILL) as first:
        log = tmp_path / "second.log"
        arguments = [*listen, "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        async with (
            programs.started("serve", *arguments, log=log, traced=True, code=1) as second,
            asyncio.timeout(20),
        ):
            await second.wait()
        assert log.read_text() == (
            f"Cannot listen on unix:{path}: another program listens there. Stop it, or choose another path, "
            "with --listen unix:/path.\n"
        )
        assert await ask(first.urls[0]) == 200
        first.process.kill()
        await first.process.wait()
    assert path.is_socket()
    async with proxy(tmp_path, upstream, *listen, name="third") as third:
        assert await ask(third.urls[0]) == 200
    assert not path.exists()


async def test_the_wrong_language_and_silence_end_without_a_trace(tmp_path: Path, upstream: str) -> None:
    """HTTP on the TLS port, TLS on the plain port, nothing at all, noise, and leaving in the middle."""
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    config = "[listen]\nhead_timeout = 0.5\n"
    options = ["--listen", "https://127.0.0.1:0", "--listen", "127.0.0.1:0", *tls.options]
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls.client().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    client_hello = hello.read()
    async with proxy(tmp_path, upstream, *options, config=config) as running:
        secure, plain = running.urls
        cases = [(secure, RAW), (secure, b""), (secure, client_hello[:50]), (secure, b"\0" * 500)]
        cases += [(secure, client_hello), (plain, client_hello)]
        said = []
        async with asyncio.timeout(10):
            for url, content in cases:
                reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
                writer.write(content)
                try:
                    said.append(await reader.read())
                except ConnectionResetError:
                    said.append(b"")
                writer.close()
        assert b"HTTP/1.1" not in b"".join(said[:-1])
        assert said[-1].startswith(b"HTTP/1.1 400 ")
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(secure))
        writer.write(client_hello)
        writer.transport.abort()
        assert await ask(secure, tls.client()) == 200
        await programs.said(running.log, '"request"')
        assert {line["event"] for line in running.events()} == {"listening", "request"}


async def test_an_expired_certificate_at_the_start_is_a_warning(tmp_path: Path, upstream: str) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    leaf = trustme.CA().issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    leaf.private_key_pem.write_to_path(tls.directory / "proxy-key.pem")
    leaf.cert_chain_pems[0].write_to_path(tls.directory / "proxy.pem")
    async with proxy(tmp_path, upstream, "--listen", "https://127.0.0.1:0", *tls.options) as running:
        (line,) = [line for line in running.events() if line["event"] == "certificate_unusable"]
        assert (line["level"], "expired on 2020-01-01" in line["detail"]) == ("warning", True)


async def test_a_key_that_is_not_the_certificates_is_a_sentence_at_the_start(tmp_path: Path) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    trustme.CA().private_key_pem.write_to_path(tls.directory / "proxy-key.pem")
    log = tmp_path / "refused.log"
    listen = ["--listen", "https://127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    async with programs.started("serve", *listen, *tls.options, log=log, traced=True, code=1) as process:
        async with asyncio.timeout(20):
            await process.wait()
    said = log.read_text()
    assert said.startswith("Cannot serve TLS: ")
    assert "do not belong together. Give the key that the certificate was made for" in said
    assert said.count("\n") == 1


async def test_stopping_waits_for_a_request_under_way_by_tls_and_for_no_silent_client(tmp_path: Path) -> None:
    tls = await certify(tmp_path / "tls", "127.0.0.1")
    options = ["--listen", "https://127.0.0.1:0", *tls.options]
    async with (
        programs.sandbox(tmp_path, "--slow", "1") as upstream,
        proxy(tmp_path, upstream, *options) as run,
    ):
        port = port_of(run.urls[0])
        _, idle = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client())
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client())
        writer.write(RAW.replace(b"Host: x", b"Host: x\r\nX-Sandbox-Fault: slow"))
        await asyncio.sleep(0.3)
        run.process.send_signal(signal.SIGTERM)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        async with asyncio.timeout(4):
            assert await run.process.wait() == 0
        for one in (idle, silent, writer):
            one.transport.abort()
        assert [line["event"] for line in run.events()] == ["listening", "draining", "request", "stopped"]


async def test_a_system_that_allows_too_few_open_files_is_told_at_the_start(tmp_path: Path) -> None:
    config = "[listen]\nmax_connections = 1073741824\n"
    async with (
        programs.sandbox(tmp_path) as upstream,
        proxy(tmp_path, upstream, "--listen", "127.0.0.1:0", config=config) as run,
    ):
        await programs.said(run.log, "few_open_files")
        (line,) = (line for line in run.events() if line["event"] == "few_open_files")
        assert line["level"] == "warning"
        assert "up to 10737449" in line["detail"]
