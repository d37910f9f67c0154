"""How the proxy is, is judged: the worst of what is wrong is the headline, and each place shows its worst."""

from dataclasses import replace

import pytest

from proxy.policy.verdict import Verdict, verdict
from proxy.recent import Recent
from proxy.state import State
from tests.policy.moments import CALM, EXPORTS, SERVING, UPSTREAM, lately, waiter

NOTHING = lately()
WORST = replace(
    CALM,
    in_flight=7,
    queued=17,
    queue_size=17,
    draining=True,
    pauses={"standard": 12.5},
    breakers=(
        replace(UPSTREAM, state="open"),
        replace(EXPORTS, state="open", forced=True),
        replace(EXPORTS, name="inference", state="half_open"),
    ),
    shared=True,
    ledger_up=False,
)


def judged(state: State = CALM, recent: Recent = NOTHING, ready: tuple[bool, str] = SERVING) -> Verdict:
    return verdict(ready, state, (waiter(31.5),), recent)


def texts(judged: Verdict) -> list[str]:
    return [judged.headline.text, *(one.text for one in judged.also)]


def places(judged: Verdict) -> list[tuple[str, str, str, str]]:
    return [(place.name, place.level, place.word, place.detail) for place in judged.places]


@pytest.mark.parametrize(
    ("state", "recent", "also"),
    [
        (CALM, NOTHING, []),
        (replace(CALM, queued=1), NOTHING, ["1 request waits, the last goes in 32 s"]),
        (
            CALM,
            lately(sent=60, validation=3),
            ["Some requests of clients are wrong: 3 errors in the last 30 s"],
        ),
    ],
)
def test_where_nothing_is_wrong_it_serves_whatever_else_is_to_be_known(
    state: State, recent: Recent, also: list[str]
) -> None:
    now = judged(state, recent)
    assert (now.headline.key, now.headline.level, now.headline.title) == ("serving", "ok", "Serving")
    assert texts(now) == ["Serving", *also]


def test_the_worst_comes_first_and_then_the_order_of_the_cases_counts() -> None:
    now = judged(WORST, lately(refused=3, connection_terminated=4), (False, "draining"))
    assert texts(now) == [
        "The network: connections fail, breaker of upstream open",
        "Stopped by hand: the breaker of exports is held open",
        "The network: connections fail, 4 errors in the last 30 s",
        "The proxy’s queue is full: 17 wait",
        "The proxy is stopping: 7 requests to finish",
        "The API is tried again: the breaker of inference lets one request through",
        "The API refuses: standard is paused for 13 s",
        "The proxy refused 3 requests in the last 30 s",
        "The shared store is gone: this replica goes on with its share",
        "17 requests wait, the last goes in 32 s",
    ]
    levels = [now.headline.level, *(one.level for one in now.also)]
    assert levels == ["bad"] * 4 + ["warn"] * 5 + ["note"]


def test_some_errors_need_not_be_told_where_there_is_worse_of_the_same_place() -> None:
    some = lately(sent=100, server_error=1, validation=1)
    paused = replace(CALM, pauses={"standard": 1.0})
    wrong = "Some requests of clients are wrong: 1 error in the last 30 s"
    refuses = "The API refuses: standard is paused for 1 s"
    assert texts(judged(paused, some)) == ["The API is unsteady: 1 error in the last 30 s", refuses, wrong]
    opened = replace(paused, breakers=(replace(UPSTREAM, state="open"),))
    assert texts(judged(opened, some)) == ["The API fails: breaker open", refuses, wrong]


def test_only_numbers_change_and_the_key_stays() -> None:
    keys = {judged(replace(CALM, pauses={"standard": left})).headline.key for left in (12.5, 9.5)}
    assert keys == {"paused standard"}


def test_each_place_shows_the_worst_that_was_found_there_and_its_errors() -> None:
    assert places(judged()) == [
        ("Clients", "ok", "fine", "no errors"),
        ("Proxy", "ok", "fine", "no errors"),
        ("Network", "ok", "fine", "no errors"),
        ("API", "ok", "fine", "no errors"),
    ]
    recent = lately(sent=9, refused=1, queue_full=1, validation=1, connection_terminated=1000)
    assert places(judged(WORST, recent)) == [
        ("Clients", "note", "some errors", "1 error in 30 s"),
        ("Proxy", "bad", "stopped", "1 error in 30 s"),
        ("Network", "bad", "fails", "1,000 errors in 30 s"),
        ("API", "warn", "tried again", "no errors"),
    ]


def test_what_the_api_refused_counts_among_its_errors_but_is_no_trouble_by_itself() -> None:
    assert places(judged(recent=lately(rate_limited=8)))[3] == ("API", "ok", "fine", "8 errors in 30 s")
