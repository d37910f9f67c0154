"""What admin listeners say, for the tests of what is made of it."""

import json
from typing import Any

from proxy.top.news import News
from proxy.top.status import Status, read

NOW = 1_790_000_000.1


def limit(name: str = "standard", **changed: Any) -> dict[str, Any]:
    """Say of a limit that nothing of it is taken, but for what is said otherwise."""
    plain = {"capacity": 100, "window": 60.0, "reserve": 0, "remaining": 100, "foreign": 0, "queued": 0}
    return {"name": name, **plain, "paused": False, **changed}


def error(error_class: str, fault: str, count: int, *, ago: float = 60.0, **last: Any) -> dict[str, Any]:
    """Say of a class of errors how often it occurred, and of which request last."""
    example = {"at": NOW - ago, "method": "GET", "route": "/api/v1/datasets/{id}/", "status": 500}
    identity = {"code": None, "request_id": "0b7e3b9e2f"}
    counts = {"error_class": error_class, "fault": fault, "count": count, "lately": 0}
    return {**counts, "last": example | identity | last}


def judged(*said: tuple[str, str]) -> dict[str, Any]:
    """Judge in these sentences, each with its level, the worst first."""
    headline, *also = [
        {"where": "proxy", "level": level, "word": "so", "key": text, "title": "Proxy: so", "text": text}
        for level, text in said
    ]
    return {"headline": headline, "also": also, "places": []}


def calm(**changed: Any) -> dict[str, Any]:
    """Say that nothing is going on; `changed` are fields of `state`, or of the whole if it has them."""
    nothing: dict[str, Any] = {"count": 0, "p50": None, "p95": None, "p99": None, "most": None}
    curves = {name: [0] * 180 for name in ("sent", "queued", "refused", "rate_limited")}
    whole: dict[str, Any] = {
        "version": "0.1.0",
        "uptime": 8012.3,
        "now": NOW,
        "ready": True,
        "reason": "serving",
        "verdict": judged(("ok", "Serving")),
        "state": {
            "limits": [
                limit(),
                limit("burst", capacity=20, window=1.0, remaining=20),
                limit("uploads", capacity=10, window=0.0, remaining=10),
            ],
            "in_flight": 0,
            "queued": 0,
            "queue_size": 1000,
            "draining": False,
            "pauses": {},
            "breakers": [{"name": "upstream", "state": "closed", "forced": False}],
            "ledger_up": True,
            "replicas": 1,
            "shared": False,
        },
        "callers": [],
        "recent": {
            "history": {"until": int(NOW), **curves},
            "errors": [],
            "upstream": nothing,
            "waits": nothing,
        },
        "configuration": "[upstream]\n",
    }
    for name, value in changed.items():
        (whole if name in whole else whole["state"])[name] = value
    return whole


def busy(**changed: Any) -> dict[str, Any]:
    """Say that much is going on, all of it as it should."""
    whole = calm(in_flight=7, queued=17)
    whole["verdict"] = judged(("ok", "Serving"), ("note", "17 requests wait, the last goes in 32 s"))
    standard, _, uploads = whole["state"]["limits"]
    standard.update(remaining=42, foreign=5, reserve=10, queued=17)
    uploads.update(remaining=7)
    whole["callers"] = [
        {"credential": "5e1f", "caller": "nightly", "queued": 12, "first": 0.8, "last": 31.5},
        {"credential": "5e1f", "caller": "192.0.2.17", "queued": 4, "first": None, "last": None},
        {"credential": None, "caller": "by-hand", "queued": 1, "first": 3.0, "last": 3.0},
    ]
    recent = whole["recent"]
    recent["history"].update(sent=[*range(1, 91), *range(90, 0, -1)], queued=[17] * 180)
    recent["upstream"] = {"count": 250, "p50": 0.12, "p95": 0.31, "p99": 0.8, "most": 1.2}
    recent["waits"] = {"count": 1250, "p50": 0.0, "p95": 3.1, "p99": 12.0, "most": 200.0}
    whole["state"].update(changed)
    return whole


def trouble() -> dict[str, Any]:
    """Say that everything goes wrong at once."""
    whole = busy(
        draining=True,
        pauses={"standard": 12.5},
        queue_size=17,
        ledger_up=False,
        shared=True,
        replicas=3,
        breakers=[
            {"name": "upstream", "state": "open", "forced": False},
            {"name": "inference", "state": "open", "forced": True},
            {"name": "exports", "state": "half_open", "forced": False},
        ],
    )
    whole["ready"], whole["reason"] = False, "draining"
    whole["verdict"] = judged(
        ("bad", "The network: connections fail, breaker of upstream open"),
        ("bad", "Stopped by hand: the breaker of inference is held open"),
        ("bad", "The proxy’s queue is full: 17 wait"),
        ("warn", "The proxy is stopping: 7 requests to finish"),
        ("warn", "The API is tried again: the breaker of exports lets one request through"),
        ("warn", "The API refuses: standard is paused for 13 s"),
        ("warn", "The proxy refused 3 requests in the last 30 s"),
        ("warn", "The shared store is gone: this replica goes on with its share"),
        ("note", "17 requests wait, the last goes in 32 s"),
    )
    whole["state"]["limits"][0].update(paused=True, remaining=0)
    whole["recent"]["history"].update(refused=[0] * 179 + [3], rate_limited=[0] * 100 + [1] + [0] * 79)
    whole["recent"]["errors"] = [
        error("not_found", "client", 40, status=404),
        error("server_error", "upstream", 3),
        error("rate_limited", "upstream", 11, status=429, ago=3000.0),
        error("plan_insufficient", "client", 2, status=403, code="plan_insufficient", method="POST"),
        error("connection_terminated", "network", 1200, status=None, ago=4.0),
        error("queue_full", "proxy", 2, status=503),
    ]
    return whole


def status(said: dict[str, Any]) -> Status:
    """Read what was said."""
    return read(json.dumps(said))


def news(said: dict[str, Any] | None, **changed: Any) -> News:
    """Make news of it."""
    return News("http://127.0.0.1:9464", None if said is None else status(said), NOW, **changed)
