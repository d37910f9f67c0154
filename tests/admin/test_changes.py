"""The level of the log is shown to everybody who may read, and set by who may change something."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.admin.test_admin import TOKEN, Proxy, make, serving

Client = aiohttp.ClientSession


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    async with serving(make(proxy)) as session:
        yield session


async def test_the_level_in_force_is_shown(client: Client, proxy: Proxy) -> None:
    proxy.level = "warning"
    async with client.get("/log") as answer:
        assert (answer.status, await answer.json()) == (200, {"level": "warning"})


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
async def test_each_level_can_be_set(client: Client, proxy: Proxy, level: str) -> None:
    async with client.post(f"/log/{level}") as answer:
        assert (answer.status, await answer.json()) == (200, {"level": level})
    assert proxy.level == level


@pytest.mark.parametrize("level", ["DEBUG", "critical", "none", "%20"])
async def test_there_are_no_other_levels(client: Client, proxy: Proxy, level: str) -> None:
    async with client.post(f"/log/{level}") as answer:
        assert answer.status == 404
        assert "debug, info, warning, error" in (await answer.json())["detail"]
    assert proxy.level == "info"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/log/debug", "POST"), ("PUT", "/log/debug", "POST"), ("POST", "/log", "GET, HEAD")],
)
async def test_it_is_set_with_post_only(
    client: Client, proxy: Proxy, method: str, path: str, allowed: str
) -> None:
    async with client.request(method, path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert proxy.level == "info"


async def test_where_there_is_a_token_it_is_asked_for(proxy: Proxy) -> None:
    async with serving(make(proxy, lambda: TOKEN)) as client:
        async with client.post("/log/debug") as answer:
            assert (answer.status, proxy.level) == (401, "info")
        async with client.post("/log/debug", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert (answer.status, proxy.level) == (200, "debug")


async def test_no_page_of_elsewhere_sets_it(client: Client, proxy: Proxy) -> None:
    async with client.post("/log/debug", headers={"Origin": "https://evil.example"}) as answer:
        assert (answer.status, proxy.level) == (403, "info")
