"""What is wrong, is said: where, and how bad it is."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.policy.findings import findings
from proxy.policy.situation import Situation
from proxy.recent import Recent
from proxy.state import BreakerState, CallerState
from tests.policy.moments import CALM, EXPORTS, SERVING, UPSTREAM, lately, limit, waiter

Found = list[tuple[str, str, str, str]]
NOTHING = lately()


def found(
    recent: Recent = NOTHING,
    ready: tuple[bool, str] = SERVING,
    callers: tuple[CallerState, ...] = (),
    **changed: Any,
) -> Found:
    """Return what is said of a calm proxy that has changed so."""
    now = Situation(ready, replace(CALM, **changed), callers, recent)
    return [(one.key, one.level, one.title, one.text) for one in findings(now)]


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert found() == []


def test_a_proxy_that_stops_tells_what_is_left_to_do() -> None:
    assert found(draining=True, in_flight=1, ready=(False, "draining")) == [
        ("stopping", "warn", "Proxy: stopping", "The proxy is stopping: 1 request to finish")
    ]


def test_what_makes_it_not_ready_is_said_once() -> None:
    assert found(ready=(False, "dns_error: no such name")) == [
        ("dns", "bad", "Network: fails", "The network: the API’s name cannot be resolved")
    ]
    assert found(ready=(False, "the moon")) == [
        ("unready", "bad", "Proxy: not ready", "The proxy is not ready: the moon")
    ]
    opened = (replace(UPSTREAM, state="open"),)
    assert len(found(ready=(False, "circuit_open: it fails"), breakers=opened)) == 1


@pytest.mark.parametrize(
    ("breakers", "told"),
    [
        (
            (replace(UPSTREAM, state="open"),),
            [("open upstream", "bad", "API: fails", "The API fails: breaker open")],
        ),
        (
            (UPSTREAM, replace(EXPORTS, state="open")),
            [("open exports", "bad", "API: fails", "The API fails: breaker of exports open")],
        ),
        (
            (replace(UPSTREAM, state="open", forced=True),),
            [("forced upstream", "bad", "Proxy: stopped", "Stopped by hand: the breaker is held open")],
        ),
        (
            (UPSTREAM, replace(EXPORTS, state="half_open")),
            [
                (
                    "half exports",
                    "warn",
                    "API: tried again",
                    "The API is tried again: the breaker of exports lets one request through",
                )
            ],
        ),
        ((), []),
    ],
)
def test_each_breaker_that_is_not_closed_is_told_of(breakers: tuple[BreakerState, ...], told: Found) -> None:
    assert found(breakers=breakers) == told


def test_an_open_breaker_is_the_networks_if_most_failures_were() -> None:
    breakers = (replace(UPSTREAM, state="open"),)
    told = [
        found(lately(sent=99, connection_refused=network, server_error=1), breakers=breakers)[0]
        for network in (2, 1)
    ]
    assert told == [
        ("open upstream", "bad", "Network: fails", "The network: connections fail, breaker open"),
        ("open upstream", "bad", "API: fails", "The API fails: breaker open"),
    ]


@pytest.mark.parametrize(
    ("recent", "told"),
    [
        (
            lately(sent=60, dns_error=20, read_timeout=20),
            ("network", "bad", "Network: fails", "The network: connections fail, 40 errors in the last 30 s"),
        ),
        (
            lately(sent=60, read_timeout=1),
            (
                "network some",
                "warn",
                "Network: unsteady",
                "The network is unsteady: 1 error in the last 30 s",
            ),
        ),
        (
            lately(sent=60, server_error=30),
            ("api", "bad", "API: fails", "The API fails: 30 errors in the last 30 s"),
        ),
        (
            lately(sent=60, unavailable=29),
            ("api some", "warn", "API: unsteady", "The API is unsteady: 29 errors in the last 30 s"),
        ),
        (
            lately(sent=60, validation=31),
            (
                "clients",
                "warn",
                "Clients: in error",
                "The clients’ own requests are wrong: 31 errors in the last 30 s",
            ),
        ),
        (
            lately(sent=60, validation=3),
            (
                "clients some",
                "note",
                "Clients: some errors",
                "Some requests of clients are wrong: 3 errors in the last 30 s",
            ),
        ),
        (
            lately(internal_error=1),
            ("internal", "bad", "Proxy: fails", "The proxy failed: 1 internal error in the last 30 s"),
        ),
    ],
)
def test_errors_are_told_by_fault_and_by_how_many_of_all_they_are(
    recent: Recent, told: tuple[str, str, str, str]
) -> None:
    assert found(recent) == [told]


def test_a_refusal_of_the_api_is_told_by_its_pauses_the_longest_first() -> None:
    paused = {"burst": 0.2, "standard": 12.0}
    text = "The API refuses: standard is paused for 12 s and burst is paused for 1 s"
    assert found(lately(rate_limited=50), pauses=paused) == [
        ("paused burst,standard", "warn", "API: refuses", text)
    ]


def test_a_queue_is_full_when_no_more_may_wait() -> None:
    full = ("full", "bad", "Proxy: queue full", "The proxy’s queue is full: 1,000 wait")
    assert full in found(queued=1000)
    assert full not in found(queued=999)
    assert found(queue_size=0) == [], "it has no bound"


def test_what_the_proxy_refused_is_told_with_the_reasons_that_concern_all() -> None:
    recent = lately(refused=4, queue_timeout=2, queue_full=1, shutting_down=0, bad_request=1)
    text = "The proxy refused 4 requests in the last 30 s (queue_timeout and queue_full)"
    assert found(recent) == [("refusing", "warn", "Proxy: refuses", text)]
    assert found(lately(refused=1))[0][-1] == "The proxy refused 1 request in the last 30 s"


def test_a_store_that_is_gone_is_told_where_there_should_be_one() -> None:
    text = "The shared store is gone: this replica goes on with its share"
    assert found(shared=True, ledger_up=False) == [("store", "warn", "Proxy: on its own", text)]
    assert found(shared=False, ledger_up=False) == []


def test_who_waits_is_told_until_when_and_for_what() -> None:
    limits = (
        limit("a", remaining=0, queued=3),
        limit("b", remaining=0, queued=3),
        limit("full", remaining=0),
        limit("free", queued=3),
        limit("held", remaining=0, queued=3, paused=True),
    )
    callers = (waiter(99.1), waiter(None))
    text = "999 requests wait, the last goes in 100 s; a and b are used up"
    assert found(queued=999, limits=limits, callers=callers) == [("waiting", "note", "Proxy: waiting", text)]
    assert found(queued=1, limits=limits[:1])[0][-1] == "1 request waits; a is used up"
    assert found(queued=1)[0][-1] == "1 request waits"
