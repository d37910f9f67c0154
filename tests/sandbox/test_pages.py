"""Lists are cut into pages that together give every record once."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.errors import ApiError
from proxy.sandbox.pages import page

URL = "http://host:1/api/v1/datasets/"
ROWS = [(position, {"n": position}) for position in range(1, 46)]


def query_of(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


@given(st.lists(st.integers(1, 10_000), unique=True, max_size=60), st.integers(1, 25))
def test_following_next_and_then_previous_gives_every_record_once_each_way(
    positions: list[int], size: int
) -> None:
    rows = [(position, {"n": position}) for position in sorted(positions)]
    pages = [page(rows, URL, {}, size)]
    while link := pages[-1]["next"]:
        pages.append(page(rows, URL, query_of(link), size))
    forward = [record for one in pages for record in one["results"]]
    assert forward == [record for _, record in rows]
    back = [pages[-1]]
    while link := back[-1]["previous"]:
        back.append(page(rows, URL, query_of(link), size))
    assert [record for one in reversed(back) for record in one["results"]] == forward


def test_links_are_absolute_and_keep_the_query() -> None:
    first = page(ROWS, URL, {"limit": "20", "status": "created"}, 10)
    assert first["previous"] is None
    assert first["next"].startswith(URL + "?")
    assert query_of(first["next"]).items() >= {"limit": "20", "status": "created"}.items()
    assert len(first["results"]) == 20


def test_a_record_deleted_between_two_pages_hides_no_other() -> None:
    first = page(ROWS, URL, {}, 20)
    rest = [row for row in ROWS if row[0] not in (3, 20)]
    assert page(rest, URL, query_of(first["next"]), 20)["results"][0] == {"n": 21}


@pytest.mark.parametrize(
    ("limit", "shown"), [("7", 7), ("0", 20), ("-3", 20), ("x", 20), ("", 20), ("1000", 45)]
)
def test_a_limit_that_is_no_positive_number_is_ignored(limit: str, shown: int) -> None:
    assert len(page(ROWS, URL, {"limit": limit}, 20)["results"]) == shown


@pytest.mark.parametrize("cursor", ["nonsense", "!", "/w==", "cT0x", "cD14"])
def test_a_cursor_that_was_not_given_out_is_404(cursor: str) -> None:
    with pytest.raises(ApiError) as refused:
        page(ROWS, URL, {"cursor": cursor}, 20)
    assert refused.value.reply.status == 404
    assert json.loads(refused.value.reply.body) == {"detail": "Invalid cursor"}


def test_an_empty_list_is_one_page() -> None:
    assert page([], URL, {}, 20) == {"next": None, "previous": None, "results": []}
