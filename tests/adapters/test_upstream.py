"""One call is one attempt over a real socket; what failed is named, and what was written is known.

These tests also guard the parts of aiohttp's inside that `adapters/upstream.py` leans on.
"""

import asyncio
import ssl

import pytest

from proxy import config
from proxy.adapters.upstream import Upstream
from proxy.errors import ErrorClass, UpstreamError
from tests.adapters.servers import OK, Marks, Server, answering, ask, failure, full, read, running, sending
from tests.fakes import spool


async def test_the_head_goes_up_as_it_came_but_for_host_and_what_the_proxy_adds() -> None:
    async with running(answering(OK)) as (server, upstream):
        marks = Marks()
        assert await read(await upstream.send(ask(), marks)) == b"ok"
        lines = server.heads[0].split(b"\r\n")
        assert lines[0] == b"GET /api/v1/x/?a=%2F HTTP/1.1"
        assert lines[1] == b"Host: " + server.url.removeprefix("http://").encode()
        assert lines[2:4] == [b"X-Odd-CASE: 1", b"x-odd-case: 2"]
        assert marks.marks == ["started", "sent"]


async def test_a_base_url_may_have_a_path() -> None:
    async with running(answering(OK)) as (server, upstream):
        prefixed = Upstream(config.Upstream(base_url=server.url + "/prefix"), config.Headers())
        await read(await prefixed.send(ask(), Marks()))
        await prefixed.close()
        assert server.heads[0].startswith(b"GET /prefix/api/v1/x/")
        assert upstream is not prefixed


async def test_the_server_as_a_whole_is_below_no_path() -> None:
    async with running(answering(OK)) as (server, _), sending(f"{server.url}/below") as upstream:
        await read(await upstream.send(ask("OPTIONS", "*"), Marks()))
        assert server.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with running(answering(OK)) as (server, upstream):
        for _ in range(3):
            await read(await upstream.send(ask(), Marks()))
        assert server.connections == 1


async def test_what_may_not_be_repeated_goes_over_a_connection_of_its_own() -> None:
    async with running(answering(OK)) as (server, upstream):
        for method in ("GET", "POST", "PATCH", "GET"):
            await read(await upstream.send(ask(method), Marks()))
        assert server.connections == 3


async def test_a_kept_connection_that_closes_at_the_moment_of_reuse_is_not_re_sent_silently() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(OK)
        await server.head(reader)  # the second request is read, and never answered

    async with running(script) as (server, upstream):
        await read(await upstream.send(ask(), Marks()))
        error = await failure(upstream)
        assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TERMINATED, True)
        assert len(server.heads) == 2, "each call is one request"


async def test_a_kept_connection_that_said_something_unasked_is_not_used_again() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(OK)
        if server.connections == 1:
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
            await reader.read()

    async with running(script) as (server, upstream):
        await read(await upstream.send(ask(), Marks()))
        await asyncio.sleep(0.05)
        assert await read(await upstream.send(ask(), Marks())) == b"ok"
        assert server.connections == 2


async def test_interim_responses_are_not_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with running(answering(interim + OK)) as (_, upstream):
        response = await upstream.send(ask(), Marks())
        assert response.status == 200
        assert await read(response) == b"ok"


async def test_switching_protocols_unasked_is_a_broken_answer() -> None:
    async with running(answering(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")) as (
        _,
        up,
    ):
        assert (await failure(up)).proxy_status == "http_upgrade_failed"


async def test_the_answer_to_head_has_no_body_but_its_length() -> None:
    async with running(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")) as (server, upstream):
        for _ in range(2):
            response = await upstream.send(ask("HEAD"), Marks())
            assert response.headers.get(b"content-length") == "999"
            assert await read(response) == b""
        assert server.connections == 1


async def test_a_body_stays_as_it_is_encoded() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\x00"
    async with running(answering(answer)) as (_, upstream):
        assert await read(await upstream.send(ask(), Marks())) == b"\x1f\x8b\x00\x00"


async def test_a_body_can_end_with_the_connection() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")

    async with running(script) as (_, upstream):
        assert await read(await upstream.send(ask(), Marks())) == b"to the end"


async def test_a_body_that_is_not_read_to_its_end_costs_the_connection() -> None:
    async with running(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nfirst", OK)) as (
        server,
        upstream,
    ):
        await (await upstream.send(ask(), Marks())).body.close()
        await read(await upstream.send(ask(), Marks()))
        assert server.connections == 2


@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_body_goes_up_whole_and_can_be_sent_again(size: int) -> None:
    bodies = []

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await server.head(reader)
        assert b"Content-Length: %d\r\n" % size in head
        bodies.append(await reader.readexactly(size))
        writer.write(OK)

    body = spool(1000)
    await body.write(b"x" * size)
    await body.finish()
    async with running(script) as (_, upstream):
        for _ in range(2):
            marks = Marks()
            await read(await upstream.send(ask("POST", body=body), marks))
            assert marks.marks == (["started", "sent"] if size == 10 else ["started"])
    assert bodies == [b"x" * size] * 2
    body.close()


async def test_an_upload_that_is_answered_early_is_given_up() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.2)

    body = spool(10)
    await body.write(b"x" * 30_000_000)
    await body.finish()
    async with running(script) as (_, upstream):
        marks = Marks()
        response = await upstream.send(ask("PUT", body=body), marks)
        assert response.status == 413
        assert await read(response) == b""
        assert marks.marks == ["started"]
    body.close()


async def test_an_upload_that_nobody_reads_ends_in_time() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        await asyncio.sleep(1.0)

    body = spool(10)
    await body.write(b"x" * 30_000_000)
    await body.finish()
    async with running(script, read_timeout=0.1) as (_, upstream):
        error = await failure(upstream, ask("PUT", body=body))
        assert (error.error_class, error.written) == (ErrorClass.READ_TIMEOUT, True)
    body.close()


async def test_an_upload_whose_connection_breaks_is_a_broken_connection() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.transport.abort()

    body = spool(10)
    await body.write(b"x" * 30_000_000)
    await body.finish()
    async with running(script) as (_, upstream):
        assert (
            await failure(upstream, ask("PUT", body=body))
        ).error_class is ErrorClass.CONNECTION_TERMINATED
    body.close()


@pytest.mark.parametrize(
    ("url", "error_class"),
    [
        ("http://does-not-exist.invalid", ErrorClass.DNS_ERROR),
        ("http://127.0.0.1:1", ErrorClass.CONNECTION_REFUSED),
    ],
)
async def test_without_a_connection_nothing_was_written(url: str, error_class: ErrorClass) -> None:
    upstream = Upstream(config.Upstream(base_url=url), config.Headers())
    marks = Marks()
    with pytest.raises(UpstreamError) as raised:
        await upstream.send(ask(), marks)
    with pytest.raises(UpstreamError):
        await upstream.reach()
    await upstream.close()
    assert (raised.value.error_class, raised.value.written, marks.marks) == (error_class, False, [])
    assert url.removeprefix("http://") in raised.value.detail


async def test_a_host_that_does_not_accept_in_time_is_named_so() -> None:
    with full() as port:
        upstream = Upstream(
            config.Upstream(base_url=f"http://127.0.0.1:{port}", connect_timeout=0.2), config.Headers()
        )
        error = await failure(upstream)
        await upstream.close()
    assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TIMEOUT, False)


