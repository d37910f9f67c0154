"""Rehearsal: how long so many requests would take, and what each limit would do to them.

Nothing is a model: the proxy's own line, limits and pace run on a virtual clock, against an upstream that
takes a constant time to answer. Only what cannot be foreseen is left out: failures, retries, and the others
who use the same key.
"""

import asyncio
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxy.adapters.local_ledger import LocalLedger
from proxy.admission import Admission
from proxy.config import Settings
from proxy.config_values import method, path_pattern
from proxy.errors import ErrorClass, Refusal
from proxy.messages import Headers, Request
from proxy.pacing import Pacing
from proxy.policy.limits import Lanes, LimitTable
from proxy.turn import Turn
from proxy.virtual import VirtualClock, run_virtual

KIND = 'COUNT, or "COUNT METHOD /path", or "COUNT METHOD /path SECONDS" (how long an answer takes)'

_KIND = re.compile(
    r"(?P<count>[1-9][0-9]{0,5})(?: +(?P<method>\S+) +(?P<path>/\S*)(?: +(?P<seconds>[0-9]+(\.[0-9]*)?))?)?"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """So many requests for one thing; an answer takes `seconds` (None: what answers take)."""

    count: int
    method: str
    path: str
    seconds: float | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def parse_kind(text: str) -> Kind:
    """Read COUNT [METHOD PATH [SECONDS]]. Raises ValueError."""
    match = _KIND.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {KIND}.")
    if match["method"] is None:
        return Kind(int(match["count"]), "GET", "/api/v1/datasets/", None)
    seconds = None if match["seconds"] is None else float(match["seconds"])
    if "*" in match["path"]:
        raise ValueError(f"{text!r} is not {KIND}: it needs a path, not a pattern.")
    try:
        return Kind(int(match["count"]), method(match["method"]), path_pattern(match["path"]), seconds)
    except ValueError as error:
        raise ValueError(f"{text!r} is not {KIND}: it needs {error}.") from error


@dataclass(slots=True)
class Trip:
    """One request: when it came, went and was answered (seconds), what held it, or why it was refused."""

    kind: Kind
    lanes: Lanes
    came: float
    went: float = math.nan
    limit: str = "none"
    answered: float = math.nan
    refused: ErrorClass | None = None

    @property
    def waited(self) -> float:
        """Seconds in line."""
        return self.went - self.came


@dataclass(slots=True)
class Plan:
    """What happened to all requests, in virtual seconds."""

    trips: list[Trip] = field(default_factory=list)

    @property
    def done(self) -> list[Trip]:
        """Those that were answered."""
        return [trip for trip in self.trips if trip.refused is None]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max((trip.answered for trip in self.done), default=0.0)


def rehearse(
    settings: Settings, kinds: Sequence[Kind], *, callers: int, latency: float, at_once: bool
) -> Plan:
    """Send so many requests of these kinds from so many callers with one key, and see.

    Each caller sends one after the other, or all `at_once`. `latency` is what an answer takes, in seconds.
    """
    return run_virtual(_Rehearsal(settings, latency).run(_dealt(kinds, callers), at_once))


def _dealt(kinds: Iterable[Kind], callers: int) -> list[list[tuple[int, Kind]]]:
    """Give each caller its share of each kind, and put all in an order in which kinds are spread evenly.

    Return what each caller sends: the number in that order, and the kind.
    """
    places = [((2 * number + 1) / (2 * kind.count), kind) for kind in kinds for number in range(kind.count)]
    hands: list[list[tuple[int, Kind]]] = [[] for _ in range(callers)]
    for number, at in enumerate(sorted(range(len(places)), key=lambda at: places[at][0])):
        hands[at % callers].append((number, places[at][1]))
    return hands


class _Rehearsal:
    def __init__(self, settings: Settings, latency: float) -> None:
        self._latency = latency
        self._clock = VirtualClock()
        self._queue = settings.queue
        self._limits = LimitTable(settings.limits)
        upstream = settings.upstream
        ledger = LocalLedger(
            self._limits,
            self._clock,
            transit=upstream.transit,
            clock_drift=upstream.clock_drift,
            probe=False,  # of a proxy that has been running, and knows its key
        )
        self._admission = Admission(ledger, Pacing(settings.limits), settings.queue, self._clock)
        self._plan = Plan()

    async def run(self, hands: Sequence[Sequence[tuple[int, Kind]]], at_once: bool) -> Plan:
        async with asyncio.TaskGroup() as group:
            for caller, hand in enumerate(hands, 1):
                for some in ([one] for one in hand) if at_once else [hand]:
                    group.create_task(self._caller(f"caller {caller}", some))
        await self._admission.close()
        return self._plan

    async def _caller(self, name: str, kinds: Iterable[tuple[int, Kind]]) -> None:
        for ticket, kind in kinds:
            await self._send(self._request(ticket, kind, name), kind)

    def _request(self, ticket: int, kind: Kind, caller: str) -> Request:
        now = self._clock.now()
        return Request(
            method=kind.method,
            target=kind.path,
            headers=Headers(),
            peer="",
            arrived=now,
            deadline=now + self._queue.longest_wait,
            id="",
            credential="key",
            caller=caller,
            ticket=ticket,
        )

    async def _send(self, request: Request, kind: Kind) -> None:
        trip = Trip(kind, self._limits.lanes(request), request.arrived)
        self._plan.trips.append(trip)
        try:
            turn = await self._admission.admit(request, trip.lanes)
        except Refusal as refusal:
            trip.refused = refusal.error_class
            return
        assert isinstance(turn, Turn), "it asks for nobody's like"
        trip.went, trip.limit = self._clock.now(), turn.limit
        turn.started()
        turn.sent()
        await asyncio.sleep(self._latency if kind.seconds is None else kind.seconds)
        await turn.answered()
        await turn.end()
        trip.answered = self._clock.now()
