"""Everybody who is told of what happens, made out of settings: metrics, the log, traces, the last minutes.

What they are told is `events.py`; what they make of it is in `telemetry/`.
"""

import asyncio
from collections.abc import Callable
from typing import TextIO

import proxy
from proxy import config
from proxy.clock import Clock
from proxy.events import Events, LogLevelChanged
from proxy.material import SecretReader, StartError
from proxy.pulse import Pulse
from proxy.recent import Recent
from proxy.state import State
from proxy.telemetry.batch import Batch, Moment
from proxy.telemetry.logs import Logs
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.recent import RecentEvents
from proxy.telemetry.redaction import Redaction
from proxy.telemetry.rendering import Lines, Logger, configure
from proxy.telemetry.stdlib import quiet_stdlib
from proxy.telemetry.untraced import Tracing, Untraced


class Observability:
    """Those who listen to `events`, and what they have in common: no secret gets past `redaction`.

    Raises `StartError`.
    """

    def __init__(self, settings: config.Settings, clock: Clock, stream: TextIO) -> None:
        self._settings = settings
        self._clock = clock
        self.redaction = Redaction()
        self._lines = Lines(stream, self.redaction)
        self.tracing = tracing(settings, clock, version=proxy.__version__)
        self._moment = moment = Moment(clock, self.tracing.trace_id)
        self._metrics = Metrics(
            settings, version=proxy.__version__, trace=moment.trace_id, lines_lost=lambda: self._lines.lost
        )
        self._recent = RecentEvents(moment)
        self._logs = Logs(self._logger, settings.log.level, trace=moment.trace_id)
        complain = self._logs.complain
        self._batch = Batch(moment, self._metrics, self._recent, self._logs, complain=complain)
        # Tracing comes last: until a request's end has been told, the others ask for its trace.
        self.events = Events(self._batch, *self.tracing.listeners, complain=complain)
        self.secrets = SecretReader(clock, self.events, self.redaction)
        self._pulse: Pulse | None = None
        self._undo: Callable[[], None] = lambda: None

    def start(self, waiting: Callable[[], int]) -> None:
        """Begin, once the event loop runs; `waiting` is how many wait now. Raises `StartError`."""
        self._undo = quiet_stdlib(lambda: self._logs.logger, self.redaction)
        self._batch.start()
        self._pulse = Pulse(lambda: self._second_over(waiting()))
        self._pulse.start()
        try:
            self.tracing.start(self.events)
        except ValueError as error:  # of variables, which are no settings of ours
            raise StartError(f"Traces cannot be sent, by the environment (OTEL_…): {error}") from error

    def flush(self) -> None:
        """Have all that happened counted and written, before somebody looks."""
        self._batch.flush()

    def _second_over(self, waiting: int) -> None:
        self.flush()
        self._recent.second_over(waiting)
        self._metrics.sweep(self._clock.now())

    def configure(self, settings: config.Settings) -> None:
        """Go by other settings."""
        self.flush()
        self._settings = settings
        self._logs.set_level(settings.log.level)
        self._metrics.configured(settings)

    async def metrics_page(self, accept: str, state: State) -> tuple[bytes, str]:
        """Write the metrics page in the format of an Accept header; return it and its content type.

        It is written beside the event loop: many series take 30 ms and more.
        """
        self.flush()
        return await asyncio.to_thread(self._metrics.render, accept, state)

    def recent(self) -> Recent:
        """Return what happened lately."""
        self.flush()
        return self._recent.now()

    def _logger(self, level: config.Level) -> Logger:
        log = self._settings.log.model_copy(update={"level": level})
        return configure(log, self._lines, clock=self._moment)

    def log_level(self) -> config.Level:
        """Return the least severe level that is written now."""
        return self._logs.level

    def set_log_level(self, level: config.Level) -> None:
        """Write lines of another level, until the next reload or start."""
        before = self._logs.level
        if level != before:
            self.flush()
            self._logs.set_level(level)
            self.events(LogLevelChanged(level, before))

    async def close(self) -> None:
        """End, when there is nothing more to be told but that all is over."""
        if self._pulse is not None:
            self._pulse.stop()
        await self.tracing.close()
        self._batch.close()
        self._undo()


def tracing(settings: config.Settings, clock: Clock, *, version: str) -> Tracing:
    """Make who sees what happens to requests, if anybody is to. Raises `StartError`."""
    if not settings.tracing.enabled:
        return Untraced()
    try:
        from proxy.telemetry.collector import Collector
        from proxy.telemetry.tracing import Tracing
    except ModuleNotFoundError as error:
        raise StartError(
            "tracing.enabled needs OpenTelemetry: install avala-proxy with its extra, avala-proxy[otel]."
        ) from error
    return Tracing(Collector(settings.tracing, version=version), settings.listen, clock)
