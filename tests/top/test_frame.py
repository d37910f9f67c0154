"""Frames, as a terminal shows them."""

import re
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.screen import Screen

from proxy.top.frame import Frame
from proxy.top.news import News
from tests.top.said import busy, calm, error, judged, limit, news, trouble

SIZES = [(40, 10), (40, 24), (80, 24), (120, 40), (20, 5), (200, 60), (3, 2), (1, 1)]
HOSTILE = "\x1b]0;x\x07\x1b[2J\r\n\t[bold]e\u0301\u202e東京😀" * 20


def drawn(what: News, width: int = 80, height: int = 24) -> list[str]:
    """Return the lines of a screen, without styles and without the blanks at their ends."""
    return [line.rstrip() for line in written(what, width, height, color_system=None).split("\n")]


def written(what: News, width: int, height: int, **options: Any) -> str:
    """Return all that a terminal is sent."""
    file = StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, _environ={}, **options)
    console.print(Screen(Frame(what)), end="")
    return file.getvalue()


def whole(what: News, width: int = 80, encoding: str = "utf-8") -> str:
    """Return what is printed where there is no terminal."""
    raw = BytesIO()
    file = TextIOWrapper(raw, encoding=encoding)
    Console(file=file, width=width, force_terminal=False, color_system=None, _environ={}).print(
        Frame(what, whole=True)
    )
    file.flush()
    return raw.getvalue().decode(encoding)


BUSY = """\
avala-proxy  0.1.0  ready  up 2 h 13 min  http://127.0.0.1:9464
Serving
17 requests wait, the last goes in 32 s
Limits █ ours ▓ others ░ reserve · left ────────────────────────────────────────
standard  ████████████▓░░··········   42 of 100 left, 60 s  17 wait, 5 by others
burst     ·························     20 of 20 left, 1 s
uploads   ███████··················  7 of 10 left, at once
Last 3 minutes each second ─────────────────────────────────────────────────────
sent     ▂▂▃▃▃▄▄▅▅▅▆▆▆▇▇██████▇▇▇▆▆▅▅▅▄▄▄▃▃▂▂▂   1 now  90 at most  8,190 in all
queued   █████████████████████████████████████  17 now  17 at most
refused  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁   0 now   0 at most      0 in all
429s     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁   0 now   0 at most      0 in all
Queue 17 of 1,000 wait, 7 are being answered ───────────────────────────────────
nightly     12 wait  in 800 ms to 32 s  key 5e1f
192.0.2.17   4 wait  not known when     key 5e1f
by-hand      1 wait  in 3.0 s
Errors none since the start ────────────────────────────────────────────────────
Calls times are of the last 5 minutes ──────────────────────────────────────────
breaker   upstream closed
budget    not shared
API took  p50 120 ms  p95 310 ms  p99 800 ms  most 1.2 s  of 250
waited    p50 0 ms  p95 3.1 s  p99 12 s  most 3 min 20 s  of 1,250
"""


def test_a_whole_frame() -> None:
    assert whole(news(busy())) == BUSY


def test_where_the_output_has_no_blocks_it_is_ascii() -> None:
    text = whole(news(busy()), encoding="ascii")
    assert text.isascii()
    assert "Limits # ours + others = reserve . left ---" in text
    assert "standard  ############+==..........   42 of 100 left" in text
    assert "sent     ..:::--=" in text


def test_a_sentence_has_the_apostrophe_that_the_output_has() -> None:
    assert "\nThe proxy’s queue is full: 17 wait\n" in whole(news(trouble()))
    assert "\nThe proxy's queue is full: 17 wait\n" in whole(news(trouble()), encoding="ascii")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("said", [calm(), busy(), trouble()], ids=["calm", "busy", "trouble"])
