"""Avala's own SDK, in both its forms, through the proxy: only two environment variables know of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import avala  # type: ignore[import-untyped]  # the SDK ships no types
import pytest
from avala import errors as sdk  # type: ignore[import-untyped]
from avala.signup import async_signup, signup  # type: ignore[import-untyped]

from proxy.sandbox import SandboxSettings
from tests.e2e import stack

FAST = {"base": 0.01, "cap": 0.05}
FILE = {"dataset_name": "d", "file_path_in_dataset": "a.png"}
HOOK = {"target_url": "https://example.com/hook", "events": ["task.created"]}


@dataclass
class Sdk:
    """A client of either form, and what stands behind it."""

    form: type[Any]
    client: Any
    stack: stack.Stack

    async def ask(self, call: Callable[[Any], Any]) -> Any:
        """Let the client do something. The synchronous one blocks, so it gets a thread."""
        if self.form is avala.Client:
            return await asyncio.to_thread(call, self.client)
        return await call(self.client)

    async def refusal(self, call: Callable[[Any], Any], fault: str | None = None) -> Any:
        """Return the exception that a call raises; the SDK itself cannot be asked to send a fault's header."""
        if fault is not None:
            self.client._transport._client.headers["X-Sandbox-Fault"] = fault
        with pytest.raises(sdk.AvalaError) as raised:
            await self.ask(call)
        return raised.value

    @property
    def calls(self) -> list[tuple[str, str]]:
        """What the API was asked, oldest first."""
        return [
            (entry.method, entry.path.removeprefix("/api/v1")) for entry in self.stack.sandbox.ledger.entries
        ]


Start = Callable[..., Any]


