"""The sums by class where the API cannot be reached, or answers as the pretend one never does."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from proxy.sandbox import Sandbox
from tests.adapters.servers import full, refusing
from tests.e2e.books import OPEN, RETRY, UNCONNECTED, UNUSUAL, Page, Tally, check_own
from tests.e2e.stack import KEY, running

LIST = "/api/v1/datasets/"


async def check_unconnected(error_class: str, base_url: str, **patience: float) -> None:
    """Demand that a proxy that cannot connect says so as often as it tried, and to each client once."""
    tally, upstream = Tally(), {"base_url": base_url, **patience}
    async with running(limits=OPEN, retry=RETRY | {"max_retries": 1}, upstream=upstream) as stack:
        for method in ("GET", "POST", "DELETE"):
            await tally.ask(stack.session, method, stack.url + LIST, headers=KEY)
        page = await Page.of(stack.app)
        assert tally.classes == {error_class: 3}
        assert page.by("retries_total", "error_class") == {error_class: tally.retries} == {error_class: 3}
        assert page.by("upstream_attempts_total", "status") == {}
        check_own(stack.app, page, tally, Counter({error_class: 6}), stack.lines("request"))


async def test_connections_that_cannot_be_made_are_in_the_sums_once() -> None:
    with full() as busy, refusing("127.0.0.1") as closed:
        async with Sandbox().running() as plain:
            places = {
                "dns_error": "http://does-not-exist.invalid",
                "connection_refused": f"http://127.0.0.1:{closed}",
                "tls_error": plain.replace("http:", "https:"),
            }
            for error_class, base_url in places.items():
                await check_unconnected(error_class, base_url)
        busy_url = f"http://127.0.0.1:{busy}"
        await check_unconnected("connection_timeout", busy_url, connect_timeout=0.1)
    assert {*places, "connection_timeout"} == UNCONNECTED


@asynccontextmanager
async def teapot(asked: "Counter[str]") -> AsyncIterator[str]:
    """Serve what answers with the status in the path, and keeps a tally."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        asked[request.path[1:]] += 1
        return web.Response(status=int(request.path[1:]))

    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_statuses_without_a_class_of_their_own_are_in_the_sums_once() -> None:
    tally, asked = Tally(), Counter[str]()
    async with teapot(asked) as url, running(limits=OPEN, retry=RETRY, upstream={"base_url": url}) as stack:
        for path in ("/418", "/418", "/505", "/599", "/599", "/200"):
            await tally.ask(stack.session, "GET", stack.url + path, headers=KEY)
        page = await Page.of(stack.app)
        assert page.by("upstream_attempts_total", "status") == asked == tally.statuses
        errors = Counter(dict(zip(sorted(UNUSUAL), (2, 3), strict=True)))
        assert tally.classes == errors | {"none": 1}
        check_own(stack.app, page, tally, errors, stack.lines("request"))