def test_a_frame_fills_the_screen_and_no_more(said: dict[str, Any], width: int, height: int) -> None:
    for what in (news(said, manner="live"), news(said, trouble="it ended"), news(None, trouble="x " * 500)):
        lines = written(what, width, height, color_system=None).split("\n")
        assert [cell_len(line) for line in lines] == [width] * height


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_matters_most_is_seen_at_every_width(width: int) -> None:
    text = "\n".join(drawn(news(trouble(), manner="live"), width, 24))
    told = (
        "avala-proxy  0.1.0  not ready  live",
        "The network: connections",
        "Stopped by",
        "Limits",
        "standard",
        "Last 3",
    )
    for what in (
        *told,
        "sent",
        "3 now",
        "Queue 17 of 17",
        "nightly",
        "12 wait",
        "Errors",
        "upstream  rate_limited",
    ):
        assert what in text
    calm_ = "\n".join(drawn(news(calm(), manner="live"), width, 24))
    assert "Serving" in calm_
    assert "waited    none" in calm_


def test_where_it_is_narrow_figures_are_short() -> None:
    lines = drawn(news(busy()), 40)
    assert lines[0] == "avala-proxy  0.1.0  ready  up 2 h 13 min"
    assert lines[4] == "standard  ███▓░···  42/100  17 wait, 5 …"
    assert lines[8] == "sent     ▃▄▅▇███▆▅▄▂   1 now  90 at most"


def test_limits_that_are_in_use_stay_when_others_must_go() -> None:
    idle = [limit(f"idle{number}") for number in range(9)]
    lines = drawn(news(busy(limits=[*idle, limit("standard", remaining=0, queued=3)])), 80, 12)
    rows = [line.split()[0] for line in lines]
    assert rows[3:8] == ["Limits", "idle0", "idle1", "idle2", "standard"]
    assert lines[3].endswith("─ +6 more")


def test_errors_come_by_fault_the_most_frequent_first_with_their_last_example() -> None:
    lines = drawn(news(trouble()), 120, 40)
    start = next(index for index, line in enumerate(lines) if line.startswith("Errors"))
    assert lines[start].startswith(
        "Errors since the start: upstream 14, network 1,200, proxy 2, client 42 ──"
    )
    assert [" ".join(line.split()) for line in lines[start + 1 : start + 7]] == [
        "upstream rate_limited 11 50 min ago 429 GET /api/v1/datasets/{id}/ 0b7e3b9e2f",
        "upstream server_error 3 60 s ago 500 GET /api/v1/datasets/{id}/ 0b7e3b9e2f",
        "network connection_terminated 1,200 4 s ago GET /api/v1/datasets/{id}/ 0b7e3b9e2f",
        "proxy queue_full 2 60 s ago 503 GET /api/v1/datasets/{id}/ 0b7e3b9e2f",
        "client not_found 40 60 s ago 404 GET /api/v1/datasets/{id}/ 0b7e3b9e2f",
        "client plan_insufficient 2 60 s ago 403 plan_insufficient POST /api/v1/datasets/{id}/ 0b7e3b9e2f",
    ]


def test_an_error_without_an_example_and_a_fault_that_is_new_are_told_too() -> None:
    said = calm()
    said["recent"]["errors"] = [
        error("odd", "weather", 1) | {"last": None},
        error("server_error", "upstream", 1),
    ]
    text = whole(news(said))
    assert "Errors since the start: upstream 1, weather 1 ──" in text
    assert "weather   odd           1\n" in text


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"shared": True, "replicas": 3}, "budget    shared by 3 replicas, the store is there"),
        ({"shared": True}, "budget    shared by 1 replica, the store is there"),
        ({"shared": True, "ledger_up": False}, "budget    the store is gone, an own share is kept to"),
        ({"breakers": []}, "breaker   none"),
        (
            {
                "breakers": [
                    {"name": "a", "state": "closed"},
                    {"name": "b", "state": "half_open"},
                    {"name": "c", "state": "open", "forced": True},
                ]
            },
            "breaker   b half open, c open by hand, a closed",
        ),
        ({"queue_size": 0, "queued": 3}, "Queue 3 wait, 0 are being answered ──"),
        ({"limits": [limit(paused=True)]}, "100 of 100 left, 60 s  paused\n"),
        (
            {"limits": [limit(paused=True)], "pauses": {"standard": 2}},
            "100 of 100 left, 60 s  paused 2 s\n",
        ),
        ({"limits": [limit(window=0.5)]}, "100 of 100 left, 0.5 s\n"),
        ({"limits": [limit(window=None)]}, "100 of 100 left\n"),
        ({"callers": [{"caller": "x", "queued": 2, "first": 0.5}]}, "x  2 wait  in 500 ms or later\n"),
    ],
)
def test_other_things_are_told(changed: dict[str, Any], told: str) -> None:
    assert told in whole(news(calm(**changed)))


