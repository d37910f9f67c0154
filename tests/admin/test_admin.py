"""The admin listener, over real sockets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, make_mocked_request
from yarl import URL

from proxy.admin.changes import Changes
from proxy.admin.handlers import PAGES, Admin
from proxy.config import ConfigError, Level, Settings, load
from proxy.config_report import effective
from proxy.errors import ErrorClass, Fault
from proxy.listener import Listener
from proxy.recent import ErrorCount, Example, History, Quantiles, Recent
from proxy.state import BreakerState, CallerState, LimitState, State

STATE = State(
    limits=(LimitState("standard", 100, 60.0, 0, 42, 5, 3, True),),
    in_flight=7,
    queued=3,
    queue_size=1000,
    pauses={"standard": 12.5},
)
RECENT = Recent(
    History(1790000000, (1, 2), (0, 3), (0, 0), (0, 1)),
    (
        ErrorCount(
            ErrorClass.SERVER_ERROR,
            Fault.UPSTREAM,
            3,
            2,
            Example(1790000000.1, "GET", "/api/v1/datasets/{id}/", 500, None, "r1"),
        ),
    ),
    upstream=Quantiles(2, 0.1, 0.2, 0.2, 0.2),
)
CALLERS = (CallerState("5e1f", "nightly", 12, 0.8, None),)
TOKEN = "hunter2-hunter2-hunter2"


class Proxy:
    """What the admin listener shows and changes."""

    def __init__(self) -> None:
        self.ready = (True, "serving")
        self.threads: dict[str, str] = {}
        self.accept = ""
        self.time = 100.0
        self.level: Level = "info"
        self.forced = {"upstream": False, "exports": False}

    async def render(self, accept: str, state: State) -> tuple[bytes, str]:
        self.accept = accept
        return f"in_flight {state.in_flight}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    def state(self) -> State:
        self.threads["state"] = threading.current_thread().name
        breakers = [BreakerState(name, "open" if by else "closed", by) for name, by in self.forced.items()]
        return replace(STATE, breakers=tuple(breakers))

    def force(self, group: str, opened: bool) -> None:
        self.threads["force"] = threading.current_thread().name
        self.forced[group] = opened

    def changes(self, token: Callable[[], str] | None = None) -> Changes:
        return Changes(
            breakers=lambda: self.state().breakers,
            force=self.force,
            level=lambda: self.level,
            set_level=self.set_level,
            token=token,
        )

    def set_level(self, level: Level) -> None:
        self.level = level

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1790000000.12345


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


def make(proxy: Proxy, token: Callable[[], str] | None = None, effective: str = "") -> Admin:
    return Admin(
        render_metrics=proxy.render,
        state=proxy.state,
        callers=lambda: CALLERS,
        recent=lambda: RECENT,
        ready=lambda: proxy.ready,
        changes=proxy.changes(token),
        effective=effective,
        version="1.2.3",
        clock=proxy,
    )


@pytest.fixture
def admin(proxy: Proxy) -> Admin:
    return make(proxy, effective='[upstream]\nbase_url = "https://api.avala.ai"\n')


@asynccontextmanager
async def serving(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    server = RawTestServer(admin.handle)
    await server.start_server()
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        yield session
    await server.close()


@pytest.fixture
async def client(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(admin) as session:
        yield session


@pytest.fixture
async def guarded(proxy: Proxy) -> AsyncIterator[aiohttp.ClientSession]:
    """One with an admin token."""
    async with serving(make(proxy, lambda: TOKEN)) as session:
        yield session


Client = aiohttp.ClientSession


class Wire(asyncio.Transport):
    """A connection that ends at the addresses it is given."""

    def __init__(self, here: object, peer: object = None) -> None:
        super().__init__({"sockname": here, "peername": peer})


async def test_metrics_are_written_in_a_thread_from_a_state_taken_on_the_loop(
    client: Client, proxy: Proxy
) -> None:
    async with client.get("/metrics", headers={"Accept": "text/plain;q=0.5"}) as answer:
        assert (answer.status, await answer.text()) == (200, "in_flight 7\n")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert proxy.accept == "text/plain;q=0.5"
    assert proxy.threads["state"] == threading.current_thread().name


async def test_it_is_alive_as_long_as_it_answers(client: Client) -> None:
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_readiness_says_why(client: Client, proxy: Proxy) -> None:
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reason": "serving"})
    proxy.ready = (True, "degraded: the store refuses")
    async with client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["reason"]) == (200, "degraded: the store refuses")
    proxy.ready = (False, "draining")
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"ready": False, "reason": "draining"})


async def test_the_status_is_all_that_is_known_and_the_configuration_in_force(
    client: Client, proxy: Proxy, admin: Admin
) -> None:
    proxy.time += 12.3456
    async with client.get("/status") as answer:
        status: dict[str, Any] = await answer.json()
    assert status == {
        "version": "1.2.3",
        "uptime": 12.346,
        "now": 1790000000.123,
        "ready": True,
        "reason": "serving",
        "verdict": {
            "headline": {
                "where": "api",
                "level": "warn",
                "word": "unsteady",
                "key": "api some",
                "title": "API: unsteady",
                "text": "The API is unsteady: 2 errors in the last 30 s",
            },
            "also": [
                {
                    "where": "api",
                    "level": "warn",
                    "word": "refuses",
                    "key": "paused standard",
                    "title": "API: refuses",
                    "text": "The API refuses: standard is paused for 13 s",
                },
                {
                    "where": "proxy",
                    "level": "note",
                    "word": "waiting",
                    "key": "waiting",
                    "title": "Proxy: waiting",
                    "text": "3 requests wait",
                },
            ],
            "places": [
                {
                    "where": "client",
                    "name": "Clients",
                    "level": "ok",
                    "word": "fine",
                    "detail": "no errors",
                },
                {
                    "where": "proxy",
                    "name": "Proxy",
                    "level": "note",
                    "word": "waiting",
                    "detail": "no errors",
                },
                {
                    "where": "network",
                    "name": "Network",
                    "level": "ok",
                    "word": "fine",
                    "detail": "no errors",
                },
                {
                    "where": "api",
                    "name": "API",
                    "level": "warn",
                    "word": "unsteady",
                    "detail": "2 errors in 30 s",
                },
            ],
        },
        "state": {
            "limits": [
                {
                    "name": "standard",
                    "capacity": 100,
                    "window": 60.0,
                    "reserve": 0,
                    "remaining": 42,
                    "foreign": 5,
                    "queued": 3,
                    "paused": True,
                }
            ],
            "in_flight": 7,
            "queued": 3,
            "queue_size": 1000,
            "draining": False,
            "pauses": {"standard": 12.5},
            "breakers": [
                {"name": "upstream", "state": "closed", "forced": False},
                {"name": "exports", "state": "closed", "forced": False},
            ],
            "ledger_up": True,
            "replicas": 1,
            "shared": False,
        },
        "callers": [{"credential": "5e1f", "caller": "nightly", "queued": 12, "first": 0.8, "last": None}],
        "recent": {
            "history": {
                "until": 1790000000,
                "sent": [1, 2],
                "queued": [0, 3],
                "refused": [0, 0],
                "rate_limited": [0, 1],
            },
            "errors": [
                {
                    "error_class": "server_error",
                    "fault": "upstream",
                    "count": 3,
                    "lately": 2,
                    "last": {
                        "at": 1790000000.1,
                        "method": "GET",
                        "route": "/api/v1/datasets/{id}/",
                        "status": 500,
                        "code": None,
                        "request_id": "r1",
                    },
                }
            ],
            "upstream": {"count": 2, "p50": 0.1, "p95": 0.2, "p99": 0.2, "most": 0.2},
            "waits": {"count": 0, "p50": None, "p95": None, "p99": None, "most": None},
        },
        "configuration": '[upstream]\nbase_url = "https://api.avala.ai"\n',
    }
    admin.effective = "reloaded"
    async with client.get("/status") as answer:
        assert (await answer.json())["configuration"] == "reloaded"


async def test_the_status_has_lists_of_numbers_on_one_line_each(client: Client) -> None:
    async with client.get("/status") as answer:
        assert '"sent": [ 1, 2 ],\n' in await answer.text()


async def test_the_page_leads_to_every_other(client: Client) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
    assert all(f'href="{page[1:]}"' in text for page in PAGES if page != "/")


@pytest.mark.parametrize("path", [*PAGES, "/page/page.js", "/nowhere", "/breakers/upstream/open"])
async def test_no_answer_is_kept_guessed_at_framed_or_scripted(client: Client, path: str) -> None:
    async with client.get(path) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")


async def test_a_head_has_the_head_of_the_page_and_no_body(client: Client) -> None:
    async with client.head("/metrics") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == "12"


async def test_elsewhere_is_nothing(client: Client) -> None:
    for path in (
        "/nowhere",
        "/metrics/",
        "/status/../metrics/x",
        "/breakers/upstream",
        "/breakers/upstream/opened",
        "/breakers/upstream/open/",
        "/breakers//open",
        "/breakers/a/b/open",
        "/breakers/a%2Fb/open",
    ):
        async with client.get(path) as answer:
            assert answer.status == 404
            assert (await answer.json())["code"] == "not_found"


@pytest.mark.parametrize("page", [*PAGES, "/page/page.js"])
async def test_pages_can_only_be_read(client: Client, page: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        async with client.request(method, page) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
            assert (await answer.json())["code"] == "method_not_allowed"


async def test_a_breaker_is_opened_and_closed_by_hand_on_the_loop(client: Client, proxy: Proxy) -> None:
    async with client.post("/breakers/exports/open") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == {"group": "exports", "state": "open", "forced": True}
    assert proxy.forced == {"upstream": False, "exports": True}
    assert proxy.threads["force"] == threading.current_thread().name
    async with client.post("/breakers/exports/close") as answer:
        assert await answer.json() == {"group": "exports", "state": "closed", "forced": False}
    assert not proxy.forced["exports"]


async def test_all_breakers_are_shown(client: Client, proxy: Proxy) -> None:
    proxy.forced["upstream"] = True
    async with client.get("/breakers") as answer:
        assert (answer.status, await answer.json()) == (
            200,
            [
                {"group": "upstream", "state": "open", "forced": True},
                {"group": "exports", "state": "closed", "forced": False},
            ],
        )


@pytest.mark.parametrize("group", ["nobody", "UPSTREAM", "upstream%20", "%3Cb%3E"])
async def test_of_an_unknown_group_is_said_which_there_are(client: Client, proxy: Proxy, group: str) -> None:
    async with client.post(URL(f"/breakers/{group}/open", encoded=True)) as answer:
        assert answer.status == 404
        assert await answer.json() == {
            "detail": "There is no such group; there are upstream, exports.",
            "code": "not_found",
        }
    assert proxy.forced == {"upstream": False, "exports": False}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/breakers/exports/open", "/breakers/exports/close", "/breakers/x/open"])
async def test_only_a_post_turns_a_breaker(client: Client, proxy: Proxy, method: str, path: str) -> None:
    proxy.forced["exports"] = path.endswith("close")
    before = dict(proxy.forced)
    async with client.request(method, path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert proxy.forced == before


async def test_whoever_shows_the_token_may_turn_a_breaker(guarded: Client, proxy: Proxy) -> None:
    shown = {"Authorization": f"Bearer {TOKEN}"}
    async with guarded.post("/breakers/upstream/open", headers=shown) as answer:
        assert answer.status == 200
    assert proxy.forced["upstream"]


@pytest.mark.parametrize(
    "shown", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
)
@pytest.mark.parametrize("group", ["upstream", "nobody"])
async def test_where_there_is_a_token_nobody_else_may_not_even_on_loopback(
    guarded: Client, proxy: Proxy, shown: dict[str, str], group: str
) -> None:
    async with guarded.post(f"/breakers/{group}/open", headers=shown) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert not proxy.forced["upstream"]


async def test_the_token_of_this_moment_counts(proxy: Proxy) -> None:
    tokens = [TOKEN, "another-another-another"]
    async with serving(make(proxy, lambda: tokens.pop(0))) as client:
        for status in (200, 401):
            async with client.post(
                "/breakers/upstream/open", headers={"Authorization": f"Bearer {TOKEN}"}
            ) as answer:
                assert answer.status == status


@pytest.mark.parametrize("page", [*PAGES, "/page/page.js"])
async def test_pages_are_read_without_the_token(guarded: Client, page: str) -> None:
    async with guarded.get(page) as answer:
        assert answer.status == 200


async def test_the_token_is_in_no_answer(proxy: Proxy) -> None:
    settings = load(None, {"listen": {"admin_token": TOKEN}})
    assert settings.listen.admin_token is not None
    admin = make(proxy, settings.listen.admin_token.get_secret_value, effective(settings))
    said = ""
    async with serving(admin) as client:
        for method, path in [
            *(("GET", page) for page in PAGES if page != "/events"),
            *(("POST", f"/breakers/{which}") for which in ("upstream/open", "upstream/close", "nobody/open")),
            ("GET", "/breakers/upstream/open"),
            ("GET", "/nowhere"),
        ]:
            for shown in (TOKEN, "guess-guess-guess"):
                headers = {"Authorization": f"Bearer {shown}"}
                async with client.request(method, path, headers=headers) as answer:
                    said += f"{answer.headers} {await answer.text()}"
    assert "********" in said
    assert "hunter2" not in said
    assert "guess" not in said


@pytest.mark.parametrize(
    ("here", "peer", "status"),
    [
        (("127.0.0.1", 9464), ("127.0.0.1", 5), 200),
        (("192.0.2.7", 9464), ("192.0.2.7", 5), 403),
        (("127.0.0.1", 9464), ("192.0.2.8", 5), 403),
        (("192.0.2.7", 9464), ("127.0.0.1", 5), 403),
    ],
)
async def test_without_a_token_only_this_machine_turns_a_breaker(
    admin: Admin, proxy: Proxy, here: object, peer: object, status: int
) -> None:
    wire = Wire(here, peer)
    answer = await admin.handle(make_mocked_request("POST", "/breakers/upstream/open", transport=wire))
    assert isinstance(answer, web.Response)
    assert answer.status == status
    assert proxy.forced["upstream"] == (status == 200)


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_no_page_of_elsewhere_turns_a_breaker_token_or_not(
    client: Client, guarded: Client, proxy: Proxy, sent: dict[str, str]
) -> None:
    for session in (client, guarded):
        headers = {**sent, "Authorization": f"Bearer {TOKEN}"}
        async with session.post("/breakers/upstream/open", headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
    assert not proxy.forced["upstream"]


async def test_a_page_of_this_listener_may_turn_a_breaker(client: Client) -> None:
    sent = {"Origin": str(client._base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    async with client.post("/breakers/upstream/open", headers=sent) as answer:
        assert answer.status == 200


async def test_a_body_is_ignored(client: Client, proxy: Proxy) -> None:
    async with client.post("/breakers/upstream/open", json={"forced": False}) as answer:
        assert (await answer.json())["forced"]


@pytest.mark.parametrize("length", ["Content-Length: 8000000000", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_end_is_not_waited_for_and_is_the_last_of_its_connection(
    admin: Admin, proxy: Proxy, length: str
) -> None:
    runner = web.ServerRunner(Listener(admin.handle, admin.refuse, Settings().listen))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    head = f"POST /breakers/upstream/open HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n"
    writer.write(head.encode() + b"100000\r\n" + b"x" * 0x100000)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b'"forced": true\n}\n')
    assert proxy.forced["upstream"]
    writer.close()
    await writer.wait_closed()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            f'admin_token = "{TOKEN}"\nadmin_token_file = "FILE"',
            "listen in FILE has two admin tokens; allowed: `admin_token` or else `admin_token_file`",
        ),
        (
            'admin_token = "hunter2"',
            "listen.admin_token in FILE is a value that may hold a secret, so it is not shown; "
            "allowed: 16 to 1024 visible ASCII characters, such as `openssl rand -hex 16` prints",
        ),
        (
            'admin_token_file = "/missing"',
            "listen.admin_token_file in FILE is no file that can be read; "
            "allowed: a file that the proxy's user may read",
        ),
    ],
)
def test_what_is_wrong_with_the_token_is_said_without_repeating_it(
    tmp_path: Path, written: str, problem: str
) -> None:
    file = tmp_path / "avala.toml"
    file.write_text(f"[listen]\n{written.replace('FILE', str(file))}\n")
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(refused.value) == problem.replace("FILE", str(file))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9464", "[::1]:9464", "10.1.2.3"])
async def test_on_loopback_it_answers_to_localhost_and_to_addresses(client: Client, host: str) -> None:
    async with client.get("/status", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[x]",
        "a:b:c",
        "",
    ],
)
async def test_on_loopback_a_page_whose_name_was_rebound_reads_nothing(client: Client, host: str) -> None:
    async with client.get("/status", headers={"Host": host}) as answer:
        assert answer.status == 403
        assert (await answer.json())["code"] == "forbidden"


async def test_a_client_without_a_host_header_is_no_browser(client: Client) -> None:
    base = client._base_url
    assert base is not None
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("here", "status"),
    [
        (("192.0.2.7", 9464), 200),
        ("/run/admin.sock", 200),
        (("fe80::1%eth0", 9464, 0, 2), 200),
        (("::1", 1, 0, 0), 403),
    ],
)
async def test_elsewhere_than_on_loopback_it_answers_to_every_name(
    admin: Admin, here: object, status: int
) -> None:
    request = make_mocked_request("GET", "/healthz", headers={"Host": "proxy.example"}, transport=Wire(here))
    answer = await admin.handle(request)
    assert isinstance(answer, web.Response)
    assert answer.status == status


async def test_a_connection_that_is_gone_is_not_looked_up(admin: Admin) -> None:
    request = make_mocked_request("GET", "/healthz", headers={"Host": "proxy.example"})
    request._protocol.transport = None
    assert (await admin.handle(request)).status == 200


async def test_the_clock_is_the_loops_when_none_is_given(proxy: Proxy) -> None:
    admin = Admin(
        render_metrics=proxy.render,
        state=proxy.state,
        callers=lambda: CALLERS,
        recent=lambda: RECENT,
        ready=lambda: proxy.ready,
        changes=proxy.changes(),
        effective="",
        version="1",
    )
    answer = await admin.handle(make_mocked_request("GET", "/status"))
    assert answer.status == 200
