"""How the proxy is, is said in sentences, the gravest first."""

from datetime import datetime
from typing import Any

from proxy.top.verdict import verdict
from tests.top.said import NOW, busy, calm, error, news, trouble


def said(status: dict[str, Any] | None, **changed: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in verdict(news(status, **changed))]


def test_where_nothing_is_wrong_it_serves() -> None:
    assert said(calm()) == [("good", "Serving")]
    assert said(busy()) == [("good", "Serving"), ("note", "17 requests wait, the last goes in 32 s")]


def test_an_older_proxy_serves_too_if_it_does_not_say_that_it_does_not() -> None:
    old = calm()
    del old["ready"], old["reason"], old["recent"]
    assert said(old) == [("good", "Serving")]


def test_what_is_not_ready_does_not_serve_even_if_nothing_else_is_said() -> None:
    assert said(calm(ready=False, reason="circuit_open: x")) == [
        ("bad", "The proxy is not ready: circuit_open: x")
    ]


def test_all_that_is_wrong_is_said_the_gravest_first_and_then_in_the_order_of_the_cases() -> None:
    assert said(trouble()) == [
        ("bad", "The network fails: the breaker of upstream is open"),
        ("bad", "Stopped by hand: the breaker of inference is held open"),
        ("bad", "The proxy's queue is full: 17 wait"),
        ("warning", "The proxy is stopping: 7 requests to finish"),
        ("warning", "The API is tried again: the breaker of exports lets one request through"),
        ("warning", "The API refuses: limit standard is paused for 13 s"),
        ("warning", "The proxy refused 3 requests in the last 30 s"),
        ("warning", "The shared store is lost: this replica goes on with its share"),
        ("note", "17 requests wait, the last goes in 32 s"),
    ]


def test_some_errors_need_not_be_told_where_there_is_worse_of_the_same_place() -> None:
    status = calm(pauses={"standard": 1.0})
    status["recent"]["errors"] = [error("server_error", "upstream", 9, lately=1)]
    status["recent"]["history"]["sent"][-1] = 100
    assert said(status) == [("warning", "The API is unsteady: 1 error in the last 30 s"), said(status)[1]]
    status["state"]["breakers"][0]["state"] = "open"
    assert [text for _, text in said(status)] == [
        "The API fails: the breaker is open",
        "The API refuses: limit standard is paused for 1 s",
    ]


def test_without_news_that_is_all_that_is_known() -> None:
    at = datetime.fromtimestamp(NOW).strftime("%H:%M:%S")
    assert said(trouble(), trouble="nothing answers at http://x") == [
        ("bad", f"No news since {at}: nothing answers at http://x. It is tried again.")
    ]


def test_before_there_was_any_news_it_says_what_it_does() -> None:
    assert said(None) == [("warning", "Asking http://127.0.0.1:9464.")]
    assert said(None, trouble="nothing answers; is it there?") == [("bad", "nothing answers; is it there?")]
