"""A forecast is what happens: who goes when, if nobody comes or leaves and the upstream keeps its pace."""

import heapq
import itertools
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.policy.at_once import AtOnce
from proxy.policy.forecast import Start, forecast
from proxy.policy.limits import Lane, Lanes
from proxy.policy.line import Line
from proxy.policy.outlook import Outlook
from proxy.policy.room import Room, Slot
from proxy.policy.turns import Place, Rules
from proxy.policy.window import SlidingWindow

LIMITS = {
    "minute": (3, 8.0),
    "second": (2, 1.0),
    "narrow": (1, 6.0),
    "at once": (2, None),
    "global": (2, 4.0),
}
"""Size and window of each limit; without a window, it is "at once"."""


class World:
    """A line before limits and an upstream, step by step: what `Admission` and `LocalLedger` do with them.

    The upstream takes `latency` seconds for each answer, and has done so before.
    """

    def __init__(
        self, latency: float, *, transit: float = 1.0, weights: dict[str, float] | None = None
    ) -> None:
        self.latency = latency
        self.transit = transit
        self.line = Line(Rules(4.0, weights or {}))
        self.now = 0.0
        self.rooms: dict[Lane, Room] = {}
        self.went: dict[Place, float] = {}
        self.expired: dict[Place, float] = {}
        self._under_way: list[tuple[float, int, list[tuple[Room, Slot]], Lanes]] = []
        self._due: list[tuple[float, Lane]] = []
        self._due_at: dict[Lane, float] = {}
        self._numbers = itertools.count()

    def room(self, lane: Lane) -> Room:
        if lane not in self.rooms:
            size, per = LIMITS[lane.limit]
            room = AtOnce(size) if per is None else SlidingWindow(size, per, self.transit)
            slot = room.take(self.now - 100.0)
            room.sent(slot, self.now - 100.0)
            room.settle(slot, self.now - 100.0 + self.latency)
            room.release(slot, self.now - 100.0 + self.latency)
            self.rooms[lane] = room
        return self.rooms[lane]

    def outlook(self, lane: Lane) -> Outlook:
        return self.room(lane).outlook(self.now)

    def admit(self, place: Place) -> None:
        """Go at once if there is nobody to overtake, else join the line."""
        if not any(self.line.ahead(lane, place.lanes) for lane in place.lanes) and self._take(place) is None:
            self.went[place] = self.now
            return
        self.line.join(place, self.now)
        self._dispatch()

    def run(self, until: float) -> None:
        """Let everything happen that happens until then."""
        while (at := self._next_event()) <= until and at < math.inf:
            self.now = at
            while self._under_way and self._under_way[0][0] <= at:
                *_, slots, lanes = heapq.heappop(self._under_way)
                for room, slot in slots:
                    room.settle(slot, at)
                    room.release(slot, at)
                for lane in lanes:
                    self.line.unpark(lane, at)
            while self._due and self._due[0][0] <= at:
                due, lane = heapq.heappop(self._due)
                if self._due_at.get(lane) == due:
                    del self._due_at[lane]
                self.line.unpark(lane, at)
            self._dispatch()
            for place in self.line.everybody():
                if place.deadline <= at:
                    self.line.leave(place)
                    self.expired[place] = at
        self.now = max(self.now, until) if until < math.inf else self.now

    def _next_event(self) -> float:
        times = [heap[0][0] for heap in (self._under_way, self._due) if heap]
        return min([*times, *(place.deadline for place in self.line.everybody())], default=math.inf)

    def _take(self, place: Place) -> tuple[Lane, float] | None:
        """Take a slot in every lane, or tell which has none, and until when."""
        rooms = [(lane, self.room(lane)) for lane in place.lanes]
        for lane, room in rooms:
            if (at := room.ready_at(self.now)) > self.now:
                return lane, at
        slots = [(room, room.take(self.now)) for _, room in rooms]
        for room, slot in slots:
            room.sent(slot, self.now)
        heapq.heappush(self._under_way, (self.now + self.latency, next(self._numbers), slots, place.lanes))
        return None

    def _dispatch(self) -> None:
        while (place := self.line.next(self.now)) is not None:
            busy = self._take(place)
            if busy is None:
                for other in self.line.alike(place):
                    self.line.leave(other)
                    self.went[other] = self.now
                self.went[place] = self.now
                self.line.took(place, self.now)
                continue
            lane, at = busy
            self.line.park(place, lane, self.now)
            if at < self._due_at.get(lane, math.inf):
                self._due_at[lane] = at
                heapq.heappush(self._due, (at, lane))

    def foreseen(self) -> dict[Place, float]:
        """Forecast for all who wait."""
        starts = [
            start
            for part in self.line.parts()
            for start in forecast([queue.copy(self.now) for queue in part], self.outlook, self.now)
        ]
        assert len(starts) == len(self.line)
        return {start.place: start.at for start in starts}


