"""One call of an endpoint: what a view is given, and nothing of sockets. Views turn it into a reply."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from proxy.sandbox import errors
from proxy.sandbox.callers import Caller
from proxy.sandbox.replies import AnyReply, Reply, json_reply
from proxy.sandbox.settings import SandboxSettings
from proxy.sandbox.store import Account, Store
from proxy.sandbox.throttle import Permit

Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class World:
    """What all calls share."""

    settings: SandboxSettings
    store: Store
    sleep: Sleep


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, read to its end."""

    sha256: str
    size: int
    data: bytes
    """Empty for an upload, of which only the digest is kept."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let through to its view."""

    world: World
    caller: Caller
    origin: str
    """Scheme and host as the client wrote them, such as `http://127.0.0.1:8000`."""
    path: str
    query: Mapping[str, str]
    params: Mapping[str, str]
    """What the endpoint's template took from the path."""
    body: Body
    now: float
    """Monotonic seconds."""
    wall: float
    """Unix time."""
    permit: Permit = field(default_factory=Permit)

    @property
    def account(self) -> Account:
        """The caller's own data."""
        return self.world.store.account(self.caller)

    @property
    def moment(self) -> datetime:
        """The date and time."""
        return datetime.fromtimestamp(self.wall, UTC)

    @property
    def url(self) -> str:
        """The absolute address that was asked for, without its query."""
        return self.origin + self.path

    def missing(self) -> errors.ApiError:
        """Tell why something the caller asked for is not shown."""
        return errors.permission_denied() if self.caller.stranger else errors.not_found()

    def payload(self) -> dict[str, Any]:
        """Read the body, if any, as a JSON object; raises ApiError (400) in DRF's words."""
        if not self.body.data:
            return {}
        try:
            value = json.loads(self.body.data)
        except (ValueError, RecursionError) as error:
            raise errors.bad_request(f"JSON parse error - {error}") from None
        if not isinstance(value, dict):
            sentence = f"Invalid data. Expected a dictionary, but got {type(value).__name__}."
            raise errors.validation({"non_field_errors": [sentence]})
        return value


View = Callable[[Call], AnyReply]


def no_content() -> Reply:
    """Answer a deletion."""
    return Reply(204)


def created(value: Any) -> Reply:
    """Answer a creation."""
    return json_reply(value, 201)
