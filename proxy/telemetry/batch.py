"""What happens to requests is told to those who take notes of it a moment later, many events at a time.

A note told by itself costs several times as much as one of many: between two of them, the code that serves
requests has driven the code that takes notes out of the processor's caches (`bench/observing.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from proxy.clock import Clock
from proxy.events import (
    Admitted,
    AttemptEnded,
    Coalesced,
    Event,
    Events,
    ExchangeEnded,
    Failed,
    InterimSent,
    NoteTaker,
    Observed,
    Rejected,
    Retried,
    RetryScheduled,
    RetryStopped,
)
from proxy.telemetry.untraced import TraceId, no_trace

DELAY = 0.05
"""Seconds that an event waits at the most, while the event loop turns."""

ENOUGH = 250
"""Events that are not kept waiting any longer; to tell of them takes about two milliseconds."""

OF_REQUESTS = frozenset(
    {
        Admitted,
        AttemptEnded,
        Coalesced,
        ExchangeEnded,
        Failed,
        InterimSent,
        Observed,
        Rejected,
        Retried,
        RetryScheduled,
        RetryStopped,
    }
)
"""What may wait. Everything else is rare, and told at once, after all that happened before it."""

_Snapshot = tuple[float, float, str | None]


class Moment:
    """The clock and the trace of what is told: those of the moment at which it happened, not of the telling.

    While nothing is told, they are those of now.
    """

    def __init__(self, clock: Clock, trace_id: TraceId = no_trace) -> None:
        self._clock = clock
        self._trace_id = trace_id
        self._past: _Snapshot | None = None

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.now() if self._past is None else self._past[0]

    def wall(self) -> float:
        """Return seconds since 1970."""
        past = self._past  # libraries write lines from threads of their own, too
        return self._clock.wall() if past is None else past[1]

    def trace_id(self) -> str | None:
        """Return the id of the trace that it belongs to; None if it is not kept."""
        return self._trace_id() if self._past is None else self._past[2]

    def snapshot(self) -> _Snapshot:
        """Return this moment, to be restored."""
        return self._clock.now(), self._clock.wall(), self._trace_id()

    def restore(self, past: _Snapshot | None) -> None:
        """Be another moment; None: be now again."""
        self._past = past


class Batch:
    """Tell note-takers of events, in order; of those of requests within `DELAY`, from `start` to `close`.

    Whoever reads their notes calls `flush` before.
    """

    def __init__(self, moment: Moment, *listeners: NoteTaker, complain: Callable[[str], None]) -> None:
        self._moment = moment
        self._tell = Events(*listeners, complain=complain)
        self._kept: list[tuple[Event, _Snapshot]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: asyncio.Handle | None = None
        kinds = {kind for listener in listeners for kind in listener.hears}
        self.hears: dict[type, Callable[[Any], None]] = {
            kind: self._later if kind in OF_REQUESTS else self._at_once for kind in kinds
        }

    def start(self) -> None:
        """Let events wait from now on."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Tell what waits, and let nothing wait any more."""
        self.flush()
        self._loop = None

    def _at_once(self, event: Event) -> None:
        self.flush()
        self._tell(event)

    def _later(self, event: Event) -> None:
        if self._loop is None:
            self._tell(event)
            return
        self._kept.append((event, self._moment.snapshot()))
        if self._due is None:
            self._due = self._loop.call_later(DELAY, self.flush)
        elif len(self._kept) == ENOUGH:
            self._due.cancel()
            self._due = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Tell all that waits; to be called on the event loop."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        kept, self._kept = self._kept, []
        for event, moment in kept:
            self._moment.restore(moment)
            self._tell(event)
        self._moment.restore(None)
