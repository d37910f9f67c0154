"""What is written to the log: one line for each request, and one for each change of the proxy's state.

A listener, like the metrics. No line holds a path, a query or a header's value. How lines look is in
`rendering`, what is cut out of all of them in `redaction`, what libraries say in `stdlib`.
"""

from collections.abc import Callable
from typing import Any

from proxy.config import Level
from proxy.errors import ErrorClass, Fault
from proxy.events import (
    BreakerChanged,
    Crashed,
    ExchangeEnded,
    ForeignSeen,
    LedgerChanged,
    LifecycleChanged,
    LimitMoved,
    LimitPaused,
    LimitResumed,
    LogLevelChanged,
    RetryScheduled,
)
from proxy.telemetry.rendering import Logger
from proxy.telemetry.untraced import TraceId, no_trace

_WORTH_A_LOOK = frozenset({Fault.UPSTREAM, Fault.NETWORK, Fault.PROXY})
_TROUBLE = frozenset(
    {
        "few_open_files",
        "upstream_unreachable",
        "upstream_unresolved",
        "certificate_unusable",
        "credential_unreadable",
        "observing",
        "reload_failed",
        "state_file_ignored",
        "state_file_exposed",
        "state_file_unwritable",
        "traces_lost",
    }
)


class Logs:
    """Write a line for each event that operators read about; `logger_of` makes the logger of a level."""

    def __init__(
        self, logger_of: Callable[[Level], Logger], level: Level, *, trace: TraceId = no_trace
    ) -> None:
        self._logger_of = logger_of
        self._unfiltered = logger_of("debug")
        self.set_level(level)
        self._trace = trace
        self.hears: dict[type, Callable[[Any], None]] = {
            ExchangeEnded: self._exchange_ended,
            Crashed: self._crashed,
            LimitPaused: self._limit_paused,
            LimitResumed: self._limit_resumed,
            LogLevelChanged: self._log_level_changed,
            LimitMoved: self._limit_moved,
            ForeignSeen: self._foreign_seen,
            BreakerChanged: self._breaker_changed,
            LifecycleChanged: self._lifecycle_changed,
            LedgerChanged: self._ledger_changed,
            RetryScheduled: self._retry_scheduled,
        }

    @property
    def logger(self) -> Logger:
        """The logger of the moment."""
        return self._logger

    def set_level(self, level: Level) -> None:
        """Write nothing that is less severe from now on."""
        self.level = level
        self._logger = self._logger_of(level)

    def complain(self, stack: str) -> None:
        """Write that a listener failed, which may have been this one."""
        self._logger.error("listener_failed", stack=stack)

    def _exchange_ended(self, event: ExchangeEnded) -> None:
        # A client that leaves is everyday life, whoever's fault it is filed under.
        left = event.error_class is ErrorClass.CLIENT_DISCONNECTED
        write = self._logger.warning if event.fault in _WORTH_A_LOOK and not left else self._logger.info
        trace_id = self._trace()
        write(
            "request",
            request_id=event.request_id,
            method=event.method,
            route=event.route,
            status=event.status,
            error_class=event.error_class,
            fault=event.fault,
            code=event.code,
            attempts=event.attempts,
            duration=round(event.duration, 4),
            waited=round(event.waited, 4),
            upstream=round(event.upstream, 4),
            limit=event.limit,
            credential=event.credential,
            client=event.client,
            caller=event.caller,
            peer=event.peer,
            coalesced=event.coalesced,
            **({} if event.would_wait is None else {"would_wait": round(event.would_wait, 4)}),
            **({} if trace_id is None else {"trace_id": trace_id}),
        )

    def _crashed(self, event: Crashed) -> None:
        self._logger.error("crashed", request_id=event.request_id, stack=event.stack)

    def _limit_paused(self, event: LimitPaused) -> None:
        # Of a hundred that were under way when the API began to refuse, each is told the same.
        if event.anew:
            self._logger.warning(
                "limit_paused", limit=event.limit, key=event.key, seconds=round(event.seconds, 4)
            )

    def _limit_resumed(self, event: LimitResumed) -> None:
        self._logger.info("limit_resumed", limit=event.limit, key=event.key)

    def _log_level_changed(self, event: LogLevelChanged) -> None:
        self._unfiltered.info("log_level_changed", to=event.level, before=event.before)

    def _limit_moved(self, event: LimitMoved) -> None:
        self._logger.info("limit_moved", limit=event.limit, capacity=event.capacity)

    def _foreign_seen(self, event: ForeignSeen) -> None:
        self._logger.debug("foreign_seen", limit=event.limit, count=event.count)

    def _breaker_changed(self, event: BreakerChanged) -> None:
        write = self._logger.info if event.state == "closed" else self._logger.warning
        write(f"breaker_{event.state}", group=event.group)

    def _ledger_changed(self, event: LedgerChanged) -> None:
        if event.up:
            self._logger.info("ledger_up", detail=event.detail)
        else:
            self._logger.warning("ledger_down", detail=event.detail)

    def _lifecycle_changed(self, event: LifecycleChanged) -> None:
        write = self._logger.warning if event.state in _TROUBLE else self._logger.info
        write(event.state, detail=event.detail)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        self._logger.debug(
            "retry_scheduled", route=event.route, error_class=event.error_class, delay=round(event.delay, 4)
        )
