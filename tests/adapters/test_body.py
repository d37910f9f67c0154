"""A spooled body can be read again and again, whatever its size, and leaves nothing behind."""

from pathlib import Path

import pytest

from proxy.adapters.body import Spool, Spools
from proxy.config import Body
from tests.fakes import spool


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
