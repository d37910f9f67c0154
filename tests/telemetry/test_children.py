"""Which labels a series gets, and that there are never too many."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from proxy.errors import ErrorClass
from proxy.telemetry.children import Answers, Children, Routes

LABELS = ("method", "route", "status", "error_class")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def answers(registry: CollectorRegistry) -> Answers:
    return Answers(Counter("answers", "Answers.", LABELS, registry=registry))


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    def each() -> Iterator[tuple[tuple[str, ...], float]]:
        for family in registry.collect():
            for one in family.samples:
                if not one.name.endswith("_created"):
                    yield tuple(one.labels.values()), one.value

    return dict(each())


def test_a_child_is_looked_up_once(registry: CollectorRegistry) -> None:
    children = Children(Counter("calls", "Calls.", ["route"], registry=registry))
    assert children("/a/") is children("/a/")
    assert children("/a/") is not children("/b/")


def test_a_route_that_is_forgotten_is_off_the_page_and_begins_anew(registry: CollectorRegistry) -> None:
    children = Children(Counter("calls", "Calls.", ["route"], registry=registry))
    for route in ("/a/", "/a/", "/b/"):
        children(route).inc()
    children.forget("/a/")
    children.forget("/never/")
    assert samples(registry) == {("/b/",): 1}
    children("/a/").inc()
    assert samples(registry) == {("/a/",): 1, ("/b/",): 1}


def test_when_there_are_many_the_route_is_given_up_first_and_the_class_never(
    registry: CollectorRegistry, answers: Answers
) -> None:
    classes = list(ErrorClass)
    for number in range(20_000):
        error_class = classes[number % len(classes)]
        answers(f"M{number % 7}", f"/{number % 31}/", str(100 + number % 899), error_class).inc()
    page = samples(registry)
    assert len(page) <= 260 + len(classes)
    assert sum(page.values()) == 20_000
    for place, error_class in enumerate(classes):
        expected = len(range(place, 20_000, len(classes)))
        assert sum(value for labels, value in page.items() if labels[3] == error_class) == expected
    assert ("other", "other", "other", classes[0]) in page


def test_a_combination_that_is_known_keeps_its_series_when_there_are_many(
    registry: CollectorRegistry, answers: Answers
) -> None:
    first = ("GET", "/a/", "200", "none")
    answers(*first).inc()
    for status in range(300, 600):
        answers("GET", "/a/", str(status), "none").inc()
    answers(*first).inc()
    page = samples(registry)
    assert page[first] == 2
    assert page["GET", "other", "510", "none"] == 1


class Forgotten(list[str]):
    """Which routes were dropped."""


def routes(forgotten: Forgotten, most: int = 2) -> Routes:
    return Routes(most, 60.0, forgotten.append)


def test_routes_have_series_while_there_is_room_and_the_rest_is_other() -> None:
    table = routes(Forgotten())
    assert [table.label(route) for route in ("/a/", "/b/", "/c/", "/a/", "other")] == [
        "/a/",
        "/b/",
        "other",
        "/a/",
        "other",
    ]


def test_other_takes_no_room() -> None:
    table = routes(Forgotten())
    assert [table.label(route) for route in ("other", "other", "/a/", "/b/")][2:] == ["/a/", "/b/"]


def test_a_route_that_is_idle_for_long_makes_room_for_another() -> None:
    forgotten = Forgotten()
    table = routes(forgotten)
    table.label("/a/"), table.label("/b/")
    table.sweep(100.0)
    table.label("/b/")
    table.sweep(159.0)
    assert forgotten == []
    table.sweep(160.0)
    assert forgotten == ["/a/"]
    assert table.label("/c/") == "/c/"
    assert table.label("/b/") == "/b/"
