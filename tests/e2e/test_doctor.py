"""`avala-proxy doctor` as one runs it: all well, and each of the bad days that it is there for.

What is the same command in another world is run in this process, in a thread: a start takes a second.
"""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import trustme
from aiohttp import web
from click.testing import CliRunner

from proxy.cli import main
from tests.e2e import programs
from tests.servers import StoreServer, free_port, start_store

KEY = "avk_hunter2-hunter2"
ANYWHERE = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


def _heed_interrupts() -> None:
    # What a shell begins in the background ignores them, and so does all that it begins.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def started(*arguments: str, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "doctor", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=programs.environment(traced=True) | dict(environ or {}),
        preexec_fn=_heed_interrupts,
    )


async def doctor(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run it; return how it ended, and all it said."""
    process = await started(*arguments, environ=environ)
    said, _ = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in said
    return process.returncode, said.decode()


async def found(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Run it for machines, here; return how it ended, and what it found by check."""
    bare = dict.fromkeys(name for name in os.environ if name.startswith("AVALA_"))
    runner = CliRunner(env=bare | dict(environ or {}))
    result = await asyncio.to_thread(runner.invoke, main, ["doctor", "--json", *arguments])
    return result.exit_code, {finding["check"]: finding for finding in json.loads(result.output)}


@asynccontextmanager
async def dated(ahead: float) -> AsyncIterator[str]:
    """Run an API whose clock is so many seconds ahead."""

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response(headers={"Date": formatdate(time.time() + ahead, usegmt=True)})

    async with served(handle) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def served(handle: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_all_is_well_and_nothing_is_spent_but_what_is_wished_for(tmp_path: Path) -> None:
    async with programs.sandbox(tmp_path) as upstream, aiohttp.ClientSession() as session:
        where = (*ANYWHERE, "--upstream", upstream)
        code, said = await doctor(*where, environ={"AVALA_API_KEY": KEY})
        assert code == 0, said
        lines = said.splitlines()
        assert lines[-1] == "Nothing is wrong."
        assert lines[-2].startswith(
            "skipped  key             Add --spend to send one real request (GET /api/"
        )
        assert "ok       clock           This machine's clock is that of the API" in said
        assert "\x1b" not in said
        assert (await programs.ledger(session, upstream))["requests"] == 0
        code, said = await doctor(*where, "--spend", environ={"AVALA_API_KEY": KEY})
        assert code == 0, said
        assert re.search(r"ok +key +The API takes the key \(200; 99 of 100 requests are left", said)
        assert KEY not in said
        assert (await programs.ledger(session, upstream))["requests"] == 1


async def test_a_wrong_key_is_told_after_one_request(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("avk_invalid-hunter2")
    (tmp_path / "key").chmod(0o600)
    async with programs.sandbox(tmp_path) as upstream, aiohttp.ClientSession() as session:
        environ = {"AVALA_PROXY_CREDENTIAL__FILE": str(tmp_path / "key"), "AVALA_API_KEY": KEY}
        code, said = await doctor(*ANYWHERE, "--upstream", upstream, "--spend", environ=environ)
        assert (await programs.ledger(session, upstream))["requests"] == 1
    assert code == 1
    assert re.search(
        r"FAIL +key +The API does not take the key \(401\)\.\n +What to do: Put the right key", said
    )
    assert "hunter2" not in said


async def test_a_network_that_leads_nowhere_is_told() -> None:
    refused, one = await found(*ANYWHERE, "--upstream", f"https://127.0.0.1:{free_port()}")
    unknown, other = await found(*ANYWHERE, "--upstream", "https://nowhere.invalid")
    assert (refused, unknown) == (1, 1)
    assert one["tcp"]["detail"].endswith("127.0.0.1 (IPv4) refuses it.")
    assert [one[check]["result"] for check in ("tls", "clock")] == ["skipped", "skipped"]
    assert other["dns"]["detail"].startswith("The name nowhere.invalid cannot be resolved (")
    assert "getent hosts nowhere.invalid" in other["dns"]["advice"]


async def test_what_is_wrong_with_a_certificate_is_told(tmp_path: Path) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    expired = authority.issue_cert(
        "localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
    )

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response()

    async def judged(leaf: trustme.LeafCert | None) -> tuple[int, dict[str, Any]]:
        context = None
        if leaf is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            leaf.configure_cert(context)
        async with served(handle, context) as port:
            return await found(*ANYWHERE, "--upstream", f"https://localhost:{port}", environ=trusted)

    code, findings = await judged(authority.issue_cert("localhost"))
    assert code == 0, findings
    assert "of an authority that this machine trusts" in findings["tls"]["detail"]
    for leaf, said in (
        (trustme.CA().issue_cert("localhost"), "is of an authority that this machine does not know."),
        (expired, "has expired."),
        (authority.issue_cert("other.test"), "is for another name."),
        (None, "localhost does not speak TLS"),
    ):
        code, findings = await judged(leaf)
        assert code == 1
        assert said in findings["tls"]["detail"]
        assert findings["tls"]["advice"]


async def test_a_clock_that_is_wrong_is_told() -> None:
    async with dated(12) as slow, dated(-3600) as fast:
        warned, behind = await found(*ANYWHERE, "--upstream", slow)
        failed, ahead = await found(*ANYWHERE, "--upstream", fast)
    assert (warned, behind["clock"]["result"]) == (0, "warning")
    assert re.match(r"This machine's clock is 1[0-3] s behind the API's", behind["clock"]["detail"])
    assert (failed, ahead["clock"]["result"]) == (1, "FAIL")
    assert ahead["clock"]["detail"].startswith("This machine's clock is 60 min ahead of the API's")


async def test_a_port_that_is_taken_is_fine_if_the_proxy_itself_has_it(tmp_path: Path) -> None:
    mine, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    path, log = f"unix:{tmp_path / 's'}", tmp_path / "proxy.log"
    places = ("--listen", mine, "--listen", path, "--admin-listen", admin)
    async with programs.sandbox(tmp_path) as upstream, aiohttp.ClientSession() as session:
        upward = ("--upstream", upstream)
        async with programs.started("serve", *places, *upward, log=log) as process:
            await programs.urls(process, log, 2)
            with socket.create_server(("127.0.0.1", 0)) as other:
                theirs = f"127.0.0.1:{other.getsockname()[1]}"
                (code, said), (bad, told) = await asyncio.gather(
                    doctor(*places, *upward),
                    doctor("--listen", theirs, "--admin-listen", mine, *upward),
                )
            async with session.get(f"http://{admin}/readyz") as answer:
                assert answer.status == 200
        assert code == 0, said
        assert said.count("is in use by a running avala-proxy 0.1.0, ready.") == 3
        assert bad == 1
        assert f"FAIL     listen          {theirs} is in use by another program." in told
        assert f"FAIL     admin           {mine} is in use by another program." in told
        assert (await programs.ledger(session, upstream))["requests"] == 0


async def test_a_configuration_that_is_wrong_is_told_in_full(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[retry]\nmax_retries = -1\nmax_retrys = 3\n")
    code, said = await doctor("--config", str(path))
    assert code == 1
    assert "FAIL     configuration   2 problems:\n" in said
    assert "retry.max_retries" in said
    assert "retry.max_retrys" in said
    assert said.count("skipped") == 13


async def test_no_secret_is_ever_said_and_one_that_others_can_read_is_a_warning(
    tmp_path: Path, valkey: StoreServer
) -> None:
    secrets = {name: f"hunter2-{name}-hunter2" for name in ("key", "token", "admin", "password", "store")}
    for name, content in secrets.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o644 if name == "admin" else 0o600)
    path = tmp_path / "avala.toml"
    path.write_text(
        f'[credential]\nfile = "{tmp_path}/key"\n[[clients]]\nname = "ci"\ntoken_file = "{tmp_path}/token"\n'
        f'[listen]\nadmin_token_file = "{tmp_path}/admin"\n'
        f'[redis]\nurl = "{valkey.url}"\npassword_file = "{tmp_path}/password"\n'
        f'secret_file = "{tmp_path}/store"\n'
    )
    async with programs.sandbox(tmp_path) as upstream:
        options = ("--config", str(path), *ANYWHERE, "--upstream", upstream, "--spend")
        environ = {"AVALA_API_KEY": KEY}
        code, said = await doctor(*options, environ=environ)
        _, shown = await found(*options, environ=environ)
    assert code == 1, "the store wants no password, and the API not this key"
    assert "hunter2" not in said + json.dumps(shown)
    assert (
        f"warning  secret files    listen.admin_token_file {tmp_path}/admin is open to its group and ev"
        in said
    )
    assert f"What to do: chmod 600 {tmp_path}/admin" in said
    assert "FAIL     store           The store at" in said
    assert "The API does not take the key (401)." in said


async def test_a_store_is_told_to_be_there_or_gone() -> None:
    with start_store("valkey") as store:
        environ = {"AVALA_PROXY_REDIS__URL": store.url, "AVALA_PROXY_REDIS__SECRET": "hunter2-of-the-fleet"}
        async with dated(0) as upstream:
            where = (*ANYWHERE, "--upstream", upstream)
            code, there = await found(*where, environ=environ)
            store.kill()
            lost, gone = await found(*where, environ=environ)
    assert code == 0, there
    assert "does all that is needed" in there["store"]["detail"]
    assert (lost, gone["store"]["result"]) == (1, "FAIL")
    assert gone["store"]["advice"] == "Start it, or check redis.url."


async def test_ctrl_c_ends_it_at_once_and_cleanly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        upstream = f"https://127.0.0.1:{silent.getsockname()[1]}"
        process = await started(*ANYWHERE, "--upstream", upstream)
        assert process.stdout is not None
        said = await process.stdout.readuntil(b"took a connection")
        process.send_signal(signal.SIGINT)
        said += await process.stdout.read()
        assert await process.wait() == 130, said
    assert said.endswith(b"\nInterrupted.\n")
    assert b"Traceback" not in said
