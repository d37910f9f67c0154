"""What the sandbox really did, whatever its clients believe. It decides nothing, and knows no secret."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    """One request that arrived. Filled in while it is served."""

    seq: int
    arrived: float
    """When the throttle counted it, on the sandbox's monotonic clock, seconds."""
    method: str
    path: str
    """With its query, as it was sent."""
    status: int | None = None
    """What was really sent; None when no head was."""
    executed: bool = False
    """Whether the operation was done."""
    fault: str | None = None
    throttled_by: str | None = None
    key: str | None = None
    """The request's `X-Sandbox-Key`."""
    user: str | None = None
    """The beginning of the credential's SHA-256; None for anonymous requests."""
    request_id: str | None = None
    traceparent: str | None = None
    """What it says of the trace that it belongs to."""
    body_sha256: str | None = None
    """None when the body was not read to its end."""
    body_size: int = 0
    """Bytes of the body that were read."""
    note: str | None = None
    """`client_gone`, or `stopped` when the sandbox itself ended the exchange."""


class Ledger:
    """The last entries, and counters over all of them."""

    def __init__(self, size: int) -> None:
        self._numbers = itertools.count(1)
        self._entries: deque[Entry] = deque(maxlen=size)
        self._open: set[int] = set()
        self._requests = 0
        self._by_status: Counter[str] = Counter()
        self._executed: Counter[str] = Counter()
        self._throttled: Counter[str] = Counter()
        self._peak: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Ledger {self._requests} requests, {len(self._open)} in flight, {dict(self._by_status)}>"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries kept, oldest first."""
        return tuple(self._entries)

    def arrive(
        self, arrived: float, method: str, path: str, key: str | None = None, request_id: str | None = None
    ) -> Entry:
        """Open the entry of a request."""
        entry = Entry(next(self._numbers), arrived, method, path, key=key, request_id=request_id)
        self._entries.append(entry)
        self._open.add(entry.seq)
        self._requests += 1
        return entry

    def finish(self, entry: Entry) -> None:
        """Count how a request ended. One that was open when the ledger was emptied counts nowhere."""
        if entry.seq not in self._open:
            return
        self._open.remove(entry.seq)
        self._by_status[str(entry.status or "none")] += 1
        if entry.executed:
            self._executed[entry.method] += 1
        if entry.throttled_by is not None:
            self._throttled[entry.throttled_by] += 1

    def saw(self, scope: str, count: int) -> None:
        """Note how full a window is; only the fullest is kept."""
        if count > self._peak.get(scope, 0):
            self._peak[scope] = count

    def clear(self) -> None:
        """Forget everything, the numbering of entries excepted."""
        for book in (self._entries, self._open, self._by_status, self._executed, self._throttled, self._peak):
            book.clear()
        self._requests = 0

    def summary(self, entries: bool = True) -> dict[str, Any]:
        """Give all of it as JSON values."""
        summary: dict[str, Any] = {
            "requests": self._requests,
            "in_flight": len(self._open),
            "by_status": dict(sorted(self._by_status.items())),
            "executed": dict(sorted(self._executed.items())),
            "throttled": dict(sorted(self._throttled.items())),
            "peak": dict(sorted(self._peak.items())),
        }
        if entries:
            summary["entries"] = [asdict(entry) for entry in self._entries]
        return summary
