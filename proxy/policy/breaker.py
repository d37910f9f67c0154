"""The only place where it is decided whether a failing upstream is left alone, and when it is tried again.

What counts as a failure has been judged by `classify.py`, and what a 503 demands has been read by
`feedback.py`. All times are `Clock.now` seconds, handed in, and never go backwards.

    closed ── failures in a row, or a 503 that demands a long wait ──▶ open
      ▲                                                                │  ▲
      │                               its time came: a probe is let go │  │ the probe failed: interval doubled
      │                                                                ▼  │
      ├───────────────────── any probe succeeded ────────────────── half open ──┐ abandoned: another at once
      │                                                                ▲────────┘ hangs: another, doubled too
      │
      └── closed by hand, from anywhere ── open by hand ◀── opened by hand, from anywhere

A permit has three endings: an abandoned probe is neither success nor failure. It also has an era, which ends
when the breaker leaves closed or comes back to it, or is opened by hand: an answer to what was sent in an era
that is over settles nothing. Probes, however many, are of the era of their opening.
"""

import math
from typing import Literal

from proxy import config

State = Literal["closed", "open", "half_open"]


class Permit:
    """Leave for one request, told apart by identity; `probe`: it was let go to try the upstream."""

    __slots__ = ("ended", "era", "probe")

    def __init__(self, era: int, *, probe: bool) -> None:
        self.era = era
        self.probe = probe
        self.ended = False


class Breaker:
    """Let requests go, or hold them; of the endings that a permit is given, the first counts."""

    def __init__(self, rules: config.Breaker) -> None:
        self._rules = rules
        self._state: State = "closed"
        self._era = 0
        self._failures = 0  # in a row
        self._interval = rules.interval
        self._opens_until = -math.inf  # inf: by hand
        self._probe: Permit | None = None  # the youngest, while under way
        self._hangs_at = -math.inf  # the youngest, from when on

    def configure(self, rules: config.Breaker) -> None:
        """Go by other rules from now on; where it is, it stays."""
        self._rules = rules

    def __repr__(self) -> str:
        if self.forced:
            return "<Breaker open by hand>"
        if self._state == "closed":
            return f"<Breaker closed: {self._failures} of {self._rules.failures} failures in a row>"
        ready, probe = max(self._opens_until, self._hangs_at), "under way" if self._probe else "none"
        return f"<Breaker {self._state}: probe={probe} next={ready:g} interval={self._interval:g} s>"

    @property
    def state(self) -> State:
        """Where it is; it is open until the probe goes whose time may have come long ago."""
        return self._state

    @property
    def forced(self) -> bool:
        """Whether it was opened by hand, and stays open until it is closed by hand."""
        return self._opens_until == math.inf

    def ready_at(self, now: float) -> float:
        """Return when a request may go: `now`, a later time, or inf if it was opened by hand."""
        return max(now, self._opens_until, self._hangs_at)

    def take(self, now: float) -> Permit:
        """Let a request go; call only when `ready_at` said now."""
        if self._state == "closed":
            return Permit(self._era, probe=False)
        if self._probe is not None:  # it hangs
            self._double()
        self._state = "half_open"
        self._probe = Permit(self._era, probe=True)
        self._hangs_at = now + self._interval
        return self._probe

    def abandon(self, permit: Permit, now: float) -> None:
        """Note that nothing was learned: it was refunded, or the client left."""
        if self._ends(permit) and permit is self._probe:
            self._forget_probe()

    def succeeded(self, permit: Permit, now: float) -> None:
        """Note an answer that speaks for the upstream's health."""
        if not self._ends(permit) or permit.era != self._era:
            return
        if permit.probe:
            self._begin("closed")
        else:
            self._failures = 0

    def failed(self, permit: Permit, now: float, *, retry_after: float | None = None) -> None:
        """Note a server or network failure; `retry_after` are the seconds that a 503 demands, if it does."""
        if not self._ends(permit) or not self._rules.enabled:
            return
        demanded = self._demanded(retry_after)
        if permit.era == self._era:
            if permit.probe:
                self._probe_failed(permit, now, demanded)
            else:
                self._count(now, demanded)
        elif permit.era == self._era - 1 and self._state == "open":
            # It was under way when this opened, which may be the very maintenance that it tells of. When a
            # probe is under way, that one will tell.
            self._opens_until = max(self._opens_until, now + demanded)

    def force_open(self, now: float) -> None:
        """Open it by hand."""
        self._begin("open", math.inf)

    def force_close(self, now: float) -> None:
        """Close it by hand, however it was opened, and forget what failed."""
        if self._state == "closed":
            self._failures = 0
        else:
            self._begin("closed")

    def _ends(self, permit: Permit) -> bool:
        first, permit.ended = not permit.ended, True
        return first

    def _begin(self, state: State, until: float = -math.inf) -> None:
        """Begin an era, in which nothing is remembered of those before."""
        self._state, self._opens_until = state, until
        self._era += 1
        self._failures, self._interval = 0, self._rules.interval
        self._forget_probe()

    def _forget_probe(self) -> None:
        self._probe, self._hangs_at = None, -math.inf

    def _double(self) -> None:
        # A first interval that is longer than the longest is not shortened by failures.
        self._interval = max(self._interval, min(2 * self._interval, self._rules.longest_interval))

    def _demanded(self, retry_after: float | None) -> float:
        """Return how long a demand opens it: 0 without one, or if it is too short to be maintenance."""
        if retry_after is not None and retry_after >= self._rules.maintenance:
            return min(retry_after, self._rules.longest_maintenance)
        return 0.0

    def _count(self, now: float, demanded: float) -> None:
        self._failures += 1
        if demanded:
            self._begin("open", now + demanded)
        elif self._failures >= self._rules.failures:
            self._begin("open", now + self._interval)

    def _probe_failed(self, permit: Permit, now: float, demanded: float) -> None:
        """Leave the upstream alone for longer, or take note only of what it demands.

        - The youngest probe: the interval is doubled, and begins again.
        - An older one, the youngest having been abandoned: it stands in for it. It was doubled for already,
          when the younger one went.
        - An older one else: a younger one tells, or has told, what is newer.
        """
        wait = demanded
        if permit is self._probe:
            self._forget_probe()
            self._double()
            wait = max(demanded, self._interval)
        elif self._probe is None and self._state == "half_open":
            wait = max(demanded, self._interval)
        if wait:
            self._state = "open"
            self._opens_until = max(self._opens_until, now + wait)
