"""The files of the live page, over real sockets: which there are, and what a browser lets them do."""

import re
from collections.abc import AsyncIterator
from importlib import resources

import aiohttp
import pytest
from yarl import URL

from tests.admin.test_admin import Client, Proxy, make, serving

FILES = sorted(one.name for one in (resources.files("proxy.admin") / "page").iterdir())


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with serving(make(Proxy())) as session:
        yield session


async def test_the_page_may_run_and_load_what_is_served_with_it_and_nothing_else(client: Client) -> None:
    async with client.get("/") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        )


async def test_every_file_that_is_shipped_is_served_as_what_it_is(client: Client) -> None:
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for name in FILES:
        if name == "index.html":
            continue
        async with client.get(f"/page/{name}") as answer:
            assert answer.status == 200
            assert answer.content_type == types[name.rpartition(".")[2]]
            assert await answer.read() == (resources.files("proxy.admin") / "page" / name).read_bytes()
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; base-uri")


async def test_the_page_refers_to_nothing_that_is_elsewhere_or_missing() -> None:
    folder = resources.files("proxy.admin") / "page"
    text = (folder / "index.html").read_text()
    named = re.findall(r'(?:src|href)="page/([^"]+)"', text)
    for name in FILES:
        source = (folder / name).read_text()
        assert "//" not in re.sub(
            r"^\s*//.*| // .*|http://www.w3.org/2000/svg", "", source, flags=re.MULTILINE
        )
        named += re.findall(r'from "\./([^"]+)"', source)
    assert set(named) | {"index.html"} == set(FILES)


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/page/",
        "/page/index.html",
        "/page/../handlers.py",
        "/page/%2e%2e/handlers.py",
        "/page/..%2fhandlers.py",
        "/page//page.js",
        "/page/page.js/",
        "/page/PAGE.JS",
        "/page/page.js%00",
        "/index.html",
    ],
)
async def test_no_other_path_finds_a_file(client: Client, path: str) -> None:
    async with client.get(URL(path, encoded=True)) as answer:
        assert answer.status in (404, 400)


async def test_a_page_whose_name_was_rebound_gets_no_file(client: Client) -> None:
    for path in ("/", "/page/page.js"):
        async with client.get(path, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
