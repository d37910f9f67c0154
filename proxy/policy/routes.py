"""The only place where a path becomes a route: the label under which metrics and logs count it.

What clients send must not grow the metrics. So a label is a route of the published SDK, or one guessed
from a path that the upstream has answered with success, up to a bound; everything else is `other`. A
scanner gets no successes, hence no labels.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

OTHER = "other"

_LEARNED = 200
"""Routes that may be learned; how many of all have series of their own is the metrics page's matter."""
LONGEST_LEARNED = 64
"""Characters of a route that is learned; the metrics page has them in each of some 35 series."""
_LONGEST_PATH = 1024
_DEEPEST = 16
_CACHED_PATHS = 2048

_PLAIN = re.compile(r"[A-Za-z0-9._~%@:+=,-]+")
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
_IDENTIFIER = re.compile(
    r"[0-9]+"  # a number
    r"|[0-9a-fA-F-]{8,}"  # a UUID, a digest
    r"|(?=.*[0-9]).{6,}"  # whatever else is long for a word and has a digit
    r"|.*[@%:+=,].*"  # an address, an escape, a reference with a selector
    r"|.{33,}"
)

_ROUTES = (
    "/agent-actions/",
    "/agents/",
    "/agents/{id}/",
    "/agents/{id}/executions/",
    "/agents/{id}/test/",
    "/auto-label-jobs/",
    "/auto-label-jobs/{id}/",
    "/datasets/",
    "/datasets/manual-upload/",
    "/datasets/manual-upload/allowed-mimes/",
    "/datasets/manual-upload/file-upload-url/",
    "/datasets/manual-upload/quota/",
    "/datasets/manual-upload/uploads/{upload_uid}/complete/",
    "/datasets/manual-upload/uploads/{upload_uid}/parts/",
    "/datasets/{id}/",
    "/datasets/{owner}/{dataset_slug}/annotation-issues/",
    "/datasets/{owner}/{dataset_slug}/annotation-issues/metrics/",
    "/datasets/{owner}/{slug}/",
    "/datasets/{owner}/{slug}/bulk-edition/",
    "/datasets/{owner}/{slug}/health/",
    "/datasets/{owner}/{slug}/items/",
    "/datasets/{owner}/{slug}/items/{item_uid}/",
    "/datasets/{owner}/{slug}/sequences/",
    "/datasets/{owner}/{slug}/sequences/{sequence_uid}/",
    "/datasets/{owner}/{slug}/transfer/",
    "/exports/",
    "/exports/{id}/",
    "/fleet/alert-channels/",
    "/fleet/alert-channels/{channel_id}/",
    "/fleet/alert-channels/{channel_id}/test/",
    "/fleet/alerts/",
    "/fleet/alerts/{alert_id}/",
    "/fleet/alerts/{alert_id}/acknowledge/",
    "/fleet/alerts/{alert_id}/resolve/",
    "/fleet/devices/",
    "/fleet/devices/{device_id}/",
    "/fleet/events/",
    "/fleet/events/batch/",
    "/fleet/events/{event_id}/",
    "/fleet/recordings/",
    "/fleet/recordings/{recording_id}/",
    "/fleet/recordings/{recording_uid}/managed-upload/admit/",
    "/fleet/recordings/{recording_uid}/managed-upload/finalize/",
    "/fleet/recordings/{recording_uid}/managed-upload/multipart/init/",
    "/fleet/recordings/{recording_uid}/managed-upload/multipart/parts/",
    "/fleet/recordings/{recording_uid}/managed-upload/multipart/progress/",
    "/fleet/recordings/{recording_uid}/managed-upload/status/",
    "/fleet/recordings/{recording_uid}/upload/confirm/",
    "/fleet/recordings/{recording_uid}/upload/finalize/",
    "/fleet/recordings/{recording_uid}/upload/init/",
    "/fleet/recordings/{recording_uid}/upload/status/",
    "/fleet/recordings/{recording_uid}/upload/urls/",
    "/fleet/rules/",
    "/fleet/rules/{rule_id}/",
    "/inference-providers/",
    "/inference-providers/{id}/",
    "/inference-providers/{id}/test/",
    "/inference/invoke/",
    "/organizations/",
    "/organizations/industry-choices/",
    "/organizations/{slug}/",
    "/organizations/{slug}/invitations/",
    "/organizations/{slug}/invitations/{invitation_uid}/cancel/",
    "/organizations/{slug}/invitations/{invitation_uid}/resend/",
    "/organizations/{slug}/leave/",
    "/organizations/{slug}/members/",
    "/organizations/{slug}/members/{user_uid}/",
    "/organizations/{slug}/members/{user_uid}/role/",
    "/organizations/{slug}/teams/",
    "/organizations/{slug}/teams/{team_slug}/",
    "/organizations/{slug}/teams/{team_slug}/members/",
    "/organizations/{slug}/teams/{team_slug}/members/{user_uid}/",
    "/organizations/{slug}/teams/{team_slug}/members/{user_uid}/role/",
    "/organizations/{slug}/transfer-ownership/",
    "/projects/{id}/approve/",
    "/projects/{project_uid}/auto-label/",
    "/projects/{project_uid}/consensus/",
    "/projects/{project_uid}/consensus/compute/",
    "/projects/{project_uid}/consensus/config/",
    "/projects/{project_uid}/consensus/scores/",
    "/projects/{project_uid}/quality-targets/",
    "/projects/{project_uid}/quality-targets/evaluate/",
    "/projects/{project_uid}/quality-targets/{id}/",
    "/qc-available-tools/",
    "/resolve/uid/{dataset_uid}/{revision}/",
    "/resolve/uid/{dataset_uid}/{revision}/objects/",
    "/resolve/uid/{dataset_uid}/{revision}/objects/{object_uid}/access/",
    "/resolve/{owner}/{dataset}/",
    "/sequences/{sequence_uid}/annotation-issues/",
    "/sequences/{sequence_uid}/annotation-issues/{issue_uid}/",
    "/signup/",
    "/slices/",
    "/slices/{owner}/list/",
    "/slices/{owner}/{slug}/",
    "/slices/{owner}/{slug}/items/list/",
    "/slices/{owner}/{slug}/items/{item_uid}/",
    "/storage-configs/",
    "/storage-configs/setup-info/",
    "/storage-configs/{id}/",
    "/storage-configs/{id}/test/",
    "/tasks/",
    "/tasks/{id}/",
    "/users/me/",
    "/users/me/projects/",
    "/users/me/projects/{id}/",
    "/webhook-deliveries/",
    "/webhook-deliveries/{id}/",
    "/webhooks/",
    "/webhooks/{id}/",
    "/webhooks/{id}/test/",
)

