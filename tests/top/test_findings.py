"""What is wrong, is said: where, and how grave it is."""

from typing import Any

import pytest

from proxy.top.findings import findings
from tests.top.said import calm, error, limit, status


def said(whole: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(finding.where, finding.level, finding.text) for finding in findings(status(whole))]


def lately(*errors: dict[str, Any], sent: int = 0, refused: int = 0) -> dict[str, Any]:
    """Say that in the last half minute there were these errors."""
    whole = calm()
    whole["recent"]["errors"] = list(errors)
    whole["recent"]["history"].update(
        sent=[50] * 150 + [0] * 29 + [sent], refused=[50] * 150 + [0] * 29 + [refused]
    )
    return whole


def breakers(*states: str, forced: bool = False) -> list[dict[str, Any]]:
    names = ("upstream", "exports")
    return [
        {"name": name, "state": state, "forced": forced} for name, state in zip(names, states, strict=False)
    ]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        (
            {"draining": True, "in_flight": 1, "ready": False, "reason": "draining"},
            [("proxy", "warning", "The proxy is stopping: 1 request to finish")],
        ),
        (
            {"ready": False, "reason": "dns_error: no address of api.example"},
            [("network", "bad", "The network fails: the API's name cannot be resolved")],
        ),
        (
            {"breakers": breakers("open"), "ready": False, "reason": "circuit_open: the API fails"},
            [("api", "bad", "The API fails: the breaker is open")],
        ),
        (
            {"breakers": breakers("closed", "open")},
            [("api", "bad", "The API fails: the breaker of exports is open")],
        ),
        (
            {"breakers": breakers("open", forced=True)},
            [("proxy", "bad", "Stopped by hand: the breaker is held open")],
        ),
        (
            {"breakers": breakers("half_open")},
            [("api", "warning", "The API is tried again: the breaker lets one request through")],
        ),
        ({"breakers": breakers("turned inside out")}, []),
        (
            {"pauses": {"burst": 0.4, "standard": 12.5}},
            [
                (
                    "api",
                    "warning",
                    "The API refuses: limit standard is paused for 13 s and limit burst is paused for 1 s",
                )
            ],
        ),
        (
            {"ledger_up": False, "shared": True, "reason": "degraded: the store is gone"},
            [("proxy", "warning", "The shared store is lost: this replica goes on with its share")],
        ),
        ({"ready": False, "reason": "tired"}, [("proxy", "bad", "The proxy is not ready: tired")]),
        ({"queued": 1}, [("proxy", "note", "1 request waits")]),
        (
            {
                "queued": 1200,
                "queue_size": 0,
                "callers": [
                    {"caller": "x", "queued": 1, "last": 99.1},
                    {"caller": "y", "queued": 1, "last": None},
                ],
                "limits": [
                    limit("a", remaining=0, queued=3),
                    limit("b", remaining=0, queued=3),
                    limit("c", remaining=0, queued=3),
                    limit("full", remaining=0),
                    limit("free", queued=3),
                    limit("held", remaining=0, queued=3, paused=True),
                ],
            },
            [
                (
                    "proxy",
                    "note",
                    "1,200 requests wait, the last goes in 100 s; a, b and c are used up",
                )
            ],
        ),
    ],
)
def test_what_is_so_now_is_said(changed: dict[str, Any], found: list[tuple[str, str, str]]) -> None:
    assert said(calm(**changed)) == found


def test_a_queue_is_full_when_no_more_may_wait() -> None:
    full = ("proxy", "bad", "The proxy's queue is full: 1,000 wait")
    assert full in said(calm(queued=1000))
    assert full not in said(calm(queued=999))


@pytest.mark.parametrize(
    ("fault", "place", "name"), [("network", "network", "network"), ("upstream", "api", "API")]
)
def test_half_of_all_that_was_sent_makes_a_failure_and_less_a_nuisance(
    fault: str, place: str, name: str
) -> None:
    two = (error("one", fault, 9, lately=2), error("two", fault, 9, lately=1), error("old", fault, 9))
    assert said(lately(*two, sent=6)) == [(place, "bad", f"The {name} fails: 3 errors in the last 30 s")]
    assert said(lately(*two, sent=7)) == [
        (place, "warning", f"The {name} is unsteady: 3 errors in the last 30 s")
    ]
    assert said(lately(error("one", fault, 9, lately=2)))[0][1] == "warning", "two may be chance"


def test_what_clients_get_wrong_is_theirs() -> None:
    wrong = error("not_found", "client", 9, lately=3)
    assert said(lately(wrong, sent=6)) == [
        ("client", "warning", "The clients' own requests are wrong: 3 errors in the last 30 s")
    ]
    assert said(lately(wrong, sent=600)) == [
        ("client", "note", "Some requests of clients are wrong: 3 errors in the last 30 s")
    ]


def test_a_refusal_of_the_api_is_told_by_its_pause_alone() -> None:
    assert said(lately(error("rate_limited", "upstream", 9, lately=9))) == []


def test_an_open_breaker_is_the_networks_if_most_failures_were() -> None:
    whole = lately(
        error("read_timeout", "network", 9, lately=2), error("server_error", "upstream", 9, lately=1), sent=99
    )
    whole["state"]["breakers"] = breakers("open")
    assert said(whole)[0] == ("network", "bad", "The network fails: the breaker is open")


def test_what_the_proxy_refused_is_told_with_the_reasons() -> None:
    whole = lately(
        error("queue_timeout", "proxy", 9, lately=2),
        error("queue_full", "proxy", 9, lately=1),
        error("bad_request", "proxy", 9, lately=1),
        refused=4,
    )
    assert said(whole) == [
        ("proxy", "warning", "The proxy refused 4 requests in the last 30 s (queue_full and queue_timeout)")
    ]
    assert said(lately(refused=1)) == [("proxy", "warning", "The proxy refused 1 request in the last 30 s")]


def test_errors_of_the_proxy_itself_are_grave() -> None:
    assert said(lately(error("internal_error", "proxy", 9, lately=1))) == [
        ("proxy", "bad", "The proxy failed: 1 internal error in the last 30 s")
    ]
