"""Messages hold what came, as it came."""

from proxy.messages import Bytes, Headers, NoBody
from tests.fakes import request


def test_fields_are_found_in_any_case_and_kept_in_theirs() -> None:
    fields = Headers(((b"X-A", b"1"), (b"x-a", b"2"), (b"B", b"\xff")))
    assert fields.get(b"x-a") == "1"
    assert fields.all(b"x-a") == ["1", "2"]
    assert fields.get(b"b") == "\xff"
    assert fields.get(b"c") is None
    assert b"x-a" in fields
    assert b"c" not in fields
    assert list(fields) == [(b"X-A", b"1"), (b"x-a", b"2"), (b"B", b"\xff")]


def test_the_path_is_the_target_without_its_query() -> None:
    assert request(target="/a/?b=/c?d").path == "/a/"


async def test_no_body_is_not_an_empty_one() -> None:
    assert NoBody().size is None
    assert [chunk async for chunk in NoBody().chunks()] == []
    assert [chunk async for chunk in Bytes().chunks()] == []