def test_of_an_older_proxy_is_shown_what_it_says() -> None:
    said = busy()
    for name in ("ready", "reason", "verdict", "now", "callers", "recent"):
        del said[name]
    del said["state"]["limits"][0]["window"]
    text = whole(news(said))
    assert text.startswith("avala-proxy  0.1.0  up 2 h 13 min  http://127.0.0.1:9464\nServing\n")
    assert "42 of 100 left " in text
    assert "Last 3 minutes" not in text
    assert "Errors" not in text
    assert text.endswith("breaker  upstream closed\nbudget   not shared\n"), (
        "nobody said how long things take"
    )


def test_a_curve_of_which_nothing_is_said_is_empty() -> None:
    said = calm()
    del said["recent"]["history"]["sent"]
    assert re.search("\nsent +0 now  0 at most  0 in all\n", whole(news(said)))


def test_without_limits_there_is_nothing_to_say_of_them() -> None:
    assert "Limits" not in whole(news(calm(limits=[])))


def test_when_it_is_gone_the_last_that_was_known_is_dim() -> None:
    lines = written(news(busy(), trouble="it ended"), 80, 24, color_system="standard").split("\n")
    assert "avala-proxy\x1b[0m  0.1.0  gone  up 2 h 13 min" in lines[0]
    assert lines[1].startswith("\x1b[1;31mNo news since ")
    assert lines[3].startswith("\x1b[2mstandard")


def test_how_the_news_comes_is_told() -> None:
    assert "ready  live  up" in drawn(news(calm(), manner="live"))[0]
    assert "ready  polling  up" in drawn(news(calm(), manner="polling"), 60)[0]
    assert drawn(news(calm(), manner="polling"), 40)[0] == "avala-proxy  0.1.0  ready  polling"
    assert drawn(news(calm(), manner="live"))[0].endswith("q leaves")
    assert "leaves" not in whole(news(calm()))


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    text = written(news(trouble()), 80, 24, color_system="standard", no_color=True)
    assert "\x1b[1m" in text
    assert re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])[;m]", text) is None


def hostile() -> dict[str, Any]:
    """Say the worst in every text that there is."""
    said = trouble()
    said.update(version=HOSTILE, reason=HOSTILE, verdict=judged((HOSTILE, HOSTILE), ("bad", HOSTILE)))
    state = said["state"]
    state.update(pauses={HOSTILE: 1e300}, breakers=[{"name": HOSTILE, "state": HOSTILE}])
    state["limits"] = [limit(HOSTILE, capacity=10**30, remaining=10**20)] * 5
    said["callers"] = [{"credential": HOSTILE, "caller": HOSTILE, "queued": 10**30, "first": 1e300}] * 20
    examples: dict[str, Any] = dict.fromkeys(("method", "route", "code", "request_id"), HOSTILE)
    said["recent"]["errors"] = [error(HOSTILE, HOSTILE, 10**20, status=10**20, **examples)] * 10
    return said


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_names_that_mean_harm_are_only_seen(width: int, height: int) -> None:
    what = News(HOSTILE, news(hostile()).status, 0.0, "live")
    for one in (what, news(hostile(), trouble=HOSTILE), News(HOSTILE, None, trouble=HOSTILE)):
        text = written(one, width, height, color_system="standard")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert all(line.isprintable() for line in plain.split("\n"))
        assert [cell_len(line) for line in plain.split("\n")] == [width] * height


def test_markup_is_seen_as_it_was_written() -> None:
    said = calm(callers=[{"caller": "[bold]x[/]", "queued": 1}])
    assert "[bold]x[/]" in whole(news(said))


def test_controls_are_seen_as_their_escapes() -> None:
    said = calm(callers=[{"caller": "\x1b[2Jx\x07", "queued": 1}])
    assert r"\x1b[2Jx\x07  1 wait" in whole(news(said))
