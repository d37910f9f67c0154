"""What happens to requests, as frozen facts; telemetry listens.

The request path emits, and knows no listener. A listener that fails is reported once, and its failure never
reaches a request.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from proxy.errors import ErrorClass, Fault
from proxy.messages import Request


@dataclass(frozen=True, slots=True)
class ExchangeBegan:
    """A client asks for something: its head is here, nothing of it was checked, and it has no route yet."""

    request: Request = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request got its turn; `limit` is the one that held it longest (`none` if it went at once)."""

    route: str
    limit: str
    waited: float


@dataclass(frozen=True, slots=True)
class InterimSent:
    """A client that waits was sent an interim response."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A request that nothing held would have waited so long for this limit, or been `refused`."""

    route: str
    limit: str
    waited: float
    refused: ErrorClass | None


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A request got the answer of another one that asked for the same; it was no attempt of its own.

    `context` is the one in which the exchange that they share is carried.
    """

    route: str
    context: Context | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request was refused by the proxy: `reason` is the error class."""

    route: str
    reason: ErrorClass


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The upstream was asked once: `status` None if it gave no answer; `seconds` until head or failure.

    `written` is False when nothing was sent: then the upstream never knew of it.
    """

    method: str
    route: str
    status: int | None
    error_class: ErrorClass
    fault: Fault
    seconds: float
    written: bool


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """Another attempt follows after `delay` seconds."""

    route: str
    error_class: ErrorClass
    delay: float


@dataclass(frozen=True, slots=True)
class Retried:
    """Another attempt begins, after one that failed so: it was not only scheduled, its turn has come."""

    route: str
    error_class: ErrorClass


@dataclass(frozen=True, slots=True)
class RetryStopped:
    """A transient failure is not tried again, for this reason."""

    route: str
    error_class: ErrorClass
    reason: str


@dataclass(frozen=True, slots=True)
class LimitPaused:
    """The upstream refused for this limit: nothing that falls under it goes for `seconds`.

    It holds for one `key` (a credential's hash, or a constant). `anew` is False of those that had left before
    the pause began: they change nothing.
    """

    limit: str
    seconds: float
    key: str = ""
    anew: bool = True


@dataclass(frozen=True, slots=True)
class LimitResumed:
    """The upstream has let a request through after a pause of this limit; the others follow it."""

    limit: str
    key: str


@dataclass(frozen=True, slots=True)
class LogLevelChanged:
    """Lines of another level are written from now on, until the next reload or start."""

    level: str
    before: str


@dataclass(frozen=True, slots=True)
class LimitMoved:
    """The upstream says that this limit is another one for some credential, or a refusal showed it."""

    limit: str
    capacity: int


@dataclass(frozen=True, slots=True)
class ForeignSeen:
    """The upstream has counted so many requests under this limit that are not ours."""

    limit: str
    count: int


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """The breaker of a group of routes is in another state: `open`, `half_open` or `closed`."""

    group: str
    state: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong with a request: an attempt failed, an answer broke after its head had been taken
    for the answer, the proxy refused it, or its client left. `code` is the structured one of the answer.
    """

    request_id: str
    method: str
    route: str
    status: int | None
    error_class: ErrorClass
    fault: Fault
    code: str | None


@dataclass(frozen=True, slots=True)
class ExchangeEnded:
    """A client has its answer (`status` None: it left before the head).

    Times in seconds: `duration` from arrival to the last byte, `waited` in line over all attempts,
    `upstream` in calls. `code` is the structured one of an answer that is an error. `limit` held it longest.
    `credential` is a short keyed hash, `client` the name of the token that was shown, `caller` who took turns
    with others. `coalesced`: it went along with another one.
    `would_wait` is what it would have waited in line, had it been held (None: it was).
    """

    request_id: str
    method: str
    route: str
    status: int | None
    error_class: ErrorClass
    fault: Fault
    code: str | None
    attempts: int
    duration: float
    waited: float
    upstream: float
    limit: str
    credential: str | None
    client: str | None
    caller: str
    peer: str
    coalesced: bool
    would_wait: float | None


@dataclass(frozen=True, slots=True)
class Crashed:
    """The proxy itself failed at a request; `stack` is for whoever mends it (logs redact it)."""

    request_id: str
    stack: str


@dataclass(frozen=True, slots=True)
class LifecycleChanged:
    """The process changed its state: `listening`, `observing`, `draining`, `stopped`.

    Or there is trouble with what it needs: `upstream_unreachable`, `few_open_files`; or with a file that it
    watches, which is told when it is over, too: `certificate_unusable`, `certificate_reloaded`,
    `credential_unreadable`, `credential_reloaded`; or with the collector of
    traces: `traces_lost`, `traces_sent`.
    """

    state: str
    detail: str


LedgerReason = Literal["refused", "timeout", "lost", "denied", "read_only", "full", "busy", "error"]
"""Why a call to the shared store can fail."""

LEDGER_REASONS: tuple[LedgerReason, ...] = get_args(LedgerReason)


@dataclass(frozen=True, slots=True)
class LedgerChanged:
    """The store that the budget is shared through was lost, or is back; `detail` says why, and what to do."""

    up: bool
    detail: str


@dataclass(frozen=True, slots=True)
class LedgerFailed:
    """A call to the shared store failed."""

    reason: LedgerReason


Event = (
    ExchangeBegan
    | Admitted
    | InterimSent
    | Observed
    | Coalesced
    | Rejected
    | AttemptEnded
    | RetryScheduled
    | Retried
    | RetryStopped
    | LimitPaused
    | LimitResumed
    | LogLevelChanged
    | LimitMoved
    | ForeignSeen
    | BreakerChanged
    | Failed
    | ExchangeEnded
    | Crashed
    | LifecycleChanged
    | LedgerChanged
    | LedgerFailed
)


class NoteTaker(Protocol):
    """A listener that is told of nothing but what its table has: what it does, by the type of the event."""

    @property
    def hears(self) -> Mapping[type, Callable[[Any], None]]:
        """The table."""


Listener = Callable[[Event], None] | NoteTaker


def _complain(text: str) -> None:
    print(f"avala-proxy: {text}", file=sys.stderr, end="")


class Events:
    """Hand each event to every listener, in order; `complain` hears of one that fails."""

    def __init__(self, *listeners: Listener, complain: Callable[[str], None] = _complain) -> None:
        self._listeners = listeners
        self._complain = complain
        self._broken: set[int] = set()
        self._told: dict[type, list[tuple[Listener, Callable[[Any], None]]]] = {}

    def __call__(self, event: Event) -> None:
        """Tell everybody."""
        told = self._told.get(type(event))
        if told is None:
            told = self._told[type(event)] = list(self._who_hears(type(event)))
        for listener, hear in told:
            try:
                hear(event)
            except Exception:
                self._report(listener)

    def _who_hears(self, kind: type) -> Iterator[tuple[Listener, Callable[[Any], None]]]:
        for listener in self._listeners:
            if callable(listener):
                yield listener, listener
            elif kind in listener.hears:
                yield listener, listener.hears[kind]

    def _report(self, listener: Listener) -> None:
        if id(listener) not in self._broken:
            self._broken.add(id(listener))
            with suppress(Exception):
                self._complain(f"{listener!r} failed, and is reported once:\n{traceback.format_exc()}")
