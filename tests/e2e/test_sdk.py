"""Avala's own SDK, in both its forms, through the proxy, of which only two environment variables know."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import avala  # type: ignore[import-untyped]  # the SDK ships no types
import pytest
from avala import errors as sdk
from avala.signup import async_signup, signup  # type: ignore[import-untyped]

from proxy.sandbox import SandboxSettings
from tests.e2e.stack import Stack, running

HOOK = {"target_url": "https://example.com/hook", "events": ["task.created"]}


@dataclass
class Sdk:
    """A client of either form, and what stands behind it."""

    client: Any
    stack: Stack

    async def run(self, call: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call a function of the client's form. A synchronous one blocks, so it gets a thread."""
        if isinstance(self.client, avala.Client):
            return await asyncio.to_thread(call, *values, **named)
        return await call(*values, **named)

    async def ask(self, method: str, *values: Any, **named: Any) -> Any:
        """Call a method such as `datasets.list`."""
        return await self.run(attrgetter(method)(self.client), *values, **named)

    async def refusal(self, method: str, *values: Any, **named: Any) -> Any:
        """Return the exception that a call raises."""
        with pytest.raises(sdk.AvalaError) as raised:
            await self.ask(method, *values, **named)
        return raised.value

    def send(self, header: str, value: str) -> None:
        """Send a header with all that follows, which the SDK itself has no means for."""
        self.client._transport._client.headers[header] = value

    @property
    def calls(self) -> list[str]:
        """What the API was asked, oldest first."""
        entries = self.stack.sandbox.ledger.entries
        return [f"{entry.method} {entry.path.removeprefix('/api/v1')}" for entry in entries]

    async def counted(self, error_class: str, fault: str) -> float:
        """Return how many failed attempts the proxy counted under a class."""
        series = f'avala_proxy_errors_total{{error_class="{error_class}",fault="{fault}"}}'
        return (await self.stack.metrics())[series]


Start = Callable[..., AbstractAsyncContextManager[Sdk]]


