"""How the proxy is, is said in sentences: its own, or what can be said without them."""

from datetime import datetime
from typing import Any

from proxy.top.verdict import verdict
from tests.top.said import NOW, busy, calm, judged, news, trouble


def said(status: dict[str, Any] | None, **changed: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in verdict(news(status, **changed))]


def test_the_proxys_own_verdict_is_said() -> None:
    assert said(calm()) == [("ok", "Serving")]
    assert said(busy()) == [("ok", "Serving"), ("note", "17 requests wait, the last goes in 32 s")]
    assert said(trouble())[0] == ("bad", "The network: connections fail, breaker of upstream open")


def test_a_level_that_is_new_is_said_too() -> None:
    assert said(calm(verdict=judged(("horrible", "The moon fell")))) == [("horrible", "The moon fell")]


def test_an_older_proxy_is_judged_by_its_readiness_alone() -> None:
    old = trouble()
    del old["verdict"]
    assert said(old) == [("bad", "The proxy is not ready: draining")]
    old["ready"] = True
    assert said(old) == [("ok", "Serving")]
    del old["ready"], old["reason"], old["recent"]
    assert said(old) == [("ok", "Serving")]


def test_without_news_that_is_all_that_is_known() -> None:
    at = datetime.fromtimestamp(NOW).strftime("%H:%M:%S")
    assert said(trouble(), trouble="nothing answers at http://x") == [
        ("bad", f"No news since {at}: nothing answers at http://x. It is tried again.")
    ]


def test_before_there_was_any_news_it_says_what_it_does() -> None:
    assert said(None) == [("warn", "Asking http://127.0.0.1:9464.")]
    assert said(None, trouble="nothing answers; is it there?") == [("bad", "nothing answers; is it there?")]
