"""When each of those who wait would go, if nobody came or left, and the upstream took as long as lately.

The queues are run ahead of time, by their own rules, against the outlook of the limits. They are copies, and
are used up.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from proxy.policy.fair_queue import FairQueue
from proxy.policy.files import File
from proxy.policy.limits import Lane
from proxy.policy.outlook import Outlook
from proxy.policy.turns import Place


class Start(NamedTuple):
    """A place in line goes at this time; when that is after its deadline, it would have gone then."""

    place: Place
    at: float


def forecast(queues: Sequence[FairQueue], outlook: Callable[[Lane], Outlook], now: float) -> Iterator[Start]:
    """Yield who goes and when, in the order of going; `outlook` is asked once for each lane.

    Who asks for what goes anyway goes with it. Whose turn comes after its deadline takes nothing.
    """
    ready, parked = deque(queues), _Parked()
    asked: dict[Hashable, float] = {}
    rooms = _Rooms(outlook)
    while ready:
        queue = ready.popleft()
        while (place := queue.next(now)) is not None:
            if place.key in asked:
                queue.passed_over(place, now)
                yield Start(place, asked[place.key])
            elif (until := rooms.ready(place)) > now:
                parked.add(until, queue.file(place.lanes), queue, now)
            elif place.deadline < now:
                queue.passed_over(place, now)
                yield Start(place, now)
            else:
                rooms.take(place, now)
                if place.key is not None:
                    asked[place.key] = now
                queue.took(place, now)
                yield Start(place, now)
                ready.append(queue)  # the others first
                break
        if not ready:
            now, back = parked.next(now)
            ready.extend(back)


class _Rooms:
    """The outlook of every lane that was asked for."""

    def __init__(self, outlook: Callable[[Lane], Outlook]) -> None:
        self._outlook = outlook
        self._rooms: dict[Lane, Outlook] = {}

    def ready(self, place: Place) -> float:
        """Return when there is room in every lane of a place."""
        return max(self._room(lane).ready() for lane in place.lanes)

    def take(self, place: Place, now: float) -> None:
        """Take a slot in each."""
        for lane in place.lanes:
            self._room(lane).take(now)

    def _room(self, lane: Lane) -> Outlook:
        room = self._rooms.get(lane)
        if room is None:
            room = self._rooms[lane] = self._outlook(lane)
        return room


class _Parked:
    """Files that wait for a time, with their queues."""

    def __init__(self) -> None:
        self._files: list[tuple[float, int, File, FairQueue]] = []
        self._numbers = itertools.count()

    def add(self, until: float, file: File, queue: FairQueue, now: float) -> None:
        """Park a file; at which of its lanes makes no difference here."""
        file.park(file.lanes[0], now)
        heapq.heappush(self._files, (until, next(self._numbers), file, queue))

    def next(self, now: float) -> tuple[float, list[FairQueue]]:
        """Return the next time at which files come back, and the queues that they are of."""
        queues: dict[FairQueue, None] = {}
        if self._files:
            now = max(now, self._files[0][0])
        while self._files and self._files[0][0] <= now:
            *_, file, queue = heapq.heappop(self._files)
            file.unpark(now)
            queues[queue] = None
        return now, list(queues)
