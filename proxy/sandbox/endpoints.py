"""The API's table of endpoints: which paths there are, what each allows, and which throttles it falls under.

To add an endpoint, write its view under `views/` and a line here; nothing else knows a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

from proxy.sandbox.calls import View
from proxy.sandbox.views import accounts, datasets, exports, inference, projects, transfers, webhooks

PREFIX = "/api/v1"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access(Enum):
    """Who may come in."""

    KEY = auto()
    """Callers with a key."""
    PUBLIC = auto()
    """Everybody; callers with a key are counted as users, the rest by address."""
    SIGNUP = auto()
    """Everybody, counted by address under a scope of its own."""
    STAFF = auto()
    """Nobody who has a customer's key."""


@dataclass(frozen=True)
class Endpoint:
    """One path and what it can do."""

    path: str
    """Below `/api/v1`, with `{names}` for what varies."""
    views: Mapping[str, View] = field(default_factory=dict)
    access: Access = Access.KEY
    writes: str | None = None
    """The scope that a key needs for anything but reading."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """A throttle scope beyond the user's own, by method."""
    streams: bool = False
    """Whether it is a streaming connection: counted per second, but not per minute."""
    bulk: bool = False
    """Whether its request body is an upload, of which only the digest is kept."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The expression that a whole path must match."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", PREFIX + self.path))

    def view(self, method: str) -> View | None:
        """Give the view of a method; HEAD is answered as GET."""
        return self.views.get("GET" if method == "HEAD" else method)

    @cached_property
    def allow(self) -> str:
        """The header `Allow`, in DRF's order."""
        methods = [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if method in self.views]
        return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])

    def demands(self, method: str, user: str | None, address: str) -> dict[str, str]:
        """Give every throttle scope that a request falls under, and the key it is counted by."""
        if self.access is Access.SIGNUP:
            return {"signup": address}
        if user is None:
            return {"anonymous": address}
        scopes = ["burst"] if self.streams else ["standard", "burst"]
        if extra := self.extra.get(method):
            scopes.append(extra)
        return dict.fromkeys(scopes, user)

    def told(self, user: str | None, address: str) -> tuple[str, str]:
        """Give the scope, with its key, that the headers of an answer tell of when no throttle refused."""
        if self.access is Access.SIGNUP:
            return ("signup", address)
        return ("anonymous", address) if user is None else ("standard", user)


ENDPOINTS = (
    Endpoint("/status/", {"GET": accounts.get_status}, Access.PUBLIC),
    Endpoint("/signup/", {"POST": accounts.sign_up}, Access.SIGNUP),
    Endpoint("/users/me/", {"GET": accounts.get_me}),
    Endpoint("/users/me/projects/", {"GET": projects.list_projects}),
    Endpoint("/users/me/projects/{uid}/", {"GET": projects.get_project}),
    Endpoint("/projects/", access=Access.STAFF, views={"GET": projects.list_projects}),
    Endpoint("/projects/{uid}/approve/", {"POST": projects.approve_project}, writes="projects.write"),
    Endpoint(
        "/datasets/",
        {"GET": datasets.list_datasets, "POST": datasets.create_dataset},
        writes="datasets.write",
    ),
    Endpoint(
        "/datasets/{uid}/",
        {"GET": datasets.get_dataset, "DELETE": datasets.delete_dataset},
        writes="datasets.write",
    ),
    Endpoint(
        "/datasets/manual-upload/file-upload-url/",
        {"POST": transfers.create_upload_url},
        writes="uploads.write",
        extra={"POST": "uploads"},
    ),
    Endpoint("/datasets/{owner}/{slug}/", {"GET": datasets.get_dataset_by_slug}),
    Endpoint(
        "/exports/",
        {"GET": exports.list_exports, "POST": exports.create_export},
        writes="exports.write",
        extra={"POST": "exports"},
    ),
    Endpoint("/exports/{uid}/", {"GET": exports.get_export}),
    Endpoint(
        "/webhooks/",
        {"GET": webhooks.list_webhooks, "POST": webhooks.create_webhook},
        writes="webhooks.write",
    ),
    Endpoint(
        "/webhooks/{uid}/",
        {
            "GET": webhooks.get_webhook,
            "PATCH": webhooks.update_webhook,
            "DELETE": webhooks.delete_webhook,
        },
        writes="webhooks.write",
    ),
    Endpoint("/inference/invoke/", {"POST": inference.invoke}, extra={"POST": "inference"}),
    Endpoint(
        "/uploads/", {"POST": transfers.upload}, writes="uploads.write", extra={"POST": "uploads"}, bulk=True
    ),
    Endpoint("/downloads/{bytes}/", {"GET": transfers.download}),
    Endpoint("/events/stream/", {"GET": transfers.stream_events}, extra={"GET": "streams"}, streams=True),
)
NOWHERE = Endpoint("/")
"""What answers every path that no endpoint has: it asks for a key and counts, as the rest does; then 404."""

_FIXED = {PREFIX + endpoint.path: endpoint for endpoint in ENDPOINTS if "{" not in endpoint.path}
_VARYING = tuple(endpoint for endpoint in ENDPOINTS if "{" in endpoint.path)


def find(path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """Give the endpoint of a path and what its template takes from it; NOWHERE when there is none."""
    if (fixed := _FIXED.get(path)) is not None:
        return fixed, {}
    for endpoint in _VARYING:
        if (match := endpoint.pattern.fullmatch(path)) is not None:
            return endpoint, match.groupdict()
    return NOWHERE, {}
