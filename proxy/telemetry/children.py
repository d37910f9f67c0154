"""The only place where it is decided which labels a series gets: looked up fast, and never too many.

What clients send must not grow the page. A route has series of its own while there is room, and until it was
idle for long; the rest is `other`. A class of errors is never lost, so that sums by class stay exact.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from proxy.policy.routes import OTHER

MOST = 200
"""Children of one counter by route; some more are kept for those of the route `other`."""
_MORE = 60


class Children:
    """A series whose labelled children are looked up once: `.labels()` costs three times an increment."""

    def __init__(self, series: MetricWrapperBase) -> None:
        self._series = series
        self._known: dict[tuple[str, ...], Any] = {}

    def __call__(self, *labels: str) -> Any:
        """Return the child of these labels."""
        child = self._known.get(labels)
        return self._made(labels) if child is None else child

    def _made(self, labels: tuple[str, ...]) -> Any:
        child = self._known[labels] = self._series.labels(*labels)
        return child

    def forget(self, route: str) -> None:
        """Drop what is labelled with a route."""
        for labels in [labels for labels in self._known if route in labels]:
            del self._known[labels]
            self._series.remove(*labels)


class Answers(Children):
    """Children by method, route, status and class of errors: at most 260, and one for each class."""

    def _made(self, labels: tuple[str, ...]) -> Any:
        method, _, status, error_class = labels
        if len(self._known) < MOST:
            return super()._made(labels)
        wider = (method, OTHER, status, error_class)
        if wider not in self._known and len(self._known) >= MOST + _MORE:
            wider = (OTHER, OTHER, OTHER, error_class)
        return self._known[wider] if wider in self._known else super()._made(wider)


class Routes:
    """Which routes have series: at most `most` at a time, none that was idle for `idle` seconds.

    `forget` drops the series of one.
    """

    def __init__(self, most: int, idle: float, forget: Callable[[str], None]) -> None:
        self._most = most
        self._idle = idle
        self._forget = forget
        self._used: dict[str, bool] = {}
        self._since: dict[str, float] = {}

    def label(self, route: str) -> str:
        """Return the route, or `other`."""
        if route not in self._used and (len(self._used) >= self._most or route == OTHER):
            return OTHER
        self._used[route] = True
        return route

    def sweep(self, now: float) -> None:
        """Drop what was idle; to be called now and then, which is how exactly idleness is known."""
        for route, used in list(self._used.items()):
            if used:
                self._since[route], self._used[route] = now, False
            elif now - self._since[route] >= self._idle:
                del self._used[route], self._since[route]
                self._forget(route)
