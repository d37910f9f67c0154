"""Everybody hears every event, and a listener that fails harms nobody."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy.errors import ErrorClass
from proxy.events import Event, Events, InterimSent, Rejected


def test_listeners_are_told_in_order() -> None:
    told: list[str] = []
    events = Events(lambda event: told.append("first"), lambda event: told.append("second"))
    events(Rejected("other", ErrorClass.QUEUE_FULL))
    assert told == ["first", "second"]


def test_a_listener_that_fails_is_reported_once_and_the_others_hear_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        raise ZeroDivisionError

    events = Events(broken, told.append)
    for _ in range(3):
        events(Rejected("other", ErrorClass.QUEUE_FULL))
    assert len(told) == 3
    assert capsys.readouterr().err.count("Traceback") == 1


def test_a_listener_with_a_table_is_told_of_what_is_in_it_only() -> None:
    told: list[str] = []

    class Choosy:
        def __init__(self) -> None:
            self.hears: dict[type, Callable[[Any], None]] = {
                Rejected: lambda event: told.append(event.reason)
            }

    events = Events(Choosy(), lambda event: told.append("all"))
    events(Rejected("other", ErrorClass.QUEUE_FULL))
    events(InterimSent())
    assert told == ["queue_full", "all", "all"]
