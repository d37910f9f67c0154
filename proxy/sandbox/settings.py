"""What can be chosen about a sandbox: one frozen value, read by everything else and changed by nothing.

What changes while the sandbox runs begins as this value says, and is kept by `tuning.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.sandbox.faults import FaultPlan
from proxy.sandbox.limits import DOCUMENTED_LIMITS, Limit, check_limits, scaled


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """The settings of a sandbox; the defaults are the documented API, without faults."""

    limits: Mapping[str, Limit] = field(default_factory=lambda: DOCUMENTED_LIMITS)
    """Limits by scope. A scope left out keeps its documented size."""
    time_scale: float = 1.0
    """How many times faster than the real API: throttle windows (so the waits too) and export durations are
    divided by it. What is chosen explicitly (`slow_seconds`, `retry_after`, `transit`) is not."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Share of requests, 0 to 1, that get each fault, by name. Default: none."""
    after_share: float = 0.5
    """Of the drawn faults that may strike on either side, the share that strikes after the operation."""
    retry_after: float | None = None
    """Seconds a 503 asks to wait in `Retry-After`. Default: it does not say."""
    slow_seconds: float = 2.0
    """How long the fault `slow` waits before executing, seconds."""
    transit: tuple[float, float] = (0.0, 0.0)
    """Shortest and longest pretended network delay, seconds, drawn for each direction of each request."""
    seed: int | None = None
    """Seed of the sandbox's own randomness. Default: from the system."""
    export_seconds: float = 2.0
    """How long an export job runs, seconds, before division by `time_scale`."""
    page_size: int = 20
    """Results on a page of a list when the request names no `limit`."""
    max_body: int = 100 * 1024 * 1024
    """Largest request body, bytes (the API's 100 MB)."""
    upload_quota: int = 1024**3
    """Bytes that one user's upload URLs may promise together (1 GiB)."""
    ledger_size: int = 100_000
    """Entries the ledger keeps; its counters never forget."""

    def __post_init__(self) -> None:
        FaultPlan(self.faults, self.retry_after)  # which checks both
        check_limits(self.limits)
        low, high = self.transit
        checks = {
            "time_scale must be above 0": self.time_scale > 0 and math.isfinite(self.time_scale),
            "after_share must lie between 0 and 1": 0 <= self.after_share <= 1,
            "slow_seconds must not be negative": self.slow_seconds >= 0,
            "transit must be (low, high) with 0 <= low <= high": 0 <= low <= high,
            "export_seconds must not be negative": self.export_seconds >= 0,
            "upload_quota must not be negative": self.upload_quota >= 0,
            "page_size, max_body and ledger_size must be at least 1": min(
                self.page_size, self.max_body, self.ledger_size
            )
            >= 1,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise ValueError(f"{sentence}.")

    def scaled_limits(self) -> dict[str, Limit]:
        """Give every scope's limit as it is enforced: windows divided by `time_scale`."""
        return scaled({**DOCUMENTED_LIMITS, **self.limits}, self.time_scale)

    @property
    def scaled_export_seconds(self) -> float:
        """How long an export job really runs, seconds."""
        return self.export_seconds / self.time_scale
