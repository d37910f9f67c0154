"""Large bodies cross in bounded memory, in both directions, however slow a client reads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e import programs
from tests.e2e.stack import KEY

MIB = 1024 * 1024


def peak(pid: int) -> int:
    """Return the most memory that a process has ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
async def test_a_hundred_megabytes_up_and_down_leave_no_trace_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "proxy.log"
    async with programs.sandbox(tmp_path) as upstream, aiohttp.ClientSession(headers=KEY) as session:
        where = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", upstream]
        async with programs.started("serve", *where, log=log) as process:
            url, _ = await programs.urls(process, log, 2)

            async def content() -> AsyncIterator[bytes]:
                for _ in range(100):
                    yield b"x" * MIB

            async with session.get(f"{url}/api/v1/users/me/") as answer:
                assert answer.status == 200
            before = peak(process.pid)
            async with session.post(f"{url}/api/v1/uploads/", data=content()) as answer:
                assert answer.status == 201
                assert (await answer.json())["size"] == 100 * MIB
            up = peak(process.pid) - before
            async with session.get(f"{url}/api/v1/downloads/{100 * MIB}/") as answer:
                await asyncio.sleep(
                    0.5
                )  # a client that does not read: what it does not take must not pile up
                size = 0
                async for chunk in answer.content.iter_any():
                    size += len(chunk)
                assert size == 100 * MIB
            down = peak(process.pid) - before - up
    print(f"\n100 MB up took {up / MIB:.1f} MB of memory more, 100 MB down {down / MIB:.1f} MB")
    assert up < 16 * MIB
    assert down < 16 * MIB
