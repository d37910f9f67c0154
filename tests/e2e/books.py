"""What must agree: what clients got, what the pretend API did, and what the proxy says of both.

Which status, code or fault is of which class stands here once more: taken from the proxy's own table, a
mistake in it would agree with itself.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from proxy.app import App
from proxy.sandbox.ledger import Entry
from tests.e2e.stack import Stack
from tests.fakes import until

OF_STATUS = {
    400: "validation",
    401: "authentication",
    403: "permission",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    418: "client_error",
    422: "validation",
    429: "rate_limited",
    500: "server_error",
    502: "bad_gateway",
    503: "unavailable",
    504: "gateway_timeout",
    505: "upstream_error",
    599: "upstream_error",
}
OF_CODE = {"plan_insufficient": "plan_insufficient", "scope_required": "scope_required"}
OF_FAULT = {"hang": "read_timeout", "reset": "connection_terminated", "truncated": "response_incomplete"}
OF_REFUSAL = {
    "proxy_target_too_long": "bad_request",
    "proxy_head_too_large": "bad_request",
    "proxy_upgrade_refused": "bad_request",
}
"""Refusals whose code is not the name of their class."""

CLIENT = {
    "validation",
    "authentication",
    "permission",
    "plan_insufficient",
    "scope_required",
    "not_found",
    "method_not_allowed",
    "conflict",
    "payload_too_large",
    "client_error",
}
UPSTREAM = {
    "rate_limited",
    "server_error",
    "bad_gateway",
    "unavailable",
    "gateway_timeout",
    "upstream_error",
}
UNUSUAL = {"client_error", "upstream_error"}
NETWORK = {"read_timeout", "connection_terminated", "response_incomplete"}
UNCONNECTED = {"dns_error", "connection_refused", "connection_timeout", "tls_error"}
OWN = {
    "queue_full",
    "queue_timeout",
    "circuit_open",
    "request_too_large",
    "bad_request",
    "request_timeout",
    "too_many_connections",
    "unauthorized_client",
    "shutting_down",
    "client_disconnected",
    "internal_error",
}

OPEN = [{"name": "standard", "requests": 100_000, "per": 60.0}]
"""Limits that no test meets."""
RETRY = {"max_retries": 2, "base": 0.01, "jitter": 0.0, "budget": 100.0}

Sums = Counter[str]


def fault_of(error_class: str) -> str:
    """Return whose fault a class is."""
    faults = {"client": CLIENT, "upstream": UPSTREAM, "network": NETWORK | UNCONNECTED, "proxy": OWN}
    (fault,) = [fault for fault, classes in faults.items() if error_class in classes]
    return fault


@dataclass
class Tally:
    """What clients got: one note for each request, made of nothing but its answer."""

    classes: Sums = field(default_factory=Counter)
    statuses: Sums = field(default_factory=Counter)
    refusals: Sums = field(default_factory=Counter)
    retries: int = 0

    def __len__(self) -> int:
        return self.classes.total()

    def note(self, error_class: str, status: int | None) -> None:
        """Note a request of this class; it was answered with this status, or not at all."""
        self.classes[error_class] += 1
        self.statuses[str(status or "none")] += 1

    def answered(self, status: int, fields: Mapping[str, str], body: bytes) -> None:
        """Note a whole answer."""
        said = re.search(rb'"code": ?"(\w+)"', body)
        code = said[1].decode() if said else ""
        if (found := re.search(r'retries;desc="(\d+)"', fields["Server-Timing"])) is not None:
            self.retries += int(found[1])
        if "received-status=" in fields["Proxy-Status"]:
            self.note("none" if status < 400 else OF_CODE.get(code, OF_STATUS[status]), status)
            return
        assert "error=" in fields["Proxy-Status"]
        error_class = OF_REFUSAL.get(code, code.removeprefix("proxy_"))
        self.note(error_class, status)
        if error_class in OWN:
            self.refusals[error_class] += 1

    async def ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        *,
        cut: str = "response_incomplete",
        **options: Any,
    ) -> None:
        """Send one request, and note what comes of it: an answer that breaks off is of the class `cut`."""
        async with session.request(method, url, **options) as answer:
            try:
                body = await answer.read()
            except aiohttp.ClientPayloadError:
                self.note(cut, answer.status)
            else:
                self.answered(answer.status, answer.headers, body)


class Page:
    """The metrics page, to be summed up."""

    def __init__(self, text: str) -> None:
        self._samples = [one for family in text_string_to_metric_families(text) for one in family.samples]

    @classmethod
    async def of(cls, app: App) -> "Page":
        """Read the page of a proxy, which may have stopped."""
        text, _ = await app.observability.metrics_page("", app.state())
        return cls(text.decode())

    def by(self, name: str, *labels: str) -> Sums:
        """Add up a series by what these labels say, joined by a slash."""
        sums: Sums = Counter()
        for sample in self._samples:
            if sample.name == f"avala_proxy_{name}" and sample.value:
                sums["/".join(sample.labels[label] for label in labels)] += int(sample.value)
        return sums


def attempts(entries: Iterable[Entry], codes: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the class of each attempt that the API got, in order, by the id of its request.

    `codes` are those with which a 403 was asked for, by the same id.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        id_ = entry.request_id or ""
        found[id_].append(_class_of(entry, codes.get(id_, "")))
    return found


def _class_of(entry: Entry, code: str) -> str:
    if entry.fault in OF_FAULT:
        return OF_FAULT[entry.fault]
    if entry.note == "client_gone":
        return "client_disconnected"
    assert entry.status is not None
    if entry.status == 403 and code:
        return OF_CODE[code]
    return "none" if entry.status < 400 else OF_STATUS[entry.status]


def check_own(app: App, page: Page, tally: Tally, errors: Sums, lines: list[dict[str, Any]]) -> None:
    """Demand that the page, the log and the last examples say the same as clients do, and these errors."""
    assert page.by("requests_total", "error_class") == tally.classes
    assert page.by("requests_total", "status") == tally.statuses
    assert page.by("request_duration_seconds_count", "route").total() == len(tally)
    assert page.by("rejected_total", "reason") == tally.refusals
    assert Counter(line["error_class"] for line in lines) == tally.classes
    assert page.by("errors_total", "error_class", "fault") == {
        f"{error_class}/{fault_of(error_class)}": count for error_class, count in errors.items()
    }
    recent = {str(one.error_class): one.count for one in app.observability.recent().errors}
    assert recent == errors


async def check(stack: Stack, tally: Tally, codes: Mapping[str, str] | None = None) -> None:
    """Demand that all the books agree: the clients', the pretend API's, and those of the proxy."""
    ledger = stack.sandbox.ledger
    await until(lambda: not ledger.summary(entries=False)["in_flight"] and not stack.app.state().in_flight)
    page, made = await Page.of(stack.app), attempts(ledger.entries, codes or {})
    assert page.by("upstream_attempts_total", "status") == ledger.summary(entries=False)["by_status"]
    assert page.by("upstream_duration_seconds_count", "route").total() == len(ledger.entries)
    again = Counter(error_class for classes in made.values() for error_class in classes[:-1])
    assert page.by("retries_total", "error_class") == again
    errors = Counter(error_class for classes in made.values() for error_class in classes)
    for error_class in ("none", *OWN):
        del errors[error_class]
    errors += Counter({name: count for name, count in tally.classes.items() if name in OWN})
    check_own(stack.app, page, tally, errors, stack.lines("request"))