KNOWN_ROUTES = tuple("/api/v1" + route for route in _ROUTES)
"""Every endpoint of the SDKs (PyPI avala 0.10.0, avala-agents 0.1.1) and of the API's error page, with
the SDK's own placeholders; its `{uid}` is `{id}`."""


@dataclass(slots=True)
class _Node:
    """What may follow a beginning of a path; `template` if the path may end here."""

    words: "dict[str, _Node]" = field(default_factory=dict)
    any: "_Node | None" = None
    template: str | None = None

    def add(self, template: str) -> None:
        node = self
        for segment in template.split("/"):
            if not _PLACEHOLDER.fullmatch(segment):
                node = node.words.setdefault(segment, _Node())
            else:
                node.any = node.any or _Node()
                node = node.any
        node.template = template

    def find(self, segments: Sequence[str], at: int = 0) -> str | None:
        """Follow the segments; a word wins over a placeholder, which an empty segment never fills."""
        if at == len(segments):
            return self.template
        segment = segments[at]
        word = self.words.get(segment)
        found = word.find(segments, at + 1) if word else None
        if found or not segment or self.any is None:
            return found
        return self.any.find(segments, at + 1)


class RouteTable:
    """Name routes; `bound` is how many may be learned beyond the known ones, none with a secret in it."""

    def __init__(
        self,
        bound: int = _LEARNED,
        known: Sequence[str] = KNOWN_ROUTES,
        *,
        is_secret: Callable[[str], bool] = lambda template: False,
    ) -> None:
        self._is_secret = is_secret
        self._bound = bound
        self._known = frozenset(known)
        self._learned: set[str] = set()
        self._root = _Node()
        for template in known:
            self._root.add(template)
        self._cached = lru_cache(maxsize=_CACHED_PATHS)(self._template)

    def template(self, path: str) -> str:
        """Return the known route of a path, else a guess with `{id}` in it, else `other`."""
        return OTHER if len(path) > _LONGEST_PATH else self._cached(path)

    def label(self, path: str) -> str:
        """Return the template of a path if it is known or learned, else `other`."""
        template = self.template(path)
        return template if template in self._known or template in self._learned else OTHER

    def answered(self, path: str, status: int) -> None:
        """Learn the route of a path that was answered with success, while there is room."""
        if 200 <= status < 300 and len(self._learned) < self._bound:
            template = self.template(path)
            new = template != OTHER and template not in self._known and template not in self._learned
            if new and len(template) <= LONGEST_LEARNED and not self._is_secret(template):
                self._learned.add(template)

    def _template(self, path: str) -> str:
        segments = path.split("/")
        if len(segments) > _DEEPEST or segments[0] or len(segments) < 2:
            return OTHER
        return self._root.find(segments) or _guess(segments)

    def __repr__(self) -> str:
        return f"<RouteTable {len(self._known)} known, {len(self._learned)} of {self._bound} learned>"


def _guess(segments: Sequence[str]) -> str:
    """Replace what looks like an identifier; a path with anything odd in it is no route."""
    inner = segments[1:] if segments[-1] else segments[1:-1]
    if not all(_PLAIN.fullmatch(segment) and segment not in (".", "..") for segment in inner):
        return OTHER
    return "/".join("{id}" if _IDENTIFIER.fullmatch(segment) else segment for segment in segments)
