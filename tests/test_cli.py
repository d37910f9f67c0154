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
    for command in ("serve", "check", "doctor", "plan", "sandbox", "demo"):
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


def test_the_doctor_says_what_is_wrong_with_its_options() -> None:
    code, said = avala_proxy("doctor", "--no-such-option")
    assert code == 2
    assert "No such option" in said


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


def test_cert_makes_a_certificate_and_says_what_to_do_with_it(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    code, said = avala_proxy("cert", "--directory", str(directory))
    assert code == 0
    assert said.startswith("A certificate for localhost, 127.0.0.1, ::1, good until ")
    assert f"--tls-certificate {directory / 'proxy.pem'} --tls-key {directory / 'proxy-key.pem'}" in said
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["ca-key.pem", "ca.pem", "proxy-key.pem", "proxy.pem"]
    code, said = avala_proxy("cert", "--directory", str(directory), "proxy.example")
    assert (code, said.endswith("Replace it with --force, or choose another --directory.\n")) == (1, True)
    code, said = avala_proxy("cert", "--directory", str(directory), "--force", "proxy.example")
    assert (code, "signed by (as before)" in said) == (0, True)


@pytest.mark.parametrize("arguments", [("https://x",), ("0.0.0.0",), ("*",), ("x", "--days", "0")])
def test_cert_says_what_is_wrong_with_what_it_was_given(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, said = avala_proxy("cert", "--directory", str(tmp_path / "tls"), *arguments)
    assert code in (1, 2)
    assert "Traceback" not in said
    assert not (tmp_path / "tls").exists()


def test_a_certificate_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    avala_proxy("cert", "--directory", str(tmp_path))
    pem, key = str(tmp_path / "proxy.pem"), str(tmp_path / "proxy-key.pem")
    listen = ("--listen", "https://127.0.0.1:8443", "--listen", f"unix:{tmp_path}/s")
    code, said = avala_proxy("check", *listen, "--tls-certificate", pem, "--tls-key", key)
    assert code == 0
    assert f'certificate = "{pem}"' in said
    assert f'key = "{key}"' in said
    code, said = avala_proxy("check", *listen, "--tls-certificate", pem)
    assert code == 2
    assert "listen.tls.key" in said
    code, said = avala_proxy("check", *listen)
    assert code == 2
    assert "`avala-proxy cert` makes some" in said


def test_serve_says_why_a_path_is_no_place_to_listen(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for path, reason in (
        (tmp_path / "missing" / "s", "its directory does not exist. Make it, or choose another path"),
        (tmp_path / "file", "a file that is no socket is there. Remove it, or choose another path"),
    ):
        code, said = avala_proxy("serve", "--listen", f"unix:{path}", "--admin-listen", "127.0.0.1:0")
        assert code == 1
        assert said == f"Cannot listen on unix:{path}: {reason}, with --listen unix:/path.\n"
    assert (tmp_path / "file").read_text() == "precious"


def test_a_place_that_can_not_be_had_gives_back_those_before_it(tmp_path: Path) -> None:
    listen = ("--listen", f"unix:{tmp_path / 's'}", "--listen", "192.0.2.1:8080")
    code, said = avala_proxy("serve", *listen, "--admin-listen", "127.0.0.1:0")
    assert (code, "192.0.2.1:8080: this machine has no such address" in said) == (1, True)
    assert not list(tmp_path.iterdir())


def test_check_reads_the_files_that_the_configuration_names(tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    where = ("--listen", "https://127.0.0.1:8443", "--tls-certificate", str(junk), "--tls-key", str(junk))
    code, said = avala_proxy("check", *where)
    assert (code, "holds no certificate" in said) == (2, True)
    empty = tmp_path / "key"
    empty.write_text("")
    path = tmp_path / "avala.toml"
    path.write_text(f'[credential]\nfile = "{empty}"\n')
    code, said = avala_proxy("check", "--config", str(path))
    assert (code, f"{empty} is empty" in said) == (2, True)


def test_plan_foretells_how_long_requests_take() -> None:
    code, said = avala_proxy("plan")
    assert code == 0
    assert said.startswith("1 caller sends 300 requests with one key, each one after the other; ")
    assert "300 are answered within 2 min 20 s.\n" in said
    assert "standard   100 per 60 s" in said
    assert said.endswith(".\n")


def test_plan_takes_kinds_callers_and_a_latency(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text('[[limits]]\nname = "tiny"\nconcurrent = 2\n')
    kinds = ("8 post /api/v1/exports/ 5", "4")
    options = ("--config", str(path), "--callers", "3", "--latency", "1", "--at-once")
    code, said = avala_proxy("plan", *options, *kinds)
    assert code == 0
    assert said.startswith("3 callers send 12 requests with one key, all at once; an answer takes 1 s.\n")
    assert "POST /api/v1/exports/  8         8        0" in said
    assert "tiny   2 at once" in said
    assert "standard" not in said


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("0",), "'0' is not COUNT, or "),
        (("5", "many GET /x"), "'many GET /x' is not COUNT, or "),
        (("5 GET /x?page=2",), "without query"),
        (("5 G@T /x",), "an HTTP method"),
        (("--callers", "0"), "--callers"),
        (("--latency", "-1"), "--latency"),
        (("--observe",), "--observe"),
    ],
)
def test_plan_says_what_is_wrong_with_what_it_was_given(arguments: tuple[str, ...], wrong: str) -> None:
    code, said = avala_proxy("plan", *arguments)
    assert (code, wrong in said) == (2, True), said
    assert "answered" not in said
    assert "Traceback" not in said


def test_plan_says_what_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[queue]\nsize = -1\n")
    code, said = avala_proxy("plan", "--config", str(path))
    assert (code, "queue.size" in said) == (2, True)
    code, said = avala_proxy("plan", "--config", "missing.toml")
    assert (code, "missing.toml" in said) == (2, True)


@pytest.mark.parametrize(
    ("command", "option"),
    [("plan", "--at-once"), ("plan", "COUNT METHOD /path SECONDS"), ("serve", "--observe")],
)
def test_help_tells_of_planning_and_observing(command: str, option: str) -> None:
    code, said = avala_proxy(command, "--help")
    assert code == 0
    assert option in " ".join(said.split())


def test_serve_observe_is_a_setting_like_others(tmp_path: Path) -> None:
    path = tmp_path / "avala.toml"
    path.write_text("[queue]\nobserve = 3\n")
    code, said = avala_proxy("serve", "--config", str(path))
    assert (code, "queue.observe" in said) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = avala_proxy("serve", "--observe", "--listen", where, "--admin-listen", "127.0.0.1:0")
    assert (code, "another program uses this port" in said) == (1, True)
