"""`avala-proxy top`, as users start it: in a terminal, and in pipes."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.e2e.programs import environment
from tests.fakes import until
from tests.servers import free_port
from tests.top.said import busy, calm, judged
from tests.top.scripted import admin
from tests.top.terminals import ENTER, HIDE, LEAVE, Terminal, terminal


async def top(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run it without a terminal; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "top", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(traced=True) | {"COLUMNS": "80"} | variables,
    )
    async with asyncio.timeout(15):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_it_draws_and_draws_anew_and_q_leaves_the_terminal_as_it_was() -> None:
    async with admin() as one, terminal("top", "--admin", one.url) as seen:
        await seen.shows(f"Asking {one.url}.")
        one.tell(calm())
        await seen.shows("Serving", "live", "100 of 100 left, 60 s", "waited    none")
        assert seen.sent.startswith(ENTER)
        assert HIDE in seen.sent
        one.tell(busy())
        await seen.shows("42 of 100 left, 60 s", "nightly", "12 wait")
        assert b"\x1b[2J" not in seen.sent, "nothing is cleared, so nothing flickers"
        assert not seen.restored
        seen.type(b"x\x1b[A")
        one.tell(calm(verdict=judged(("warn", "The proxy is stopping: 1 request to finish"))))
        await seen.shows("The proxy is stopping")
        seen.type(b"q")
        assert await seen.ended() == 0
        await seen.until(lambda: seen.restored)
        assert b"Traceback" not in seen.sent


@pytest.mark.parametrize("keys", [b"\x03", b"\x1b"], ids=["Ctrl-C", "Esc"])
async def test_other_ways_to_leave_are_as_good(keys: bytes) -> None:
    async with admin() as one, terminal("top", "--admin", one.url) as seen:
        one.tell(calm())
        await seen.shows("Serving")
        seen.type(keys)
        assert await seen.ended() == 0
        await seen.until(lambda: seen.restored)
        assert seen.sent.endswith(LEAVE)


def continued(seen: Terminal) -> bool:
    """Continue it, and tell whether it has gone on; it may not have come to its stop yet."""
    seen.process.send_signal(signal.SIGCONT)
    return not seen.restored


async def test_it_follows_the_size_of_the_terminal_and_can_be_stopped_and_continued() -> None:
    async with admin() as one, terminal("top", "--admin", one.url) as seen:
        one.tell(busy())
        await seen.shows("42 of 100 left, 60 s")
        seen.resize(40, 12)
        await seen.shows("42/100")
        await seen.until(lambda: [len(line) for line in seen.screen.splitlines()] == [40] * 12)
        seen.type(b"\x1a")
        await seen.until(lambda: seen.restored)
        assert seen.process.returncode is None
        await seen.until(lambda: continued(seen))
        one.tell(calm())
        await seen.shows("100/100")
        seen.process.terminate()
        assert await seen.ended() == 0
        await seen.until(lambda: seen.restored)


async def test_who_closes_the_terminal_ends_it() -> None:
    async with admin() as one, terminal("top", "--admin", one.url) as seen:
        one.tell(calm())
        await seen.shows("Serving")
        seen.hang_up()
        assert await seen.ended() == 0
        await until(lambda: one.watchers == 0)


async def test_without_a_keyboard_it_shows_the_same_and_ends_with_its_terminal() -> None:
    async with admin() as one, terminal("top", "--admin", one.url, keyboard=False) as seen:
        one.tell(calm())
        await seen.shows("Serving")
        seen.hang_up()
        one.tell(busy())
        assert await seen.ended() == 0


async def test_it_waits_for_a_proxy_and_says_when_it_is_gone_and_finds_it_again() -> None:
    async with admin() as one:
        await one.stop()
        async with terminal("top", "--admin", one.url, columns=120, NO_COLOR="1") as seen:
            await seen.shows(
                f"nothing answers at {one.url}; is `avala-proxy serve` running there, and is it this address"
            )
            one.refused["/events"] = 503, "too many"
            one.status = calm()
            await one.start()
            await seen.shows("Serving", "polling")
            await one.stop()
            await seen.shows("No news since ", "gone")
            one.refused.clear()
            one.tell(busy())
            await one.start()
            await seen.shows("Serving", "live")
            seen.type(b"q")
            assert await seen.ended() == 0
            assert re.search(rb"\x1b\[[0-9;]*3[0-7]m", seen.sent) is None, "NO_COLOR"


async def test_once_is_plain_text_where_there_is_no_terminal_too() -> None:
    async with admin(busy()) as one:
        code, said, complaint = await top(
            "--admin", one.url.removeprefix("http://"), "--once", FORCE_COLOR="1"
        )
        assert (code, complaint) == (0, "")
        assert said.startswith(
            f"avala-proxy  0.1.0  ready  up 2 h 13 min  {one.url}\nServing\n17 requests wait, the last"
        )
        assert "\x1b" not in said
        assert said.endswith("of 1,250\n")


async def test_a_terminal_that_can_not_be_redrawn_is_shown_it_once() -> None:
    async with admin(busy()) as one, terminal("top", "--admin", one.url, TERM="dumb") as seen:
        assert await seen.ended() == 0
        await seen.until(lambda: b"of 1,250" in seen.sent)
        assert b"\x1b" not in seen.sent


async def test_where_the_output_can_not_have_blocks_it_is_ascii() -> None:
    async with admin(busy()) as one:
        code, said, complaint = await top("--admin", one.url, PYTHONIOENCODING="ascii")
        assert (code, complaint) == (0, "")
        assert said.isascii()
        assert said.endswith("of 1,250\n"), "a pipe is shown it once"


def test_without_a_terminal_it_does_not_wait_for_a_proxy(tmp_path: Path) -> None:
    url = f"127.0.0.1:{free_port()}"
    config = tmp_path / "avala.toml"
    config.write_text(f'[listen]\nadmin_address = "{url}"\n')
    result = CliRunner().invoke(main, ["top", "--config", str(config)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"nothing answers at http://{url}; "
        "is `avala-proxy serve` running there, and is it this address (--admin)?\n"
    )


async def test_an_output_that_is_closed_is_no_reason_to_complain() -> None:
    async with admin(busy()) as one:
        reading, writing = os.pipe()
        os.close(reading)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "top", "--admin", one.url),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
            env=environment(traced=True),
        )
        os.close(writing)
        async with asyncio.timeout(15):
            _, complaint = await process.communicate()
        assert complaint == b""


def test_help_tells_of_it() -> None:
    assert "  top " in CliRunner().invoke(main, ["--help"]).output


def test_what_is_no_address_is_told() -> None:
    result = CliRunner().invoke(main, ["top", "--admin", "nonsense"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("--admin is not an address; allowed: HOST:PORT")
