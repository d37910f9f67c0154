"""Name, TCP and TLS have each their own time, and what goes wrong in each is told apart."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohappyeyeballs import AddrInfoType

from proxy.errors import ErrorClass, UpstreamError
from tests.adapters.servers import (
    OK,
    Dns,
    Marks,
    Server,
    answering,
    ask,
    failure,
    read,
    refusing,
    sending,
    serving,
)
from tests.fakes import until

ONE, TWO = "127.0.0.1", "127.0.0.2"


async def silent(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and never say anything."""
    while await reader.read(1000):
        pass


async def rude(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and break off when something is said."""
    await reader.read(10)
    writer.transport.abort()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(context)
    return context


# The name.


async def test_a_name_that_is_not_resolved_in_time_is_a_connection_timeout() -> None:
    dns = Dns(gate=asyncio.Event())
    async with sending("http://api.test", with_={"resolver": dns}, connect_timeout=0.05) as upstream:
        error = await failure(upstream)
    assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TIMEOUT, False)
    assert error.detail == "The name api.test was not resolved in time."
    assert error.proxy_status == "dns_timeout"


async def test_looking_a_name_up_costs_no_connection_and_asks_each_time() -> None:
    dns = Dns([ONE])
    async with (
        serving(answering(OK)) as server,
        sending(f"http://api.test:{server.port}", with_={"resolver": dns}) as upstream,
    ):
        await read(await upstream.send(ask(), Marks()))
        await upstream.resolve()
        await upstream.resolve()
        assert len(dns.questions) == 3
        assert (server.connections, len(server.heads)) == (1, 1)


async def test_a_name_that_can_not_be_looked_up_is_told() -> None:
    for dns, error_class, status in (
        (Dns(error=socket.gaierror("no such name")), ErrorClass.DNS_ERROR, "dns_error"),
        (Dns(), ErrorClass.DNS_ERROR, "dns_error"),
        (Dns(gate=asyncio.Event()), ErrorClass.CONNECTION_TIMEOUT, "dns_timeout"),
    ):
        async with sending("https://api.test", with_={"resolver": dns}, connect_timeout=0.05) as upstream:
            with pytest.raises(UpstreamError) as raised:
                await upstream.resolve()
        assert (raised.value.error_class, raised.value.proxy_status) == (error_class, status)
        assert raised.value.written is False
        assert "api.test" in raised.value.detail


async def test_an_address_needs_no_looking_up() -> None:
    dns = Dns(error=socket.gaierror("asked"))
    async with sending(f"http://{ONE}:1", with_={"resolver": dns}) as upstream:
        await upstream.resolve()
    assert dns.questions == []


# The addresses.


async def test_when_an_address_refuses_another_is_tried() -> None:
    with refusing(ONE) as port:
        async with (
            serving(answering(OK), TWO, port) as server,
            sending(f"http://api.test:{port}", with_={"resolver": Dns([ONE, TWO])}) as upstream,
        ):
            for _ in range(2):
                assert await read(await upstream.send(ask("POST"), Marks())) == b"ok"
            assert server.connections == 2


async def test_when_all_addresses_refuse_the_name_is_asked_for_again() -> None:
    dns = Dns([ONE])
    with refusing(ONE) as port:
        async with (
            serving(answering(OK), TWO, port),
            sending(f"http://api.test:{port}", with_={"resolver": dns}) as upstream,
        ):
            error = await failure(upstream)
            assert (error.error_class, error.written) == (ErrorClass.CONNECTION_REFUSED, False)
            dns.addresses = [TWO]
            assert await read(await upstream.send(ask(), Marks())) == b"ok"
            assert len(dns.questions) == 2


# TLS.


@asynccontextmanager
async def late(certified: ssl.SSLContext, pause: float) -> AsyncIterator[Server]:
    """Serve over TLS, but begin the handshake late."""

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(pause)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await writer.start_tls(certified)
        await server.head(reader)
        writer.write(OK)

    async with serving(script) as server:
        yield server


async def test_a_handshake_that_hangs_is_a_connection_timeout_of_its_own() -> None:
    dns = Dns([ONE])
    async with (
        serving(silent) as server,
        sending(
            f"https://api.test:{server.port}", with_={"resolver": dns}, connect_timeout=30.0, tls_timeout=0.05
        ) as upstream,
    ):
        started = time.monotonic()
        error = await failure(upstream)
        assert time.monotonic() - started < 5.0
        assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TIMEOUT, False)
        assert error.detail == f"The TLS handshake with api.test:{server.port} did not end in time."
        await until(lambda: server.open == 0)


async def test_a_handshake_has_the_time_it_is_given_however_short_that_for_tcp_is(
    certified: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    made = {"resolver": Dns([ONE]), "tls": trusting}
    async with (
        late(certified, 0.4) as server,
        sending(
            f"https://api.test:{server.port}", with_=made, connect_timeout=0.2, tls_timeout=10.0
        ) as upstream,
    ):
        assert await read(await upstream.send(ask(), Marks())) == b"ok"


async def test_after_a_handshake_that_hung_the_next_call_begins_with_another_address(
    certified: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    made = {"resolver": Dns([ONE, TWO]), "tls": trusting}
    async with (
        serving(silent, ONE) as first,
        serving(answering(OK), TWO, first.port, certified) as second,
        sending(f"https://api.test:{first.port}", with_=made, tls_timeout=0.3) as upstream,
    ):
        assert (await failure(upstream)).error_class is ErrorClass.CONNECTION_TIMEOUT
        assert await read(await upstream.send(ask(), Marks())) == b"ok"
        assert (first.connections, second.connections) == (1, 1)


async def test_when_the_handshake_with_an_address_fails_another_is_tried(
    certified: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    made = {"resolver": Dns([ONE, TWO]), "tls": trusting}
    async with (
        serving(rude, ONE) as first,
        serving(answering(OK), TWO, first.port, certified) as second,
        sending(f"https://api.test:{first.port}", with_=made) as upstream,
    ):
        assert await read(await upstream.send(ask(), Marks())) == b"ok"
        assert (first.connections, second.connections) == (1, 1)


async def test_when_the_handshake_fails_everywhere_it_is_a_tls_error() -> None:
    async with (
        serving(rude, ONE) as first,
        serving(rude, TWO, first.port) as second,
        sending(f"https://api.test:{first.port}", with_={"resolver": Dns([ONE, TWO])}) as upstream,
    ):
        error = await failure(upstream)
        assert (error.error_class, error.written) == (ErrorClass.TLS_ERROR, False)
        assert error.proxy_status == "tls_protocol_error"
        assert (first.connections, second.connections) == (1, 1)


async def test_an_address_that_is_written_in_another_way_is_not_tried_for_ever() -> None:
    async def resolver(_: str, port: int) -> list[AddrInfoType]:
        other = ("localhost", port), ("LOCALHOST", port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in other]

    async with (
        serving(rude) as server,
        sending(f"https://api.test:{server.port}", with_={"resolver": resolver}) as upstream,
    ):
        assert (await failure(upstream)).error_class is ErrorClass.TLS_ERROR
        assert server.connections == 1


async def test_a_certificate_that_is_not_trusted_is_told_as_such(certified: ssl.SSLContext) -> None:
    async with (
        serving(answering(OK), tls=certified) as server,
        sending(f"https://api.test:{server.port}", with_={"resolver": Dns([ONE])}) as upstream,
    ):
        error = await failure(upstream)
        assert (error.error_class, error.written) == (ErrorClass.TLS_ERROR, False)
        assert error.proxy_status == "tls_certificate_error"
        assert server.heads == []


async def test_a_name_may_end_with_a_dot_and_its_certificate_does_not(
    certified: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    made = {"resolver": Dns([ONE]), "tls": trusting}
    async with (
        serving(answering(OK), tls=certified) as server,
        sending(f"https://api.test.:{server.port}", with_=made) as upstream,
    ):
        assert await read(await upstream.send(ask(), Marks())) == b"ok"
