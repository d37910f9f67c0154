"""What a handshake shows is told, and each kind of failure has its own advice."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.clock import LoopClock
from proxy.doctor import handshake
from proxy.doctor.report import Finding, Result
from tests.adapters.servers import Dns, Script, Server, serving
from tests.fakes import until


async def silent(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


async def rude(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.transport.abort()


async def plain(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def shown(
    authority: trustme.CA, name: str = "api.test", *, begins: float = -1.0, ends: float = 100.5
) -> ssl.SSLContext:
    """Make what a server shows: a certificate that is good between these days from now."""
    now = datetime.now(UTC)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(
        name, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
    ).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def shaken(
    authority: trustme.CA,
    script: Script = silent,
    tls: ssl.SSLContext | None = None,
) -> Finding:
    """Connect to a server, and shake hands as somebody who trusts this authority."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with serving(script, tls=tls) as server:
        upstream = config.Upstream(base_url=f"https://api.test:{server.port}", tls_timeout=0.3)
        if tls is not None:
            upstream = upstream.model_copy(update={"tls_timeout": 10.0})
        clock = LoopClock()
        dialer = Dialer(upstream, resolver=Dns(["127.0.0.1"]), now=clock.now, tls=trusting)
        sock = await dialer.connect(await dialer.resolve(), clock.now() + 5)
        found = await handshake.examine(upstream, dialer, sock, clock)
        await until(lambda: sock.fileno() == -1)  # nothing is left open
        return found


async def test_a_certificate_that_is_trusted_is_described(authority: trustme.CA) -> None:
    found = await shaken(authority, tls=shown(authority))
    assert found.result is Result.OK
    assert found.detail.startswith("TLSv1.3 in ")
    assert "the certificate is for api.test:" in found.detail
    assert found.detail.endswith("(100 days).")


async def test_one_that_should_have_been_renewed_is_a_warning(authority: trustme.CA) -> None:
    found = await shaken(authority, tls=shown(authority, ends=2.5))
    assert found.result is Result.WARNING
    assert found.detail.endswith("(2 days).")


@pytest.mark.parametrize(
    ("name", "begins", "ends", "said", "advice"),
    [
        ("api.test", -10, -1, "has expired.", "clock is right"),
        ("api.test", 1, 10, "is not good yet.", "Set this machine's clock"),
        ("other.test", -1, 10, "is for another name.", "Write the name that the certificate has"),
    ],
)
async def test_a_certificate_that_is_unfit_is_told(
    authority: trustme.CA, name: str, begins: float, ends: float, said: str, advice: str
) -> None:
    found = await shaken(authority, tls=shown(authority, name, begins=begins, ends=ends))
    assert found.result is Result.FAIL
    assert found.detail.endswith(said)
    assert advice in found.advice


async def test_an_authority_that_is_not_trusted_is_told(authority: trustme.CA) -> None:
    found = await shaken(authority, tls=shown(trustme.CA()))
    assert found.detail.endswith("is of an authority that this machine does not know.")
    assert "SSL_CERT_FILE" in found.advice


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (18, "is of no authority but itself, or of one that is not trusted here."),
        (66, "is not trusted (EE certificate key too weak)."),
    ],
)
def test_other_reasons_not_to_trust_are_told_too(code: int, said: str) -> None:
    cause = ssl.SSLCertVerificationError()
    cause.verify_code, cause.verify_message = code, "EE certificate key too weak"
    found = handshake._untrusted(cause, "api.test")
    assert found.detail == f"The certificate of api.test {said}"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (plain, "does not speak TLS at port "),
        (silent, "took the connection, and did not answer the handshake in time."),
        (rude, "hung up in the middle of the handshake."),
    ],
)
async def test_what_is_no_tls_is_told(authority: trustme.CA, script: Script, said: str) -> None:
    found = await shaken(authority, script)
    assert found.result is Result.FAIL
    assert said in found.detail
    assert found.advice


async def test_no_version_in_common_is_told_with_openssls_word(authority: trustme.CA) -> None:
    async def alarmed(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x15\x03\x03\x00\x02\x02\x46")  # an alert: fatal, 70

    found = await shaken(authority, alarmed)
    assert "agree on no way to speak TLS (TLSV1_ALERT_PROTOCOL_VERSION)" in found.detail


@pytest.mark.parametrize(
    ("url", "result"),
    [("http://127.0.0.1:80", "skipped"), ("http://localhost", "skipped"), ("http://api.test", "warning")],
)
async def test_without_tls_keys_must_not_leave_the_machine(url: str, result: str) -> None:
    upstream = config.Upstream(base_url=url)
    clock = LoopClock()
    sock = socket.socket()
    found = await handshake.examine(upstream, Dialer(upstream, resolver=Dns(), now=clock.now), sock, clock)
    assert found.result == result
    assert sock.fileno() == -1
