"""Avala's own Python SDK takes the sandbox for the API."""

import asyncio
from collections.abc import AsyncIterator

import avala  # type: ignore[import-untyped]  # the SDK ships no types
import pytest
from avala.errors import (  # type: ignore[import-untyped]
    AuthenticationError,
    ForbiddenError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from avala.signup import async_signup  # type: ignore[import-untyped]

from proxy.sandbox import Sandbox, SandboxSettings, parse_limits


@pytest.fixture
async def base_url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
    # Done before the first poll: the SDK would sleep half a second or more before a second one.
    async with Sandbox(SandboxSettings(export_seconds=0.01)).running() as url:
        yield f"{url}/api/v1"


async def test_the_sdk_lists_all_pages(base_url: str) -> None:
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        page = await client.datasets.list()
        found = [dataset.uid for dataset in page]
        while page.has_more:
            page = await client.datasets.list(cursor=page.next_cursor)
            found += [dataset.uid for dataset in page]
        assert len(found) == len(set(found)) == 45
        assert client.rate_limit_info["remaining"] == "97"
        assert len((await client.projects.list(limit=2)).items) == 2


async def test_the_sdk_creates_and_gets(base_url: str) -> None:
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        made = await client.datasets.create(name="New", slug="new", data_type="image")
        assert made.owner_name is not None
        assert await client.datasets.get(made.uid) == made
        assert await client.datasets.get_by_slug(made.owner_name, "new") == made
        project = (await client.projects.list()).items[0]
        assert await client.projects.get(project.uid) == project


async def test_the_sdk_keeps_webhooks(base_url: str) -> None:
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        made = await client.webhooks.create(target_url="https://example.com/hook", events=["task.created"])
        assert made.secret is not None
        changed = await client.webhooks.update(made.uid, is_active=False)
        assert (changed.is_active, changed.secret) == (False, None)
        assert (await client.webhooks.list()).items == [await client.webhooks.get(made.uid)] == [changed]
        await client.webhooks.delete(made.uid)
        assert len(await client.webhooks.list()) == 0


async def test_the_sdk_is_given_upload_urls_up_to_the_quota(base_url: str) -> None:
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        file = {"dataset_name": "d", "file_path_in_dataset": "a.png"}
        target = await client.datasets.create_manual_upload_url(**file, content_length=10)
        assert target["url"].startswith("https://")
        with pytest.raises(QuotaExceededError) as refused:
            await client.datasets.create_manual_upload_url(**file, content_length=2 * 1024**3)
        assert (refused.value.limit, refused.value.used) == (1024**3, 0)


async def test_the_sdk_waits_for_an_export(base_url: str) -> None:
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        started = await client.exports.create(dataset="any")
        assert started.status == "pending"
        await asyncio.sleep(0.02)
        done = await client.exports.wait(started.uid)
        assert (done.status, done.uid) == ("exported", started.uid)
        assert [export.uid for export in await client.exports.list()] == [started.uid]


async def test_the_sdk_signs_up_and_the_key_works(base_url: str) -> None:
    made = await async_signup(email="me@example.com", password="x", base_url=base_url)
    assert made.user.email == "me@example.com"
    async with avala.AsyncClient(made.api_key, base_url=base_url) as client:
        assert len(await client.datasets.list()) == 20


async def test_the_sdk_raises_its_own_errors(base_url: str) -> None:
    async with avala.AsyncClient("avk_invalid", base_url=base_url) as client:
        with pytest.raises(AuthenticationError, match=r"Invalid API key\."):
            await client.datasets.list()
    async with avala.AsyncClient("avk_other", base_url=base_url) as client:
        with pytest.raises(ForbiddenError):
            await client.datasets.get("somebodys")
    async with avala.AsyncClient("avk_sdk", base_url=base_url) as client:
        with pytest.raises(NotFoundError):
            await client.datasets.get("none")


async def test_the_sdk_tells_when_to_come_back(base_url: str) -> None:
    narrow = Sandbox(SandboxSettings(limits=parse_limits(["standard=1/600"])))
    async with narrow.running() as url, avala.AsyncClient("avk_sdk", base_url=f"{url}/api/v1") as client:
        await client.datasets.list()
        with pytest.raises(RateLimitError) as refused:
            await client.datasets.list()
        assert 500 < refused.value.retry_after <= 600


async def test_the_sdk_tells_a_failing_server(base_url: str) -> None:
    failing = Sandbox(SandboxSettings(faults={"500": 1.0}))
    async with failing.running() as url, avala.AsyncClient("avk_sdk", base_url=f"{url}/api/v1") as client:
        with pytest.raises(ServerError, match=r"Internal server error\."):
            await client.datasets.list()
