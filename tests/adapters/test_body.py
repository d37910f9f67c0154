"""A spooled body can be read again and again, whatever its size, and leaves nothing behind."""

import asyncio
from pathlib import Path

import pytest

from proxy.adapters.body import Spool, Spools
from proxy.config import Body
from tests.fakes import spool, until


async def content(body: Spool) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 700_000])
async def test_a_body_is_read_from_the_start_each_time(size: int, tmp_path: Path) -> None:
    sent = bytes(number % 251 for number in range(size))
    body = spool(1000, str(tmp_path))
    for offset in range(0, size, 70_001):
        await body.write(sent[offset : offset + 70_001])
    await body.finish()
    assert body.size == size
    assert await content(body) == sent
    assert await content(body) == sent
    assert repr(body) == f"<Spool {size} bytes in {'a file' if size > 1000 else 'memory'}>"
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    body.close()


async def test_a_large_body_is_read_in_pieces(tmp_path: Path) -> None:
    body = spool(10, str(tmp_path))
    await body.write(b"x" * 1_000_000)
    await body.finish()
    assert max([len(chunk) async for chunk in body.chunks()]) <= 256 * 1024
    body.close()


async def test_a_disk_that_does_not_take_it_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    body = spool(10, str(place))
    place.rmdir()
    with pytest.raises(OSError, match="gone"):
        await body.write(b"x" * 11)
    body.close()


async def test_many_small_bodies_share_the_memory_and_the_rest_go_to_files() -> None:
    spools = Spools(Body(memory=1000, total_memory=1500))
    first, second, third = spools.new(), spools.new(), spools.new()
    for body in (first, second):
        await body.write(b"x" * 1000)
    assert [repr(body) for body in (first, second)] == [
        "<Spool 1000 bytes in memory>",
        "<Spool 1000 bytes in a file>",
    ]
    first.close()
    first.close()
    await third.write(b"y" * 600)
    await third.write(b"y" * 400)
    assert repr(third) == "<Spool 1000 bytes in memory>"
    assert await content(second) == b"x" * 1000
    assert await content(third) == b"y" * 1000
    second.close()
    third.close()
    assert spools.claim(1500), "everything was given back, once"


def target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # the one by which they are listed is gone
        return ""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
async def test_what_is_given_up_in_the_middle_of_a_write_is_closed_after_it_and_not_before(
    tmp_path: Path,
) -> None:
    def is_open() -> bool:
        return any(str(tmp_path) in target(link) for link in Path("/proc/self/fd").iterdir())

    body = spool(0, str(tmp_path))
    await body.write(b"x")
    writing = asyncio.create_task(body.write(b"y" * 50_000_000))
    await asyncio.sleep(0.001)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    body.close()
    assert is_open(), "a thread writes there, and must not write into what gets the number next"
    await until(lambda: not is_open())