@pytest.fixture(params=[avala.Client, avala.AsyncClient], ids=["sync", "async"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    for name in os.environ:
        if name.startswith("AVALA_"):
            monkeypatch.delenv(name)

    @asynccontextmanager
    async def start(sandbox: SandboxSettings | None = None, **overrides: Any) -> AsyncIterator[Sdk]:
        async with stack.running(sandbox, **{"retry": FAST, **overrides}) as behind:
            monkeypatch.setenv("AVALA_BASE_URL", f"{behind.url}/api/v1")
            monkeypatch.setenv("AVALA_ALLOW_INSECURE_BASE_URL", "true")
            client = request.param(api_key="avk_sdk")
            asked = Sdk(request.param, client, behind)
            yield asked
            await asked.ask(lambda client: client.close())

    return start


@pytest.fixture
async def through(start: Start) -> AsyncIterator[Sdk]:
    async with start() as asked:
        yield asked


def get_one(client: Any) -> Any:
    return client.datasets.list(limit=1)


async def test_all_pages_are_listed_each_by_one_call(through: Sdk) -> None:
    page = await through.ask(lambda client: client.datasets.list())
    found = [dataset.uid for dataset in page]
    while page.has_more:
        cursor = page.next_cursor
        page = await through.ask(lambda client, cursor=cursor: client.datasets.list(cursor=cursor))
        found += [dataset.uid for dataset in page]
    assert len(found) == len(set(found)) == 45
    assert len(through.calls) == 3
    assert through.client.rate_limit_info["remaining"] == "97"


async def test_a_webhook_is_created_got_changed_listed_and_deleted(through: Sdk) -> None:
    made = await through.ask(lambda client: client.webhooks.create(**HOOK))
    assert (await through.ask(lambda client: client.webhooks.get(made.uid))).target_url == made.target_url
    changed = await through.ask(lambda client: client.webhooks.update(made.uid, is_active=False))
    assert (await through.ask(lambda client: client.webhooks.list())).items == [changed]
    assert await through.ask(lambda client: client.webhooks.delete(made.uid)) is None
    gone = await through.refusal(lambda client: client.webhooks.get(made.uid))
    assert type(gone) is sdk.NotFoundError
    one = f"/webhooks/{made.uid}/"
    assert through.calls == [
        ("POST", "/webhooks/"),
        ("GET", one),
        ("PATCH", one),
        ("GET", "/webhooks/"),
        ("DELETE", one),
        ("GET", one),
    ]


async def test_a_dataset_is_created_and_found_again(through: Sdk) -> None:
    made = await through.ask(lambda client: client.datasets.create(name="New", slug="new", data_type="image"))
    assert await through.ask(lambda client: client.datasets.get(made.uid)) == made
    assert await through.ask(lambda client: client.datasets.get_by_slug(made.owner_name, "new")) == made
    assert len(through.calls) == 3


async def test_an_export_is_polled_to_its_end(start: Start) -> None:
    async with start(SandboxSettings(export_seconds=0.45)) as through:
        started = await through.ask(lambda client: client.exports.create(dataset="any"))
        done = await through.ask(lambda client: client.exports.wait(started.uid, interval=0.5))
        assert (started.status, done.status, done.uid) == ("pending", "exported", started.uid)
        first, *polls = through.calls
        assert first == ("POST", "/exports/")
        assert set(polls) == {("GET", f"/exports/{started.uid}/")}
        assert len(polls) <= 2  # 1 on a machine so slow that the job has ended before the first


async def test_a_signup_gives_a_key_that_works(through: Sdk) -> None:
    account = {"email": "me@example.com", "password": "x"}
    if through.form is avala.Client:
        made = await asyncio.to_thread(signup, **account)
    else:
        made = await async_signup(**account)
    assert made.user.email == "me@example.com"
    through.client._transport._client.headers["X-Avala-Api-Key"] = made.api_key
    assert len(await through.ask(lambda client: client.datasets.list())) == 20
    assert through.calls == [("POST", "/signup/"), ("GET", "/datasets/")]


@pytest.mark.parametrize(
    ("fault", "raised", "error_class", "message"),
    [
        ("400", sdk.ValidationError, "validation", "HTTP 400"),
        ("401", sdk.AuthenticationError, "authentication", "Invalid API key."),
        ("403", sdk.ForbiddenError, "permission", "You do not have permission to perform this action."),
        (
            "403;code=plan_insufficient",
            sdk.ForbiddenError,
            "plan_insufficient",
            "Project approval requires a PRO or ENTERPRISE plan.",
        ),
        (
            "403;code=scope_required",
            sdk.ForbiddenError,
            "scope_required",
            "API key requires 'projects.write' scope.",
        ),
        ("404", sdk.NotFoundError, "not_found", "Not found."),
        ("405", sdk.AvalaError, "method_not_allowed", 'Method "GET" not allowed.'),
        ("409", sdk.AvalaError, "conflict", "An agent with this name already exists."),
        ("413", sdk.AvalaError, "payload_too_large", "Request body too large. Maximum size is 100MB."),
        ("422", sdk.ValidationError, "validation", "HTTP 422"),
    ],
)
async def test_a_permanent_error_is_raised_as_what_it_is_after_one_call(
    through: Sdk, fault: str, raised: type[Any], error_class: str, message: str
) -> None:
    error = await through.refusal(get_one, fault)
    assert (type(error), error.status_code, error.message) == (raised, int(fault[:3]), message)
    _, _, code = fault.partition("code=")
    assert error.body.get("code", "") == code
    assert len(through.calls) == 1
    series = f'avala_proxy_errors_total{{error_class="{error_class}",fault="client"}}'
    assert (await through.stack.metrics())[series] == 1.0


@pytest.mark.parametrize(
    ("fault", "error_class", "message"),
    [
        ("500", "server_error", "Internal server error."),
        ("502", "bad_gateway", "HTTP 502"),
        ("503", "unavailable", "Service temporarily unavailable. Please try again later."),
        ("504", "gateway_timeout", "HTTP 504"),
    ],
)
async def test_a_failing_server_is_raised_when_all_tries_have_failed(
    through: Sdk, fault: str, error_class: str, message: str
) -> None:
    error = await through.refusal(get_one, fault)
    assert (type(error), error.status_code, error.message) == (sdk.ServerError, int(fault), message)
    assert len(through.calls) == 4
    series = f'avala_proxy_errors_total{{error_class="{error_class}",fault="upstream"}}'
    assert (await through.stack.metrics())[series] == 4.0


async def test_a_creation_that_fails_is_raised_after_one_call(through: Sdk) -> None:
    error = await through.refusal(lambda client: client.webhooks.create(**HOOK), "500;after")
    assert (type(error), error.status_code) == (sdk.ServerError, 500)
    assert through.calls == [("POST", "/webhooks/")]


@pytest.mark.parametrize("told", ["retry-after=30", "retry-after=date;in=30"])
async def test_a_refusal_that_lasts_too_long_tells_when_to_come_back_in_seconds(
    start: Start, told: str
) -> None:
    async with start(queue={"longest_wait": 2.0}) as through:
        error = await through.refusal(get_one, f"429;{told}")
        assert type(error) is sdk.RateLimitError
        assert isinstance(error.retry_after, float)
        assert 28 <= error.retry_after <= 31
        ours = await through.refusal(get_one)
        assert (type(ours), ours.body["code"]) == (sdk.RateLimitError, "proxy_queue_timeout")
        assert 25 <= ours.retry_after <= error.retry_after + 1
        assert len(through.calls) == 1


async def test_an_upload_beyond_the_quota_tells_the_quota_after_one_call(start: Start) -> None:
    async with start(SandboxSettings(upload_quota=100)) as through:
        ask = "create_manual_upload_url"
        target = await through.ask(lambda client: getattr(client.datasets, ask)(**FILE, content_length=60))
        assert target["url"] == "https://uploads.sandbox.invalid/"
        other = FILE | {"file_path_in_dataset": "b.png", "content_length": 41}
        error = await through.refusal(lambda client: getattr(client.datasets, ask)(**other))
        assert type(error) is sdk.QuotaExceededError
        assert (error.status_code, error.limit, error.used) == (413, 100, 60)
        assert through.calls == [("POST", "/datasets/manual-upload/file-upload-url/")] * 2
