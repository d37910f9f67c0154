"""The commands, as users type them: what works, and what a clear sentence says when it does not."""

import asyncio
import json
import re
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

import proxy
from proxy.cli import main
from tests.e2e import programs


def avala_proxy(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all it said."""
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_help_lists_the_commands() -> None:
    code, said = avala_proxy("--help")
    assert code == 0
    for command in ("serve", "check", "sandbox", "demo"):
        assert f"  {command} " in said


def test_the_version_is_told() -> None:
    assert avala_proxy("--version") == (0, f"avala-proxy, version {proxy.__version__}\n")


def test_check_prints_the_effective_configuration() -> None:
    code, said = avala_proxy("check", "--listen", "127.0.0.1:7000", "--upstream", "https://eu.example")
    assert code == 0
    assert '"127.0.0.1:7000"' in said
    assert 'base_url = "https://eu.example"' in said
    assert "The configuration is valid." in said


def test_check_says_what_is_wrong_where_and_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[retry]\nmax_retries = -1\nmax_retrys = 3\n")
    code, said = avala_proxy("check", "--config", str(path))
    assert code == 2
    assert "retry.max_retries" in said
    assert "0 to 20" in said
    assert "retry.max_retrys" in said


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_file_that_is_not_there_is_a_clear_sentence(command: str) -> None:
    code, said = avala_proxy(command, "--config", "missing.toml")
    assert code == 2
    assert "missing.toml" in said
    assert "Traceback" not in said


def test_serve_says_that_the_port_is_taken_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--listen", "--admin-listen"):
            other = "--admin-listen" if option == "--listen" else "--listen"
            code, said = avala_proxy("serve", option, f"127.0.0.1:{port}", other, "127.0.0.1:0")
            assert code == 1
            assert f"Cannot listen on 127.0.0.1:{port}: another program uses this port. Stop it, or" in said
            assert f"choose another, with {option} HOST:PORT." in said


def test_serve_says_that_an_address_is_not_this_machines() -> None:
    code, said = avala_proxy("serve", "--listen", "192.0.2.1:8080", "--admin-listen", "127.0.0.1:0")
    assert code == 1
    assert "this machine has no such address" in said


def test_the_sandbox_says_that_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = avala_proxy("sandbox", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert code == 1
    assert "Choose another address, with --listen HOST:PORT." in said


@pytest.mark.parametrize(
    "arguments", [("--fault", "600=0.1"), ("--limit", "standard"), ("--listen", "x"), ("--fault", "500=2")]
)
def test_the_sandbox_says_what_is_wrong_with_its_options(arguments: tuple[str, ...]) -> None:
    code, said = avala_proxy("sandbox", *arguments)
    assert code == 2
    assert "Traceback" not in said


async def test_the_demo_shows_the_main_job_and_ends(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    async with programs.started("demo", "--once", "--requests", "60", log=log, traced=True) as process:
        async with asyncio.timeout(50):
            assert await process.wait() == 0
    said = log.read_text()
    assert "60/60 answered" in said
    assert "57 x 200, 3 x 404" in said
    assert "of which it refused 0 by its rate limits" in said
    assert "curl" not in said, "when it has ended there is nothing to try by hand"


async def test_the_demo_stays_up_for_requests_by_hand_until_it_is_stopped(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    async with programs.started("demo", "--requests", "5", log=log, traced=True):
        await programs.said(log, "one line a request")
        found = re.search(r"avk_demo' (http://\S+)", log.read_text())
        assert found is not None
        async with (
            aiohttp.ClientSession(headers={"X-Avala-Api-Key": "avk_demo"}) as session,
            session.get(found[1]) as answer,
        ):
            assert answer.status == 200


async def test_a_request_under_way_survives_sigterm_and_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    async with programs.sandbox(tmp_path, "--slow", "1.5") as upstream:
        log = tmp_path / "proxy.log"
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        async with programs.started("serve", *where, log=log, traced=True) as process:
            url, admin = await programs.urls(process, log, 2)
            headers = {"X-Avala-Api-Key": "avk_team", "X-Sandbox-Fault": "slow"}
            async with aiohttp.ClientSession(headers=headers) as session:

                async def ask() -> int:
                    async with session.get(f"{url}/api/v1/datasets/") as answer:
                        return answer.status

                asking = asyncio.create_task(ask())
                await asyncio.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.2)
                async with session.get(f"{admin}/readyz") as answer:
                    assert answer.status == 503
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
                assert await asking == 200
            async with asyncio.timeout(5):
                assert await process.wait() == 0
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert events == ["listening", "draining", "request", "stopped"]


async def test_a_second_signal_ends_the_draining(tmp_path: Path) -> None:
    async with programs.sandbox(tmp_path, "--slow", "30") as upstream:
        log = tmp_path / "proxy.log"
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        async with programs.started("serve", *where, log=log, traced=True) as process:
            url, _ = await programs.urls(process, log, 2)
            headers = {"X-Avala-Api-Key": "avk_team", "X-Sandbox-Fault": "slow"}
            async with aiohttp.ClientSession(headers=headers) as session:
                asking = asyncio.create_task(session.get(f"{url}/api/v1/datasets/"))
                await asyncio.sleep(0.5)
                process.send_signal(signal.SIGINT)
                await asyncio.sleep(0.3)
                assert process.returncode is None
                process.send_signal(signal.SIGINT)
                async with asyncio.timeout(5):
                    assert await process.wait() == 0
                async with await asking as answer:
                    assert answer.status == 503
                    assert (await answer.json())["code"] == "proxy_shutting_down"
        assert "1 requests were cut off" in log.read_text()
        assert "client_disconnected" not in log.read_text()


@pytest.mark.parametrize("command", [["demo", "--once"], ["sandbox", "--listen", "127.0.0.1:0"]])
async def test_a_signal_ends_what_runs_in_the_foreground(tmp_path: Path, command: list[str]) -> None:
    log = tmp_path / "out.log"
    interrupted = 130 if command[0] == "demo" else 0
    async with programs.started(*command, log=log, traced=True, code=interrupted) as process:
        await programs.said(log, "A pretend Avala API")
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await process.wait()
    assert ("Interrupted." in log.read_text()) is (command[0] == "demo")
    assert "Traceback" not in log.read_text()


async def test_no_standard_streams_are_no_reason_to_fail(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m proxy demo --once --requests 3 >&- 2>&-", env=programs.environment(traced=True)
    )
    async with asyncio.timeout(30):
        assert await process.wait() == 0
