"""The settings of limits, and those that the API documents.

A part of `config`, which has the rest and its rules; whoever uses settings takes them from there.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxy import config_values
from proxy.config_values import Method, Part, PathPattern, Seconds, UnfitError


class Match(Part):
    """Which requests a limit applies to; all that is given must hold."""

    anonymous: bool | None = None
    """True: only requests without a credential; false: only those with one."""
    streaming: bool | None = None
    """True: only requests that accept text/event-stream; false: only the others."""
    methods: tuple[Method, ...] = ()
    """Methods in capitals; empty means all."""
    paths: tuple[PathPattern, ...] = ()
    """Path patterns: `*` stands for one segment, `**` for any number; empty means all."""


class Pace(Part):
    """How the grants of a window are spread."""

    burst: Annotated[int, Field(ge=1)]
    """Requests that may leave at once."""
    rate: Annotated[float, Field(gt=0)]
    """Requests per second after that."""


class Limit(Part):
    """One limit of the API; a request waits until every limit that matches it has room."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(config_values.limit_name)]
    """Its name in metrics, logs and answers."""
    requests: Annotated[int, Field(ge=1)] | None = None
    """How many may be counted in any `per` seconds."""
    per: Seconds | None = None
    """Length of the sliding window."""
    concurrent: Annotated[int, Field(ge=1)] | None = None
    """How many may be under way at once (instead of `requests` and `per`)."""
    key: Literal["credential", "address", "global"] = "credential"
    """One budget for each credential, or one for all (by our egress address, or global)."""
    match: Match = Match()
    """Which requests it applies to; everything, if empty."""
    floor: Annotated[int, Field(ge=1)] | None = None
    """X-RateLimit-Limit may lower `requests` to this; to a tenth, if absent."""
    ceiling: Annotated[int, Field(ge=1)] | None = None
    """X-RateLimit-Limit may raise `requests` to this; to ten times as many, if absent."""
    reserve: Annotated[int, Field(ge=0)] = 0
    """So many of `requests` are always left free, for others who use the same key."""
    pace: Pace | None = None
    """How grants that a window frees together are spread."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        rate = self.requests is not None and self.per is not None
        if rate == (self.concurrent is not None) or (self.requests is None) != (self.per is None):
            raise UnfitError(
                "is neither kind of limit, or both", "`requests` and `per`, or else `concurrent`"
            )
        for name in ("pace", "floor", "ceiling", "reserve"):
            if getattr(self, name) and not rate:
                raise UnfitError("is for a rate", f"`{name}` only beside `requests` and `per`", name)
        if self.pace is not None and self.requests is not None and self.pace.burst > self.requests:
            raise UnfitError(f"is {self.pace.burst}", f"at most `requests`, {self.requests}", "pace", "burst")
        if self.floor is not None and self.floor > self.size:
            raise UnfitError(f"is {self.floor}", f"at most `requests`, {self.size}", "floor")
        if self.ceiling is not None and self.ceiling < self.size:
            raise UnfitError(f"is {self.ceiling}", f"at least `requests`, {self.size}", "ceiling")
        if rate and self.reserve >= self.size:
            raise UnfitError(f"is {self.reserve}", f"less than `requests`, {self.size}", "reserve")
        return self

    @property
    def size(self) -> int:
        """The number that the API calls X-RateLimit-Limit."""
        return self.requests or self.concurrent or 0

    @property
    def bounds(self) -> tuple[int, int]:
        """From where to where the API may move it."""
        least = max(1, self.size // 10) if self.floor is None else self.floor
        return least, 10 * self.size if self.ceiling is None else self.ceiling


_UPLOADS = ("/api/v1/uploads/**", "/api/v1/**/upload/**", "/api/v1/**/manual-upload/**")

DOCUMENTED_LIMITS = (
    Limit(name="standard", requests=100, per=60.0, match=Match(anonymous=False, streaming=False)),
    Limit(name="burst", requests=20, per=1.0, match=Match(anonymous=False), pace=Pace(burst=5, rate=300.0)),
    Limit(name="anonymous", requests=30, per=60.0, key="address", match=Match(anonymous=True)),
    Limit(
        name="signup",
        requests=5,
        per=60.0,
        key="address",
        match=Match(methods=("POST",), paths=("/api/v1/signup/",)),
    ),
    Limit(
        name="inference",
        requests=10,
        per=60.0,
        match=Match(methods=("POST",), paths=("/api/v1/inference/invoke/",)),
    ),
    Limit(name="uploads", concurrent=10, match=Match(methods=("POST", "PUT", "PATCH"), paths=_UPLOADS)),
    Limit(name="exports", concurrent=5, match=Match(methods=("POST",), paths=("/api/v1/exports/",))),
    Limit(name="streams", concurrent=20, match=Match(streaming=True)),
)
"""The table of the API's documentation ("Limits"), which says that it may differ per deployment."""