@pytest.fixture(params=[avala.Client, avala.AsyncClient], ids=["sync", "async"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    for name in [name for name in os.environ if name.startswith("AVALA_")]:
        monkeypatch.delenv(name)

    @asynccontextmanager
    async def start(sandbox: SandboxSettings | None = None, **overrides: Any) -> AsyncIterator[Sdk]:
        async with running(sandbox, retry={"base": 0.01, "cap": 0.05}, **overrides) as stack:
            monkeypatch.setenv("AVALA_BASE_URL", f"{stack.url}/api/v1")
            monkeypatch.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
            through = Sdk(request.param(api_key="avk_sdk"), stack)
            try:
                yield through
            finally:
                await through.ask("close")

    return start


@pytest.fixture
async def through(start: Start) -> AsyncIterator[Sdk]:
    async with start() as through:
        yield through


async def test_all_pages_are_listed_each_by_one_call(through: Sdk) -> None:
    page = await through.ask("datasets.list")
    found = [dataset.uid for dataset in page]
    while page.has_more:
        page = await through.ask("datasets.list", cursor=page.next_cursor)
        found += [dataset.uid for dataset in page]
    assert (len(found), len(set(found)), len(through.calls)) == (45, 45, 3)
    assert through.client.rate_limit_info["remaining"] == "97"


async def test_a_webhook_is_created_changed_got_listed_and_deleted(through: Sdk) -> None:
    made = await through.ask("webhooks.create", **HOOK)
    changed = await through.ask("webhooks.update", made.uid, is_active=False)
    assert (changed.target_url, changed.is_active) == (made.target_url, False)
    assert await through.ask("webhooks.get", made.uid) == changed
    assert (await through.ask("webhooks.list")).items == [changed]
    assert await through.ask("webhooks.delete", made.uid) is None
    assert type(await through.refusal("webhooks.get", made.uid)) is sdk.NotFoundError
    asked = [call.replace(made.uid, "uid") for call in through.calls]
    assert asked[:3] == ["POST /webhooks/", "PATCH /webhooks/uid/", "GET /webhooks/uid/"]
    assert asked[3:] == ["GET /webhooks/", "DELETE /webhooks/uid/", "GET /webhooks/uid/"]


async def test_a_dataset_is_created_and_found_again(through: Sdk) -> None:
    made = await through.ask("datasets.create", name="New", slug="new", data_type="image")
    assert await through.ask("datasets.get", made.uid) == made
    assert await through.ask("datasets.get_by_slug", made.owner_name, "new") == made
    assert len(through.calls) == 3


async def test_an_export_is_polled_to_its_end(start: Start) -> None:
    async with start(SandboxSettings(export_seconds=0.45)) as through:
        started = await through.ask("exports.create", dataset="any")
        done = await through.ask("exports.wait", started.uid, interval=0.5)
        assert (started.status, done.status, done.uid) == ("pending", "exported", started.uid)
        # One poll is enough on a machine so slow that the job has ended before it.
        polls = through.calls[1:]
        assert 1 <= polls.count(f"GET /exports/{started.uid}/") == len(polls) <= 2


async def test_a_signup_gives_a_key_that_works(through: Sdk) -> None:
    sign_up = signup if isinstance(through.client, avala.Client) else async_signup
    made = await through.run(sign_up, email="me@example.com", password="x")
    through.send("X-Avala-Api-Key", made.api_key)
    assert (made.user.email, len(await through.ask("datasets.list"))) == ("me@example.com", 20)
    assert through.calls == ["POST /signup/", "GET /datasets/"]


@pytest.mark.parametrize(
    ("fault", "raised", "error_class"),
    [
        ("400", sdk.ValidationError, "validation"),
        ("401", sdk.AuthenticationError, "authentication"),
        ("403", sdk.ForbiddenError, "permission"),
        ("403;code=plan_insufficient", sdk.ForbiddenError, "plan_insufficient"),
        ("403;code=scope_required", sdk.ForbiddenError, "scope_required"),
        ("404", sdk.NotFoundError, "not_found"),
        ("405", sdk.AvalaError, "method_not_allowed"),
        ("409", sdk.AvalaError, "conflict"),
        ("413", sdk.AvalaError, "payload_too_large"),
        ("422", sdk.ValidationError, "validation"),
    ],
)
async def test_a_permanent_error_is_raised_as_what_it_is_after_one_call(
    through: Sdk, fault: str, raised: type, error_class: str
) -> None:
    through.send("X-Sandbox-Fault", fault)
    error = await through.refusal("datasets.list")
    assert (type(error), error.status_code) == (raised, int(fault[:3]))
    assert error.message in (error.body["detail"], f"HTTP {error.status_code}")
    assert error.body.get("code", "") == fault.partition("code=")[2]
    assert through.calls == ["GET /datasets/"]
    assert await through.counted(error_class, "client") == 1


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [("500", "server_error"), ("502", "bad_gateway"), ("503", "unavailable"), ("504", "gateway_timeout")],
)
async def test_a_failing_server_is_raised_after_all_tries_or_after_one_creation(
    through: Sdk, fault: str, error_class: str
) -> None:
    through.send("X-Sandbox-Fault", fault)
    for error in (await through.refusal("webhooks.create", **HOOK), await through.refusal("webhooks.list")):
        assert (type(error), error.status_code) == (sdk.ServerError, int(fault))
    assert through.calls == ["POST /webhooks/"] + ["GET /webhooks/"] * 4
    assert await through.counted(error_class, "upstream") == 5


@pytest.mark.parametrize("told", ["retry-after=30", "retry-after=date;in=30"])
async def test_a_long_refusal_tells_when_to_come_back_in_seconds(start: Start, told: str) -> None:
    async with start(queue={"longest_wait": 2.0}) as through:
        through.send("X-Sandbox-Fault", f"429;{told}")
        theirs, ours = await through.refusal("datasets.list"), await through.refusal("datasets.list")
        for error in (theirs, ours):
            assert (type(error), type(error.retry_after)) == (sdk.RateLimitError, float)
            assert 25 <= error.retry_after <= 31
        assert ("code" in theirs.body, ours.body["code"]) == (False, "proxy_queue_timeout")
        assert through.calls == ["GET /datasets/"]
        assert await through.counted("rate_limited", "upstream") == 1


async def test_an_upload_beyond_the_quota_tells_the_quota_after_one_call(start: Start) -> None:
    async with start(SandboxSettings(upload_quota=100)) as through:
        ask, file = "datasets.create_manual_upload_url", {"dataset_name": "d", "file_path_in_dataset": "a"}
        target = await through.ask(ask, **file, content_length=100)
        assert target["url"] == "https://uploads.sandbox.invalid/"
        error = await through.refusal(ask, **file | {"file_path_in_dataset": "b"}, content_length=1)
        assert (type(error), error.limit, error.used) == (sdk.QuotaExceededError, 100, 100)
        assert through.calls == ["POST /datasets/manual-upload/file-upload-url/"] * 2
        assert await through.counted("payload_too_large", "client") == 1
