"""A spooled body can be read again and again, whatever its size, and leaves nothing behind."""

from pathlib import Path

import pytest

from proxy.adapters.body import Spool


async def content(spool: Spool) -> bytes:
    return b"".join([chunk async for chunk in spool.chunks()])


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 700_000])
async def test_a_body_is_read_from_the_start_each_time(size: int, tmp_path: Path) -> None:
    sent = bytes(number % 251 for number in range(size))
    spool = Spool(1000, str(tmp_path))
    for offset in range(0, size, 70_001):
        await spool.write(sent[offset : offset + 70_001])
    await spool.finish()
    assert spool.size == size
    assert await content(spool) == sent
    assert await content(spool) == sent
    assert repr(spool) == f"<Spool {size} bytes in {'a file' if size > 1000 else 'memory'}>"
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    spool.close()


async def test_a_large_body_is_read_in_pieces(tmp_path: Path) -> None:
    spool = Spool(10, str(tmp_path))
    await spool.write(b"x" * 1_000_000)
    await spool.finish()
    assert max([len(chunk) async for chunk in spool.chunks()]) <= 256 * 1024
    spool.close()


async def test_a_disk_that_does_not_take_it_is_an_error(tmp_path: Path) -> None:
    spool = Spool(10, str(tmp_path / "missing"))
    with pytest.raises(OSError, match="missing"):
        await spool.write(b"x" * 11)
    spool.close()
