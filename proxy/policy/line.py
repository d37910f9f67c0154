"""Who is next: the order in which waiting requests are offered a turn.

Those of one credential are in the order of `fair_queue.py`; credentials take turns, which matters only where
they share a lane. A file whose head finds a lane full is parked at that lane, and is asked again only when
the lane may have room; files that do not need the lane pass it by. So nobody waits behind somebody who waits
for something else, and a request never takes from one lane while it waits for another.
"""

from collections.abc import Hashable, Iterable, Iterator

from proxy.policy.fair_queue import FairQueue
from proxy.policy.files import File
from proxy.policy.limits import Lane, Lanes
from proxy.policy.turns import Place, Rules


class Line:
    """Keep all who wait, and which of them can be offered a turn."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._queues: dict[str | None, FairQueue] = {}
        self._ready: dict[str | None, None] = {}  # in the order in which they are asked
        self._parked: dict[Lane, list[File]] = {}
        self._needing: dict[Lane, dict[File, str | None]] = {}
        self._alike: dict[Hashable, dict[Place, None]] = {}
        self._places: dict[Place, None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        parked = {f"{lane.limit}/{lane.key}": len(files) for lane, files in self._parked.items()}
        files = sum(len(list(queue)) for queue in self._queues.values())
        return f"<Line {len(self)} waiting in {files} files, parked at {parked}>"

    def configure(self, rules: Rules) -> None:
        """Go by other rules; those of a key of which somebody waits already go by the ones they know."""
        self._rules = rules

    def ahead(self, lane: Lane, lanes: Lanes) -> int:
        """Return how many who wait may go through a lane before a newcomer that needs `lanes`.

        Those who need it too, but are parked at a lane that the newcomer does not need, let it pass.
        """
        files = self._needing.get(lane, ())
        return sum(len(file) for file in files if file.parked_at is None or file.parked_at in lanes)

    def depth(self, lane: Lane) -> int:
        """Return how many wait for a lane, wherever they are parked."""
        return sum(map(len, self._needing.get(lane, ())))

    def depths(self) -> Iterator[tuple[Lane, int]]:
        """Yield every lane that somebody waits for, with how many do."""
        for lane in self._needing:
            yield lane, self.depth(lane)

    def everybody(self) -> list[Place]:
        """Return all who wait."""
        return list(self._places)

    def join(self, place: Place, now: float) -> None:
        """Wait; who was here before keeps the place that its ticket gives it."""
        queue = self._queues.get(place.credential)
        if queue is None:
            queue = self._queues[place.credential] = FairQueue(self._rules)
        file = queue.join(place, now)
        place.before = file.blocked(now)
        for lane in place.lanes:
            self._needing.setdefault(lane, {})[file] = place.credential
        if place.key is not None:
            self._alike.setdefault(place.key, {})[place] = None
        self._places[place] = None
        if file.parked_at is None:
            self._ready.setdefault(place.credential)

    def leave(self, place: Place) -> None:
        """Give up the place, at once."""
        if not place.gone:
            place.gone = True
            self._out(place, self._queues[place.credential].leave(place))

    def next(self, now: float) -> Place | None:
        """Return who can be offered a turn; it stays in line."""
        while self._ready:
            credential = next(iter(self._ready))
            place = self._queues[credential].next(now)
            if place is not None:
                return place
            del self._ready[credential]
        return None

    def took(self, place: Place, now: float) -> None:
        """Note that this one, which was next, has its turn, and is in line no more."""
        credential = place.credential
        file = self._queues[credential].took(place, now)
        place.gone = True
        self._out(place, file)
        if credential in self._ready:  # the others first
            del self._ready[credential]
            self._ready[credential] = None

    def has_like(self, newcomer: Place) -> bool:
        """Tell whether somebody waits for the same answer as a newcomer."""
        return newcomer.key in self._alike

    def alike(self, place: Place) -> list[Place]:
        """Return the others who wait for the same answer."""
        return [other for other in self._alike.get(place.key, ()) if other is not place]

    def held_by(self, place: Place, now: float) -> Lane | None:
        """Return the lane that had no room for a place for longest since it came, if any."""
        blocked = self._queues[place.credential].file(place.lanes).blocked(now)
        longest = max(place.lanes, key=lambda lane: blocked[lane] - place.before[lane])
        return longest if blocked[longest] > place.before[longest] else None

    def park(self, place: Place, lane: Lane, now: float) -> None:
        """Ask this one, and those who need the same lanes, no more until the lane may have room."""
        file = self._queues[place.credential].file(place.lanes)
        file.park(lane, now)
        self._parked.setdefault(lane, []).append(file)

    def unpark(self, lane: Lane, now: float) -> bool:
        """Offer turns again to those who are parked at this lane; tell whether there were any."""
        files = self._parked.pop(lane, [])
        for file in files:
            file.unpark(now)
            self._ready.setdefault(self._needing[lane][file])
        return bool(files)

    def parts(self) -> Iterator[list[FairQueue]]:
        """Yield the queues that have to do with each other, part by part; the parts share no lane."""
        seen = set[str | None]()
        for credential, queue in self._queues.items():
            if credential not in seen:
                part = self._connected(lane for file in queue for lane in file.lanes)
                seen |= part.keys()
                yield list(part.values())

    def joined_by(self, newcomer: Place, now: float) -> list[FairQueue]:
        """Return copies of the queues that a newcomer would have to do with, the newcomer in line."""
        queues = {one: queue.copy(now) for one, queue in self._connected(newcomer.lanes).items()}
        queues.setdefault(newcomer.credential, FairQueue(self._rules)).join(newcomer, now)
        return list(queues.values())

    def waits(self, credential: str | None, caller: str) -> bool:
        """Tell whether a caller has requests in line."""
        queue = self._queues.get(credential)
        return queue is not None and any(file.has(caller) for file in queue)

    def _connected(self, lanes: Iterable[Lane]) -> dict[str | None, FairQueue]:
        """Find the credentials that need one of the lanes, or share another lane with such a one."""
        to_see, seen, queues = list(lanes), set[Lane](), dict[str | None, FairQueue]()
        while to_see:
            lane = to_see.pop()
            if lane in seen:
                continue
            seen.add(lane)
            for credential in self._needing.get(lane, {}).values():
                if credential not in queues:
                    queues[credential] = queue = self._queues[credential]
                    to_see += [other for file in queue for other in file.lanes]
        return self._as_asked(queues) if len(queues) > 1 else queues

    def _as_asked(self, queues: dict[str | None, FairQueue]) -> dict[str | None, FairQueue]:
        """Put credentials in the order in which they will be asked: the parked ones when they come back."""
        parked = (self._needing[lane][file] for lane, files in self._parked.items() for file in files)
        order = [one for one in dict.fromkeys([*self._ready, *parked]) if one in queues]
        return {one: queues[one] for one in dict.fromkeys([*order, *queues])}

    def _out(self, place: Place, file: File) -> None:
        del self._places[place]
        if place.key is not None:
            alike = self._alike[place.key]
            del alike[place]
            if not alike:
                del self._alike[place.key]
        if not file:
            self._forget(place.credential, file)

    def _forget(self, credential: str | None, file: File) -> None:
        for lane in file.lanes:
            files = self._needing[lane]
            del files[file]
            if not files:
                del self._needing[lane]
        if file.parked_at is not None:
            parked = self._parked[file.parked_at]
            parked.remove(file)
            if not parked:
                del self._parked[file.parked_at]
        if not len(self._queues[credential]):
            del self._queues[credential]
            self._ready.pop(credential, None)
