"""How the proxy is, is said in sentences, the gravest first."""

from datetime import datetime
from typing import Any

import pytest

from proxy.top.verdict import verdict
from tests.top.said import NOW, calm, error, news, trouble


def said(status: dict[str, Any] | None, **changed: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in verdict(news(status, **changed))]


def test_where_nothing_is_wrong_it_serves() -> None:
    assert said(calm()) == [("good", "Serving.")]


def test_an_older_proxy_serves_too_if_it_does_not_say_that_it_does_not() -> None:
    old = calm()
    del old["ready"], old["reason"]
    assert said(old) == [("good", "Serving.")]


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        (
            {"draining": True, "in_flight": 2, "queued": 3, "ready": False, "reason": "draining"},
            "warning",
            "Draining: no more are taken, 5 are let finish.",
        ),
        (
            {
                "breakers": [{"name": "upstream", "state": "open"}],
                "ready": False,
                "reason": "circuit_open: the API fails",
            },
            "bad",
            "The API fails: the breaker of upstream is open.",
        ),
        (
            {"breakers": [{"name": "exports", "state": "open", "forced": True}]},
            "bad",
            "The API is left alone: the breaker of exports was opened by hand.",
        ),
        (
            {"breakers": [{"name": "exports", "state": "half_open"}]},
            "warning",
            "The API is tried again: the breaker of exports is half open.",
        ),
        (
            {"ready": False, "reason": "dns_error: no address of api.example"},
            "bad",
            "The network fails: dns_error: no address of api.example",
        ),
        (
            {"pauses": {"standard": 12.5}},
            "warning",
            "The API refuses: limit standard is paused for 12 s.",
        ),
        (
            {"queued": 1000},
            "bad",
            "The queue is full: 1,000 wait, and whoever comes is refused.",
        ),
        (
            {"ledger_up": False, "shared": True, "reason": "degraded: the store is gone"},
            "warning",
            "The store is lost: this replica keeps to its share of the budget.",
        ),
        ({"ready": False, "reason": "tired"}, "bad", "Not ready: tired"),
        # Told by the breaker, if that is seen; else by the reason.
        ({"ready": False, "reason": "circuit_open: x"}, "bad", "Not ready: circuit_open: x"),
    ],
)
def test_what_is_wrong_is_said(changed: dict[str, Any], level: str, text: str) -> None:
    assert said(calm(**changed)) == [(level, text)]


def test_a_failure_of_the_network_speaks_for_it_only_if_it_was_lately() -> None:
    status = calm()
    status["recent"]["errors"] = [
        error("connection_refused", "network", 3, ago=4.2),
        error("read_timeout", "network", 3, ago=2.2),
        error("dns_error", "network", 3, last=None),
        error("server_error", "upstream", 3, ago=1.0),
    ]
    status["recent"]["errors"][2]["last"] = None
    assert said(status) == [("warning", "The network fails: read_timeout, 2 s ago.")]
    status["now"] += 10
    assert said(status) == [("good", "Serving.")]


def test_all_that_is_wrong_is_said_in_the_order_of_the_cases() -> None:
    beginnings = [text.partition(":")[0] for _, text in said(trouble())]
    assert beginnings == [
        "Draining",
        "The API fails",
        "The API is left alone",
        "The API is tried again",
        "The network fails",
        "The API refuses",
        "The queue is full",
        "The store is lost",
    ]


def test_without_news_that_is_all_that_is_known() -> None:
    at = datetime.fromtimestamp(NOW).strftime("%H:%M:%S")
    assert said(trouble(), trouble="nothing answers at http://x") == [
        ("bad", f"No news since {at}: nothing answers at http://x. It is tried again.")
    ]


def test_before_there_was_any_news_it_says_what_it_does() -> None:
    assert said(None) == [("warning", "Asking http://127.0.0.1:9464.")]
    assert said(None, trouble="nothing answers; is it there?") == [("bad", "nothing answers; is it there?")]