def lanes(*names: str, key: str = "k") -> Lanes:
    return tuple(Lane(name, "global" if name == "global" else key) for name in names)


def lined_up(world: World, many: int, *names: str, **details: object) -> list[Place]:
    """Let so many join who all need the same."""
    start = len(world.line) + len(world.went)
    places = [
        Place(start + index, lanes(*names), arrived=world.now, **details)  # type: ignore[arg-type]
        for index in range(many)
    ]
    for place in places:
        world.admit(place)
    return places


def at(starts: Iterable[Start]) -> list[tuple[int, float]]:
    return [(start.place.ticket, start.at) for start in starts]


def ahead_of_time(world: World) -> list[tuple[int, float]]:
    (part,) = world.line.parts()
    return at(forecast([queue.copy(world.now) for queue in part], world.outlook, world.now))


def test_nobody_in_line_makes_no_forecast() -> None:
    assert list(forecast([], World(0.5).outlook, 0.0)) == []


def test_each_goes_when_the_slots_of_those_before_it_are_back() -> None:
    world = World(0.5)
    lined_up(world, 8, "minute")
    assert ahead_of_time(world) == [(3, 8.5), (4, 8.5), (5, 8.5), (6, 17.0), (7, 17.0)]


def test_an_at_once_limit_is_expected_to_be_held_as_long_as_lately() -> None:
    world = World(0.75)
    lined_up(world, 6, "at once")
    assert ahead_of_time(world) == [(2, 0.75), (3, 0.75), (4, 1.5), (5, 1.5)]


def test_who_needs_several_lanes_goes_when_all_have_room_and_holds_up_nobody_until_then() -> None:
    world = World(0.0)
    lined_up(world, 3, "minute", "narrow")
    lined_up(world, 1, "minute")
    assert len(world.went) == 2
    assert ahead_of_time(world) == [(1, 6.0), (2, 12.0)]


def test_who_asks_for_the_same_goes_along_and_takes_nothing() -> None:
    world = World(0.0)
    lined_up(world, 1, "narrow")
    lined_up(world, 3, "narrow", key="x")
    lined_up(world, 1, "narrow")
    assert ahead_of_time(world) == [(1, 6.0), (2, 6.0), (3, 6.0), (4, 12.0)]


def test_whose_turn_comes_after_its_deadline_takes_nothing() -> None:
    world = World(0.0)
    lined_up(world, 1, "narrow")
    for deadline in (5.0, 6.0, 11.0):
        lined_up(world, 1, "narrow", deadline=deadline)
    lined_up(world, 1, "narrow")
    assert ahead_of_time(world) == [(1, 6.0), (2, 6.0), (3, 12.0), (4, 12.0)]


def test_a_pause_is_reckoned_with() -> None:
    world = World(0.0)
    world.room(Lane("narrow", "k")).resumption.paused_until = 7.5
    lined_up(world, 2, "narrow")
    assert ahead_of_time(world) == [(0, 7.5), (1, 13.5)]


def test_waiting_makes_more_urgent_in_a_forecast_too() -> None:
    world = World(0.0)
    lined_up(world, 1, "narrow")
    lined_up(world, 1, "narrow", urgency=4)
    lined_up(world, 3, "narrow", urgency=2)
    # After 12 seconds the first has come from 4 to 1, as have the others; it is the oldest.
    assert [ticket for ticket, _ in ahead_of_time(world)] == [2, 1, 3, 4]


def test_an_outlook_is_asked_for_once() -> None:
    world, asked = World(0.5), list[Lane]()
    lined_up(world, 9, "minute", "second")
    (part,) = world.line.parts()

    def outlook(lane: Lane) -> Outlook:
        asked.append(lane)
        return world.outlook(lane)

    list(forecast([queue.copy(0.0) for queue in part], outlook, 0.0))
    assert sorted(asked) == sorted(lanes("minute", "second"))


