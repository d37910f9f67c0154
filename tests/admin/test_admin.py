"""The admin listener, over real sockets."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer, make_mocked_request

from proxy.admin.handlers import PAGES, Admin
from proxy.state import LimitState, State

STATE = State(
    limits=(LimitState("standard", 100, 42, 3, True),), in_flight=7, queued=3, pauses={"standard": 12.5}
)


class Proxy:
    """What the admin listener shows."""

    def __init__(self) -> None:
        self.ready = (True, "serving")
        self.threads: dict[str, str] = {}
        self.accept = ""
        self.time = 100.0

    def render(self, accept: str, state: State) -> tuple[bytes, str]:
        self.accept = accept
        self.threads["render"] = threading.current_thread().name
        return f"in_flight {state.in_flight}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    def state(self) -> State:
        self.threads["state"] = threading.current_thread().name
        return STATE

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 0.0


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def admin(proxy: Proxy) -> Admin:
    return Admin(
        render_metrics=proxy.render,
        state=proxy.state,
        ready=lambda: proxy.ready,
        effective='[upstream]\nbase_url = "https://api.avala.ai"\n',
        version="1.2.3",
        clock=proxy,
    )


@pytest.fixture
async def client(admin: Admin) -> AsyncIterator[aiohttp.ClientSession]:
    server = RawTestServer(admin.handle)
    await server.start_server()
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        yield session
    await server.close()


Client = aiohttp.ClientSession


async def test_metrics_are_written_in_a_thread_from_a_state_taken_on_the_loop(
    client: Client, proxy: Proxy
) -> None:
    async with client.get("/metrics", headers={"Accept": "text/plain;q=0.5"}) as answer:
        assert (answer.status, await answer.text()) == (200, "in_flight 7\n")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert proxy.accept == "text/plain;q=0.5"
    assert proxy.threads["state"] == threading.current_thread().name
    assert proxy.threads["render"] != threading.current_thread().name


async def test_it_is_alive_as_long_as_it_answers(client: Client) -> None:
    async with client.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_readiness_says_why(client: Client, proxy: Proxy) -> None:
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reason": "serving"})
    proxy.ready = (False, "draining")
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"ready": False, "reason": "draining"})


async def test_the_status_is_the_state_and_the_configuration_in_force(
    client: Client, proxy: Proxy, admin: Admin
) -> None:
    proxy.time += 12.3456
    async with client.get("/status") as answer:
        status: dict[str, Any] = await answer.json()
    assert status == {
        "version": "1.2.3",
        "uptime": 12.346,
        "state": {
            "limits": [{"name": "standard", "capacity": 100, "remaining": 42, "queued": 3, "paused": True}],
            "in_flight": 7,
            "queued": 3,
            "draining": False,
            "pauses": {"standard": 12.5},
        },
        "configuration": '[upstream]\nbase_url = "https://api.avala.ai"\n',
    }
    admin.effective = "reloaded"
    async with client.get("/status") as answer:
        assert (await answer.json())["configuration"] == "reloaded"


async def test_the_index_leads_to_every_page(client: Client) -> None:
    async with client.get("/") as answer:
        text = await answer.text()
        assert answer.content_type == "text/html"
    assert all(f'href="{page}"' in text for page in PAGES)


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/status", "/nowhere"])
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
    for path in ("/nowhere", "/metrics/", "/status/../metrics/x"):
        async with client.get(path) as answer:
            assert answer.status == 404
            assert (await answer.json())["code"] == "not_found"


async def test_nothing_can_be_changed(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        async with client.request(method, "/status", data=b"x") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
            assert (await answer.json())["code"] == "method_not_allowed"


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


class Wire(asyncio.Transport):
    """A connection that ends at the address it is given."""

    def __init__(self, here: object) -> None:
        super().__init__({"sockname": here})


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
        render_metrics=proxy.render, state=proxy.state, ready=lambda: proxy.ready, effective="", version="1"
    )
    answer = await admin.handle(make_mocked_request("GET", "/status"))
    assert answer.status == 200
