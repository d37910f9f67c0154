"""The main job over real sockets: limits hold, failures are cured, permanent answers are left alone."""

import asyncio
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator

import pytest

from proxy.sandbox import Concurrent, Rate, SandboxSettings
from tests.e2e.stack import KEY, running
from tests.fakes import until

FAST = {"base": 0.01, "cap": 0.05, "budget": 100.0}
LIST = "/api/v1/datasets/?limit=2"


async def raw(url: str, request: bytes, *, until: bytes = b"") -> bytes:
    """Send bytes, and return the answer's: up to these, or to the end of the connection."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.readuntil(until) if until else await reader.read()
    writer.close()
    return answer


def varying(answer: bytes) -> bytes:
    """Take out what differs from one moment to the next, and what the proxy says of itself."""
    own = rb"Date|X-RateLimit-\w+|X-Request-Id|Via|Proxy-Status|Server-Timing"
    answer = re.sub(rb"(" + own + rb"): [^\r]*\r\n", b"", answer)
    return re.sub(rb"Connection: close\r\n", b"", answer)


PERMANENT = [
    "400",
    "401",
    "403",
    "403;code=plan_insufficient",
    "403;code=scope_required",
    "404",
    "405",
    "409",
    "413",
]


@pytest.mark.parametrize("fault", [*PERMANENT, "422"])
async def test_a_permanent_answer_arrives_byte_for_byte_after_one_call_and_at_once(fault: str) -> None:
    request = (
        f"POST /api/v1/datasets/ HTTP/1.1\r\nHost: x\r\nX-Avala-Api-Key: avk_team\r\nConnection: close\r\n"
        f"X-Sandbox-Fault: {fault}\r\nX-Request-Id: one\r\nContent-Length: 2\r\n\r\n{{}}"
    ).encode()
    async with running() as stack:
        through = await raw(stack.url, request)
        assert stack.sandbox.ledger.summary()["requests"] == 1
        directly = await raw(stack.upstream, request)
        assert varying(through) == varying(directly)
        (line,) = stack.lines("request")
        assert line["attempts"] == 1
        assert line["waited"] < 0.05
        assert line["fault"] == "client"


async def test_any_method_path_query_and_body_goes_up_and_the_answer_comes_back() -> None:
    async with running() as stack:
        status, made = await stack.ask("POST", "/api/v1/datasets/", json={"name": "New", "slug": "new"})
        assert status == 201
        uid = re.search(rb'"uid":"([^"]+)"', made)
        assert uid is not None
        path = f"/api/v1/datasets/{uid[1].decode()}/"
        assert (await stack.ask("GET", path)) == (200, made)
        assert (await stack.ask("DELETE", path)) == (204, b"")
        assert (await stack.ask("GET", path))[0] == 404
        assert (await stack.ask("HEAD", LIST)) == (200, b"")
        assert (await stack.ask("PATCH", LIST))[0] == 405
        paths = [(entry.method, entry.path) for entry in stack.sandbox.ledger.entries]
        assert paths[-2:] == [("HEAD", LIST), ("PATCH", LIST)]


async def test_what_the_api_refuses_a_moment_is_tried_again_until_it_works() -> None:
    async with running(retry=FAST) as stack:
        for fault in ("500", "502", "503", "504", "reset", "truncated"):
            fields = {"X-Sandbox-Fault": f"{fault};times=3", "X-Sandbox-Key": fault}
            assert (await stack.ask("GET", LIST, fields=fields))[0] == 200, fault
        assert stack.sandbox.ledger.summary()["requests"] == 24
        assert [line["attempts"] for line in stack.lines("request")] == [4] * 6


async def test_when_tries_run_out_the_last_answer_is_the_apis_own() -> None:
    async with running(retry=FAST) as stack:
        status, content = await stack.ask("GET", LIST, fields={"X-Sandbox-Fault": "503"})
        assert (status, content) == (
            503,
            b'{"detail":"Service temporarily unavailable. Please try again later."}',
        )
        assert stack.sandbox.ledger.summary()["requests"] == 4


async def test_an_operation_that_may_have_been_done_is_not_repeated() -> None:
    async with running(retry=FAST) as stack:
        for number, fault in enumerate(("500;after", "reset;after", "503")):
            body = {"name": f"New {number}", "slug": f"new-{number}"}
            status, _ = await stack.ask(
                "POST", "/api/v1/datasets/", json=body, fields={"X-Sandbox-Fault": fault}
            )
            assert status == {"500;after": 500, "reset;after": 502, "503": 503}[fault]
        assert stack.sandbox.ledger.summary()["requests"] == 3


async def test_a_429_pauses_and_the_request_waits_for_it_in_line() -> None:
    async with running() as stack:
        fields = {"X-Sandbox-Fault": "429;retry-after=1;times=1", "X-Sandbox-Key": "k"}
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await stack.ask("GET", LIST, fields=fields))[0] == 200
        assert loop.time() - began >= 1.0
        # The sandbox says that 99 of 100 remain, so it is not the standard limit that refused.
        assert stack.lines("limit_paused")[0]["limit"] == "burst"


async def test_several_limits_at_once_are_all_kept_whatever_the_networks_jitter() -> None:
    kinds: dict[str, tuple[int, float, dict[str, object]]] = {
        "standard": (30, 1.5, {"anonymous": False}),
        "burst": (10, 0.5, {"anonymous": False}),
        "anonymous": (8, 1.5, {"anonymous": True}),
        "inference": (3, 1.5, {"paths": ["/api/v1/inference/invoke/"]}),
    }
    limits: list[dict[str, object]] = [
        {"name": name, "requests": size, "per": per, "match": match}
        for name, (size, per, match) in kinds.items()
    ]
    limits.append({"name": "uploads", "concurrent": 2, "match": {"paths": ["/api/v1/uploads/"]}})
    theirs = {name: Rate(size, per) for name, (size, per, _) in kinds.items()}
    api = SandboxSettings(limits={**theirs, "uploads": Concurrent(2)}, transit=(0.0, 0.03), seed=3)
    async with running(api, limits=limits, coalescing={"enabled": False}) as stack:

        async def anonymous() -> int:
            async with stack.session.get(stack.url + "/api/v1/status/") as answer:
                return answer.status

        asked = [stack.ask("GET", LIST) for _ in range(40)]
        asked += [stack.ask("POST", "/api/v1/inference/invoke/", json={"input": 1}) for _ in range(8)]
        asked += [stack.ask("POST", "/api/v1/uploads/", data=b"x" * 5000) for _ in range(12)]
        statuses, others = await asyncio.gather(
            asyncio.gather(*asked), asyncio.gather(*(anonymous() for _ in range(12)))
        )
        done = stack.sandbox.ledger.summary(entries=False)
        assert {status for status, _ in statuses} <= {200, 201}
        assert set(others) == {200}
        assert done["requests"] == 72
        assert not any(done["throttled"].values())
        assert done["peak"]["standard"] == 30
        assert done["peak"]["inference"] == 3


async def test_a_body_over_the_limit_is_refused_in_avalas_shape_without_a_call() -> None:
    async with running() as stack:
        announced = await raw(
            stack.url,
            b"POST /api/v1/uploads/ HTTP/1.1\r\nHost: x\r\nX-Avala-Api-Key: avk_team\r\n"
            b"Expect: 100-continue\r\nContent-Length: 104857601\r\n\r\n",
            until=b"}",
        )
        assert announced.startswith(b"HTTP/1.1 413 ")
        assert (
            b'{"detail":"Request body too large. Maximum size is 100MB.","code":"proxy_request_too_large"'
            in announced
        )
        assert stack.sandbox.ledger.summary()["requests"] == 0


async def test_a_chunked_body_over_the_limit_is_refused_as_soon_as_it_is_known() -> None:
    async with running(body={"max_size": 1000}) as stack:

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 600
                await asyncio.sleep(0)

        status, content = await stack.ask("POST", "/api/v1/uploads/", data=endless())
        assert status == 413
        assert b"Maximum size is 1000 bytes." in content
        assert stack.sandbox.ledger.summary()["requests"] == 0


async def test_a_large_upload_is_spooled_sent_whole_and_sent_again() -> None:
    content = bytes(range(256)) * 12_000
    async with running(retry=FAST) as stack:
        fields = {"X-Sandbox-Fault": "503;retry-after=0.01;times=1", "X-Sandbox-Key": "k"}
        status, _ = await stack.ask("POST", "/api/v1/uploads/", data=io.BytesIO(content), fields=fields)
        assert status == 201
        entries = stack.sandbox.ledger.entries
        assert [entry.body_size for entry in entries] == [len(content)] * 2
        assert entries[0].body_sha256 == entries[1].body_sha256


async def test_expect_100_continue_is_answered_by_the_proxy() -> None:
    async with running() as stack:
        status, _ = await stack.ask("POST", "/api/v1/uploads/", data=b"x" * 10, expect100=True)
        assert status == 201


async def test_a_stream_flows_while_it_is_produced_and_holds_its_slot() -> None:
    async with running() as stack:
        url = f"{stack.url}/api/v1/events/stream/?count=3&interval=0.05"
        async with stack.session.get(url, headers=KEY | {"Accept": "text/event-stream"}) as answer:
            await answer.content.readuntil(b"\n\n")
            streams = next(limit for limit in stack.app.state().limits if limit.name == "streams")
            assert streams.remaining == 19
            assert b"data:" in await answer.read()
        await asyncio.sleep(0.05)
        assert next(limit for limit in stack.app.state().limits if limit.name == "streams").remaining == 20


async def test_a_body_that_breaks_after_the_head_aborts_the_connection() -> None:
    async with running() as stack:
        answer = await raw(
            stack.url,
            b"GET /api/v1/downloads/2000000/ HTTP/1.1\r\nHost: x\r\nX-Avala-Api-Key: avk_team\r\n"
            b"X-Sandbox-Fault: truncated\r\nConnection: close\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert 500 < len(answer) < 1_100_000
        metrics = await stack.metrics()
        assert metrics['avala_proxy_errors_total{error_class="response_incomplete",fault="network"}'] == 1.0


async def test_a_client_that_leaves_the_queue_is_gone_at_once() -> None:
    limits = [{"name": "tiny", "requests": 1, "per": 30.0}]
    async with running(limits=limits) as stack:
        assert (await stack.ask("GET", LIST))[0] == 200
        waiting = asyncio.create_task(stack.ask("GET", LIST))
        await until(lambda: stack.app.state().queued == 1)
        waiting.cancel()
        await until(lambda: stack.app.state().queued == 0)
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: len(stack.lines("request")) == 2)
        line = stack.lines("request")[1]
        assert (line["error_class"], line["status"], line["attempts"]) == ("client_disconnected", None, 0)
        assert stack.sandbox.ledger.summary()["requests"] == 1


async def test_who_will_not_wait_so_long_is_told_at_once_when_to_come_back() -> None:
    limits = [{"name": "tiny", "requests": 1, "per": 30.0}]
    async with running(limits=limits) as stack:
        await stack.ask("GET", LIST)
        async with stack.session.get(stack.url + LIST, headers=KEY | {"Prefer": "wait=5"}) as answer:
            assert answer.status == 429
            assert 24 <= int(answer.headers["Retry-After"]) <= 26
            assert (await answer.json())["code"] == "proxy_queue_timeout"
            assert answer.headers["Proxy-Status"] == "avala-proxy; error=connection_limit_reached"
        metrics = await stack.metrics()
        assert metrics['avala_proxy_rejected_total{reason="queue_timeout"}'] == 1.0


async def test_a_queue_that_is_full_says_so() -> None:
    limits = [{"name": "tiny", "requests": 1, "per": 30.0}]
    async with running(limits=limits, queue={"size": 0}) as stack:
        await stack.ask("GET", LIST)
        status, content = await stack.ask("GET", LIST)
        assert status == 503
        assert b'"code":"proxy_queue_full"' in content


async def test_an_upstream_that_is_not_there_is_named() -> None:
    async with running(upstream={"base_url": "http://127.0.0.1:1"}, retry=FAST) as stack:
        await stack.app.warn_if_unreachable()
        assert "Check upstream.base_url" in stack.lines("upstream_unreachable")[0]["detail"]
        status, content = await stack.ask("POST", LIST)
        assert status == 502
        assert b'"code":"proxy_connection_refused"' in content
        metrics = await stack.metrics()
        assert not any(series.startswith("avala_proxy_upstream_attempts_total") for series in metrics)
        assert metrics['avala_proxy_errors_total{error_class="connection_refused",fault="network"}'] == 4.0


@pytest.mark.timeout(120)
async def test_through_a_thousand_failing_requests_nothing_is_lost_done_twice_or_miscounted() -> None:
    limits = {"standard": Rate(100_000, 60.0), "burst": Rate(100_000, 1.0)}
    faults = {"500": 0.1, "503": 0.1, "reset": 0.05}
    ours = [{"name": "standard", "requests": 100_000, "per": 60.0}]
    async with running(
        SandboxSettings(limits=limits, faults=faults, seed=7),
        limits=ours,
        retry=FAST,
        coalescing={"enabled": False},
    ) as stack:
        answered: dict[str, int] = {}

        async def client(first: int) -> None:
            for number in range(first, 1000, 20):
                identity = {"X-Request-Id": f"r{number}"}
                if number % 4 == 3:
                    body = {"name": f"n{number}", "slug": f"s{number}"}
                    status, _ = await stack.ask("POST", "/api/v1/datasets/", json=body, fields=identity)
                else:
                    status, _ = await stack.ask("GET", LIST, fields=identity)
                answered[f"r{number}"] = status

        await asyncio.gather(*(client(first) for first in range(20)))
        entries = stack.sandbox.ledger.entries
        by_request = defaultdict(list)
        for entry in entries:
            by_request[entry.request_id].append(entry)

        assert len(answered) == len(by_request) == 1000
        for identity, attempts in by_request.items():
            status = answered[identity or ""]
            if attempts[0].method == "GET":
                assert len(attempts) <= 4
                all_failed = len(attempts) == 4 and all(attempt.status != 200 for attempt in attempts)
                assert (status == 200) is not all_failed
            else:
                assert len(attempts) == 1
                assert sum(attempt.executed for attempt in attempts) <= 1
        counted: Counter[str] = Counter()
        for series, value in (await stack.metrics()).items():
            if series.startswith("avala_proxy_upstream_attempts_total{"):
                found = re.search(r'status="(\w+)"', series)
                assert found is not None
                counted[found[1]] += int(value)
        assert counted == stack.sandbox.ledger.summary(entries=False)["by_status"]
        assert counted["none"] > 20
        assert counted["500"] > 50
        succeeded = sum(status == 200 for status in answered.values())
        print(f"\n{len(entries)} attempts by status {dict(counted)}; {succeeded} of 750 GETs succeeded")


async def test_the_key_is_in_no_log_metric_or_status() -> None:
    async with running(retry=FAST) as stack:
        for fault in ("500", "reset", "401", "429;retry-after=0.01"):
            fields = {"X-Sandbox-Fault": fault, "X-Avala-Api-Key": "avk_secret_1234"}
            await stack.ask("GET", LIST + "&token=avk_secret_1234", fields=fields)
        async with stack.session.get(stack.app.admin_url + "/status") as answer:
            status = await answer.text()
        async with stack.session.get(stack.app.admin_url + "/metrics") as answer:
            metrics = await answer.text()
        assert "secret_1234" not in stack.log + status + metrics
        credentials = {line["credential"] for line in stack.lines("request")}
        assert len(credentials) == 1


async def test_what_is_no_http_is_refused_on_both_listeners() -> None:
    async with running() as stack:
        for url in (stack.url, stack.app.admin_url):
            assert b" 400 Bad Request" in await raw(url, b"no HTTP\r\n\r\n")


async def test_readiness_and_status_tell_what_the_proxy_does() -> None:
    async with running() as stack:
        async with stack.session.get(stack.app.admin_url + "/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ready": True, "reason": "serving"})
        await stack.ask("GET", LIST)
        async with stack.session.get(stack.app.admin_url + "/status") as answer:
            state = (await answer.json())["state"]
        assert {limit["name"]: limit["remaining"] for limit in state["limits"]}["standard"] == 99


async def test_a_client_that_follows_the_links_of_a_list_never_leaves_the_proxy() -> None:
    async with running() as stack:
        url: str | None = f"{stack.url}/api/v1/datasets/?limit=2"
        pages = 0
        while url:
            assert url.startswith(stack.url + "/")
            async with stack.session.get(url, headers=KEY) as answer:
                url = (await answer.json())["next"]
                pages += 1
        assert pages > 2
        assert stack.sandbox.ledger.summary()["requests"] == pages
        await until(lambda: len(stack.lines("request")) == pages)


async def test_links_may_be_left_as_they_are() -> None:
    async with running(links={"rewrite": False}) as stack:
        _, content = await stack.ask("GET", LIST)
        assert json.loads(content)["next"].startswith(stack.upstream + "/")


async def test_behind_a_trusted_proxy_links_lead_to_where_the_client_asked() -> None:
    there = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "avala.internal",
        "X-Forwarded-For": "192.0.2.9",
    }
    async with running(listen={"trusted_peers": ["127.0.0.1"]}) as stack:
        _, content = await stack.ask("GET", LIST, fields=there)
        assert json.loads(content)["next"].startswith("https://avala.internal/api/v1/")
        await until(lambda: len(stack.lines("request")) == 1)
        assert stack.lines("request")[0]["peer"] == "192.0.2.9"
    async with running() as stack:
        _, content = await stack.ask("GET", LIST, fields=there)
        assert json.loads(content)["next"].startswith(stack.url)
    async with running(listen={"public_url": "https://proxy.example/"}) as stack:
        _, content = await stack.ask("GET", LIST)
        assert json.loads(content)["next"].startswith("https://proxy.example/api/v1/")