async def test_a_host_that_does_not_speak_tls_is_named_so() -> None:
    async with running(answering(OK)) as (server, _):
        upstream = Upstream(
            config.Upstream(base_url=server.url.replace("http://", "https://")), config.Headers()
        )

        async def hello(_: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"this is no TLS at all")

        server.script = hello
        error = await failure(upstream)
        await upstream.close()
    assert (error.error_class, error.written) == (ErrorClass.TLS_ERROR, False)
    assert ssl.OPENSSL_VERSION


async def test_reaching_costs_no_request_and_keeps_the_connection() -> None:
    async with running(answering(OK)) as (server, upstream):
        await upstream.reach()
        assert server.heads == []
        await read(await upstream.send(ask(), Marks()))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (b"", ErrorClass.CONNECTION_TERMINATED),
        (b"HTTP/1.1 200 OK\r\nContent-", ErrorClass.CONNECTION_TERMINATED),
        (b"this is no HTTP\r\n\r\n", ErrorClass.RESPONSE_INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", ErrorClass.RESPONSE_INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", ErrorClass.RESPONSE_INCOMPLETE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrorClass.RESPONSE_INCOMPLETE),
    ],
    ids=["nothing", "half a head", "garbage", "a head too large", "half a body", "a bad chunk"],
)
async def test_a_broken_answer_is_named(answer: bytes, error_class: ErrorClass) -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(answer)

    async with running(script) as (server, upstream):
        error = await failure(upstream)
        assert (error.error_class, error.written) == (error_class, True)
        assert len(server.heads) == 1


async def test_a_reset_is_a_broken_connection() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.transport.abort()

    async with running(script) as (_, upstream):
        assert (await failure(upstream)).error_class is ErrorClass.CONNECTION_TERMINATED


async def test_an_answer_that_does_not_come_or_stops_is_a_timeout() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await server.head(reader)
        if b"half" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await asyncio.sleep(0.5)

    async with running(script, head_timeout=0.05, read_timeout=0.05) as (_, upstream):
        for target in ("/none", "/half"):
            error = await failure(upstream, ask(target=target))
            assert (error.error_class, error.written) == (ErrorClass.READ_TIMEOUT, True)


async def test_the_head_and_the_pieces_of_a_body_have_each_their_own_time() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await asyncio.sleep(3.0)

    async with running(script, head_timeout=30.0, read_timeout=0.05) as (_, upstream):
        async with asyncio.timeout(2.0):
            assert (await failure(upstream)).error_class is ErrorClass.READ_TIMEOUT


async def dripping(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send head or body byte by byte, each within the patience for one."""
    head, body = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"0123456789"
    if b"/head" in await server.head(reader):
        head, body = b"", head + body
    writer.write(head)
    for byte in body:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def test_a_head_that_drips_has_no_more_time_than_one_that_comes_at_once() -> None:
    async with running(dripping, head_timeout=0.3) as (_, upstream):
        error = await failure(upstream, ask(target="/head"))
        assert (error.error_class, error.written) == (ErrorClass.READ_TIMEOUT, True)


async def test_a_body_that_drips_is_read_to_its_end_however_long_it_takes() -> None:
    async with running(dripping, head_timeout=0.3, read_timeout=0.3) as (_, upstream):
        assert await read(await upstream.send(ask(target="/body"), Marks())) == b"0123456789"


async def test_a_client_that_reads_slowly_is_no_upstream_that_stopped() -> None:
    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        await writer.drain()

    async with running(script, read_timeout=0.1) as (_, upstream):
        response = await upstream.send(ask(), Marks())
        await asyncio.sleep(0.3)
        assert len(await read(response)) == 3_000_000


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def script(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.head(reader)
        await reader.read()
        gone.set()

    async with running(script) as (_, upstream):
        call = asyncio.create_task(upstream.send(ask(), Marks()))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(2):
            await gone.wait()


async def test_an_upstream_that_was_closed_connects_no_more() -> None:
    async with running(answering(OK)) as (_, upstream):
        await upstream.close()
        error = await failure(upstream)
        assert (error.error_class, error.written) == (ErrorClass.CONNECTION_TERMINATED, False)