def test_a_forecast_changes_nothing() -> None:
    world = World(0.5)
    lined_up(world, 9, "minute", "second")
    first = ahead_of_time(world)
    assert first == ahead_of_time(world)
    assert len(world.line) == 7
    assert not any(place.gone for place in world.line.everybody())


eighths = st.integers(0, 40).map(lambda tick: tick / 8)
"""Times whose sums are exact."""

NEEDS = [
    ("minute",),
    ("minute", "second"),
    ("minute", "narrow"),
    ("minute", "second", "at once"),
    ("at once",),
]


Step = tuple[float, int, bool, int, int, float | None]
"""Seconds until it happens, what is needed, whose it is, which caller, a number, and the patience."""

plans = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.0, 0.125, 0.5, 3.0]),
        st.integers(0, 4),
        st.booleans(),
        st.integers(0, 3),
        st.integers(0, 79),
        st.none() | eighths,
    ),
    min_size=1,
    max_size=35,
)


def played(latency: float, plan: list[Step], needs: list[tuple[str, ...]], rest: float) -> World:
    """Let people come, leave (one step in ten) and lanes be paused (one in ten), and then some time pass."""
    world = World(latency, weights={"heavy": 4.0, "light": 0.5})
    for ticket, (gap, need, other, caller, number, patience) in enumerate(plan):
        world.run(world.now + gap)
        credential = "other" if other else "team"
        needed = lanes(*needs[need % len(needs)], key=credential)
        everybody = world.line.everybody()
        if number % 10 == 9 and everybody:
            world.line.leave(everybody[number % len(everybody)])
        elif number % 10 == 8:
            world.room(needed[-1]).resumption.paused_until = world.now + (patience or 0.0)
        else:
            world.admit(
                Place(
                    ticket,
                    needed,
                    credential=credential,
                    caller=["a", "b", "heavy", "light"][caller],
                    urgency=number % 8,
                    arrived=world.now,
                    deadline=math.inf if patience is None else world.now + 4 * patience,
                    key=(needed, credential, number) if number < 30 and number % 2 else None,
                )
            )
    world.run(world.now + rest)
    return world


def confirmed(world: World) -> bool:
    """Tell whether each of those in line goes, or is late, when a forecast says so."""
    foreseen = world.foreseen()
    world.run(math.inf)
    assert not len(world.line)
    for place, start in foreseen.items():
        if start > place.deadline:
            if place in world.went:
                return False
        elif not math.isclose(world.went.get(place, math.inf), start, abs_tol=1e-6):
            return False
    return True


latencies = st.integers(0, 7).map(lambda tick: tick / 8)
"""Less than `transit`."""


@settings(max_examples=300)
@given(latency=latencies, plan=plans, rest=eighths)
def test_each_of_those_in_line_goes_exactly_when_it_was_foreseen(
    latency: float, plan: list[Step], rest: float
) -> None:
    assert confirmed(played(latency, plan, NEEDS, rest))


@pytest.mark.parametrize("latency", [1.0, 2.5])
def test_it_is_foreseen_too_where_every_answer_takes_longer_than_transit(latency: float) -> None:
    world = World(latency)
    lined_up(world, 9, "second")
    assert confirmed(world)


plain = plans.map(lambda plan: [(*step[:4], 30 + step[4] % 8, None) for step in plan])
"""Nobody leaves, nobody is in a hurry or like anybody else."""


@given(latency=latencies, plan=plain, rest=eighths)
def test_where_credentials_share_a_lane_somebody_goes_whenever_it_was_foreseen(
    latency: float, plan: list[Step], rest: float
) -> None:
    world = played(latency, plan, [("global",)], rest)
    foreseen = world.foreseen()
    world.run(math.inf)
    assert sorted(foreseen.values()) == sorted(world.went[place] for place in foreseen)


def test_it_is_foreseen_whose_turn_it_is_where_credentials_share_a_lane() -> None:
    world = World(0.0)
    for ticket, (now, credential) in enumerate([(0.0, "a"), (3.0, "a"), (3.0, "a"), (3.0, "b"), (3.0, "a")]):
        world.run(now)
        world.admit(Place(ticket, lanes("global"), credential=credential))
    world.run(4.0)
    assert [place.credential for place in world.line.everybody()] == ["b", "a"]
    assert world.foreseen() == dict(zip(world.line.everybody(), [7.0, 8.0], strict=True))
