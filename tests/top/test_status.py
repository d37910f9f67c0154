"""What is said is read, whatever version of the proxy says it, and nothing in it can break what is drawn."""

import json

import pytest

from proxy.top.status import Unreadable, read
from tests.top.said import busy, limit, status


def test_all_that_is_said_is_read() -> None:
    read_ = status(busy())
    assert read_.state.limits[0].ours == 100 - 5 - 10 - 42
    assert read_.callers[0].last == 31.5
    assert read_.verdict is not None
    assert [one.level for one in (read_.verdict.headline, *read_.verdict.also)] == ["ok", "note"]
    assert read_.recent is not None
    assert read_.recent.history is not None
    assert read_.recent.history.sent[89] == 90
    assert read_.recent.upstream.most == 1.2


def test_an_older_proxy_says_less() -> None:
    old = {"name": "standard", "capacity": 100, "remaining": 42, "foreign": 5, "queued": 3, "paused": False}
    state = {"limits": [old], "in_flight": 7, "queued": 3, "pauses": {}, "breakers": [], "replicas": 1}
    read_ = read(json.dumps({"version": "0.0.1", "uptime": 1.0, "state": state, "configuration": ""}))
    assert read_.ready is None
    assert read_.verdict is None
    assert read_.recent is None
    assert read_.state.limits[0].window is None


def test_a_newer_proxy_says_more() -> None:
    said = busy()
    said["more"] = said["state"]["more"] = said["callers"][0]["more"] = [{"even": "more"}]
    said["verdict"]["more"] = said["verdict"]["headline"]["more"] = "more"
    assert status(said) == status(busy())


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "Invalid JSON: EOF while parsing a value"),
        (b'{"state": {}', "Invalid JSON: EOF"),
        (b"<html>", "Invalid JSON: expected value"),
        (b"[]", "Input should be an object"),
        (b"{}", "state: Field required"),
        (b'{"detail": "There is nothing here."}', "state: Field required"),
        (b'{"state": {"in_flight": "many"}}', "state.in_flight: "),
        (b'{"state": {"limits": [{"name": "x"}]}}', "state.limits.0.capacity: "),
        (b'{"state": {}, "verdict": {"also": []}}', "verdict.headline: Field required"),
        (b'{"state": {}, "uptime": NaN}', "uptime: Input should be a finite number"),
        (b'{"state": {}, "uptime": 1e999}', "uptime: "),
        (b'{"state":' * 1000, "recursion"),
    ],
)
def test_what_is_no_status_is_told_by_where(content: bytes, wrong: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(content)
    assert wrong in str(caught.value)


def test_numbers_are_brought_into_bounds() -> None:
    wild = status(
        busy(limits=[limit(capacity=10**40, remaining=-3, window=-1.0)], queued=-1, pauses={"x": 1e300})
    )
    assert wild.state.limits[0].capacity == 10**15
    assert wild.state.limits[0].remaining == 0
    assert wild.state.limits[0].window == 0.0
    assert wild.state.queued == 0
    assert wild.state.pauses["x"] == 1e12


def test_what_is_ours_is_what_others_have_not() -> None:
    assert status(busy(limits=[limit(remaining=90)])).state.limits[0].ours == 10
    assert status(busy(limits=[limit(remaining=90, foreign=20)])).state.limits[0].ours == 0
