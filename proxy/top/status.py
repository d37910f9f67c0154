"""What the admin listener says of a proxy, read: `GET /status`, and each `status` event of its stream.

Versions differ: what is not known here is passed over, and what an older proxy does not say yet has a
default. Numbers are brought into bounds in which they can be drawn; texts are as they came, and nobody's
word is to be trusted (`marks` makes them fit to be shown).
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError


class Unreadable(Exception):
    """What was said is no status."""


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


_Count = Annotated[int, AfterValidator(lambda number: min(max(number, 0), 10**15))]
_Seconds = Annotated[float, AfterValidator(lambda seconds: min(max(seconds, 0.0), 1e12))]


class Limit(_Said):
    """One limit, `capacity` in any `window` of seconds (0: at once); `remaining` is without the `reserve`."""

    name: str
    capacity: _Count
    window: _Seconds | None = None
    reserve: _Count = 0
    remaining: _Count
    foreign: _Count = 0
    queued: _Count = 0
    paused: bool = False

    @property
    def ours(self) -> int:
        """How much of it this proxy has taken."""
        return max(0, self.capacity - self.foreign - self.reserve - self.remaining)


class Breaker(_Said):
    """The breaker of a group of routes: `closed`, `open` or `half_open`; `forced` if opened by hand."""

    name: str
    state: str
    forced: bool = False


class State(_Said):
    """What the proxy is doing now."""

    limits: tuple[Limit, ...] = ()
    in_flight: _Count = 0
    queued: _Count = 0
    queue_size: _Count = 0
    pauses: Mapping[str, _Seconds] = {}
    breakers: tuple[Breaker, ...] = ()
    ledger_up: bool = True
    replicas: _Count = 1
    shared: bool = False


class Caller(_Said):
    """Somebody who waits; `first` and `last` are the seconds until those requests go, None if not known."""

    credential: str | None = None
    caller: str
    queued: _Count
    first: _Seconds | None = None
    last: _Seconds | None = None


class History(_Said):
    """One number a second, the oldest first, the last for the second `until`."""

    until: _Count
    sent: tuple[_Count, ...] = ()
    queued: tuple[_Count, ...] = ()
    refused: tuple[_Count, ...] = ()
    rate_limited: tuple[_Count, ...] = ()


class Example(_Said):
    """The last failure of a class."""

    at: _Seconds = 0.0
    method: str = ""
    route: str = ""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None


class Error(_Said):
    """How often a class of errors occurred since the start, and whose fault it is."""

    error_class: str
    fault: str
    count: _Count
    last: Example | None = None


class Quantiles(_Said):
    """How long things took of late, in seconds."""

    count: _Count = 0
    p50: _Seconds | None = None
    p95: _Seconds | None = None
    p99: _Seconds | None = None
    most: _Seconds | None = None


class Recent(_Said):
    """What happened lately."""

    history: History | None = None
    errors: tuple[Error, ...] = ()
    upstream: Quantiles = Quantiles()
    waits: Quantiles = Quantiles()


class Finding(_Said):
    """A sentence on how it is; `level` is `ok`, `note`, `warn` or `bad`."""

    level: str = "note"
    text: str


class Verdict(_Said):
    """What the proxy says of itself: what matters most, and what `also` is to be known, the worst first."""

    headline: Finding
    also: tuple[Finding, ...] = ()


class Status(_Said):
    """All of it; `ready`, `verdict` and `recent` are None where they are not told."""

    version: str = ""
    uptime: _Seconds = 0.0
    now: _Seconds = 0.0
    ready: bool | None = None
    reason: str = ""
    verdict: Verdict | None = None
    state: State
    callers: tuple[Caller, ...] = ()
    recent: Recent | None = None


def read(content: str | bytes) -> Status:
    """Read a status. Raises Unreadable."""
    try:
        return Status.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Unreadable(f"{where}: {first['msg']}" if where else first["msg"]) from None
