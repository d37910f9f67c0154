"""The API is HTTPS: the shipped program trusts a certificate that the machine trusts, and no other."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from tests.e2e import programs


@asynccontextmanager
async def secure_api(authority: trustme.CA) -> AsyncIterator[tuple[str, list[str]]]:
    """Run an upstream with TLS on localhost; yield its URL and the hosts it was asked for."""
    hosts: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        hosts.append(request.host)
        return web.json_response({"method": request.method})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://localhost:{runner.addresses[0][1]}", hosts
    finally:
        await runner.cleanup()


async def ask(tmp_path: Path, upstream: str, method: str) -> tuple[int, bytes]:
    async with (
        programs.proxy(tmp_path, upstream, "[retry]\nmax_retries = 0\n") as (url, _),
        aiohttp.ClientSession() as session,
        session.request(method, f"{url}/api/v1/users/me/") as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_upstream_that_the_machine_trusts_is_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with secure_api(authority) as (upstream, hosts):
        status, content = await ask(tmp_path, upstream, method)
        assert (status, json.loads(content)) == (200, {"method": method})
        assert hosts == [upstream.removeprefix("https://")]


async def test_an_upstream_that_the_machine_does_not_trust_gets_nothing(tmp_path: Path) -> None:
    async with secure_api(trustme.CA()) as (upstream, hosts):
        status, content = await ask(tmp_path, upstream, "POST")
        assert status == 502
        assert json.loads(content)["code"] == "proxy_tls_error"
        assert hosts == []
    assert "upstream_unreachable" in (tmp_path / "proxy.log").read_text()
