"""Routes: the labels of metrics, which no client can multiply."""

import re
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.routes import KNOWN_ROUTES, LONGEST_LEARNED, OTHER, RouteTable

UID = str(UUID(int=0x1F00_BA4))
LABEL = re.compile(r"other|/[A-Za-z0-9._~{}/-]*")


@pytest.fixture(scope="module")
def table() -> RouteTable:
    return RouteTable(0)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v1/datasets/", "/api/v1/datasets/"),
        (f"/api/v1/datasets/{UID}/", "/api/v1/datasets/{id}/"),
        ("/api/v1/datasets/kitti/", "/api/v1/datasets/{id}/"),
        ("/api/v1/datasets/manual-upload/", "/api/v1/datasets/manual-upload/"),
        ("/api/v1/datasets/manual-upload/quota/", "/api/v1/datasets/manual-upload/quota/"),
        ("/api/v1/datasets/manual-upload/quotas/", "/api/v1/datasets/{owner}/{slug}/"),
        ("/api/v1/datasets/me/kitti/items/", "/api/v1/datasets/{owner}/{slug}/items/"),
        ("/api/v1/datasets/manual-upload/kitti/items/", "/api/v1/datasets/{owner}/{slug}/items/"),
        ("/api/v1/slices/me/list/", "/api/v1/slices/{owner}/list/"),
        ("/api/v1/slices/me/lists/", "/api/v1/slices/{owner}/{slug}/"),
        ("/api/v1/storage-configs/setup-info/", "/api/v1/storage-configs/setup-info/"),
        ("/api/v1/inference/invoke/", "/api/v1/inference/invoke/"),
        ("/api/v1/projects/p%20q/approve/", "/api/v1/projects/{id}/approve/"),
        ("/api/v1/users/me/", "/api/v1/users/me/"),
        ("/api/v1/resolve/me/kitti@main/", "/api/v1/resolve/{owner}/{dataset}/"),
        ("/api/v1/tasks/x\r\ny/", "/api/v1/tasks/{id}/"),
    ],
)
def test_a_known_route_is_found_and_words_win_over_placeholders(
    table: RouteTable, path: str, route: str
) -> None:
    assert table.template(path) == route
    assert table.label(path) == route


@pytest.mark.parametrize("route", KNOWN_ROUTES)
def test_every_known_route_finds_itself(table: RouteTable, route: str) -> None:
    assert table.label(re.sub(r"\{[a-z_]+\}", UID, route)) == route


def test_no_two_known_routes_are_one() -> None:
    shapes = Counter(re.sub(r"\{[a-z_]+\}", "{}", route) for route in KNOWN_ROUTES)
    assert [shape for shape, times in shapes.items() if times > 1] == []


@pytest.mark.parametrize(
    ("path", "guess"),
    [
        ("/", "/"),
        ("/healthz", "/healthz"),
        ("/api/v2/things/", "/api/v2/things/"),
        ("/api/v1/things/12/", "/api/v1/things/{id}/"),
        (f"/api/v1/things/{UID}", "/api/v1/things/{id}"),
        ("/api/v1/things/DEADBEEF/", "/api/v1/things/{id}/"),
        ("/api/v1/things/avk-12x/", "/api/v1/things/{id}/"),
        ("/api/v1/things/a1b/", "/api/v1/things/a1b/"),
        ("/api/v1/things/me@example/", "/api/v1/things/{id}/"),
        ("/api/v1/things/caf%C3%A9/", "/api/v1/things/{id}/"),
        ("/api/v1/things/" + "x" * 33 + "/", "/api/v1/things/{id}/"),
        ("/api/v1/things/" + "x" * 32 + "/", "/api/v1/things/" + "x" * 32 + "/"),
        ("/api/v1/datasets", "/api/v1/datasets"),
        ("/a" * 15, "/a" * 15),
        ("/" + "a" * 1023, "/{id}"),
    ],
)
def test_what_looks_like_an_identifier_becomes_one_in_a_guess(
    table: RouteTable, path: str, guess: str
) -> None:
    assert table.template(path) == guess
    assert table.label(path) == OTHER


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "api/v1/datasets/",
        "http://elsewhere/",
        "//",
        "/api//v1/",
        "/api/v1/datasets//",
        "/../etc/passwd",
        "/a/./b",
        "/a\nb/",
        "/a b",
        '/a"b',
        "/{id}/",
        "/a;b",
        "/ä",
        "/a" * 16,
        "/" + "a" * 1024,
    ],
    ids=lambda path: repr(path[:20]),
)
def test_an_odd_path_is_no_route(path: str) -> None:
    table = RouteTable(10)
    table.answered(path, 200)
    assert (table.template(path), table.label(path)) == (OTHER, OTHER)


def test_a_route_is_learned_from_success_alone() -> None:
    table = RouteTable(10)
    for status in (101, 199, 300, 404, 429, 500):
        table.answered("/api/v1/new/1/", status)
    assert table.label("/api/v1/new/2/") == OTHER
    table.answered("/api/v1/new/1/", 200)
    assert table.label("/api/v1/new/2/") == "/api/v1/new/{id}/"


def test_no_more_is_learned_than_there_is_room_for_and_known_routes_take_none() -> None:
    table = RouteTable(2)
    for path in ("/api/v1/tasks/", "/one/", "/one/", "/two/", "/three/", "//"):
        table.answered(path, 200)
    assert [table.label(path) for path in ("/one/", "/two/", "/three/")] == ["/one/", "/two/", OTHER]
    assert repr(table) == f"<RouteTable {len(KNOWN_ROUTES)} known, 2 of 2 learned>"


def test_a_route_so_long_that_it_would_swell_the_metrics_is_not_learned() -> None:
    table = RouteTable()
    longest = ("/" + "x" * 31) * 2
    assert len(longest) == LONGEST_LEARNED
    for path in (longest, longest + "x"):
        table.answered(path, 200)
    assert (table.label(longest), table.label(longest + "x")) == (longest, OTHER)


def test_known_routes_can_be_ones_own() -> None:
    table = RouteTable(0, ["/a/{x}", "/a/b"])
    assert [table.label(path) for path in ("/a/b", "/a/c", "/a/", "/a")] == ["/a/b", "/a/{x}", OTHER, OTHER]


@given(st.lists(st.text(max_size=40) | st.text("/abc1", max_size=40).map("/".__add__), max_size=30))
def test_whatever_is_asked_labels_stay_few_and_clean(paths: list[str]) -> None:
    table = RouteTable(3)
    for path in paths:
        table.answered(path, 200)
    labels = {table.label(path) for path in paths}
    assert len(labels - set(KNOWN_ROUTES) - {OTHER}) <= 3
    assert all(LABEL.fullmatch(label) for label in labels)


def test_what_it_remembers_of_paths_is_bounded(table: RouteTable) -> None:
    for number in range(5000):
        table.label(f"/api/v1/tasks/{number}/")
    assert table._cached.cache_info().currsize <= 2048


def test_no_route_is_learned_with_a_secret_in_it() -> None:
    asked: list[str] = []

    def is_secret(template: str) -> bool:
        asked.append(template)
        return "hunter" in template

    table = RouteTable(10, is_secret=is_secret)
    for path in ("/hunter/", "/hunter/", "/plain/", "/plain/", "/api/v1/tasks/"):
        table.answered(path, 200)
    assert [table.label(path) for path in ("/hunter/", "/plain/")] == [OTHER, "/plain/"]
    assert asked == ["/hunter/", "/hunter/", "/plain/"]
