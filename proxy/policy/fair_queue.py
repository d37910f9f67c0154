"""Whose turn it is among those who wait with one credential.

Decided in this order:

1. Urgency (`Priority: u=`, RFC 9218). Each `queue.ageing` seconds of waiting make a request more urgent by
   one, up to 1. Urgency 0 goes before all others, but in no lane twice in a row past somebody at 1.
2. Callers at one urgency take turns, each by its weight: start-time fair queueing (Goyal, Vin, Cheng 1996).
   For requests, which cost one slot each, it is deficit round robin with the quantum of one request; a
   heavier caller's turns come spread out, and not in a run. Turns are counted for each urgency by itself.
3. Of one caller's requests, the oldest goes first.

So the longest starvation is known. A request of urgency u >= 1 is passed by more urgent ones for at most
(u - 1) * ageing seconds. From then on every second slot at least is for its urgency, and there each other
caller passes it only as often as their weights say for each request that its own caller has before it.
"""

from collections.abc import Iterator

from proxy.policy.files import File, Offer
from proxy.policy.limits import Lane, Lanes
from proxy.policy.turns import AGED, LEVELS, Place, Rules, Turns


class FairQueue:
    """Keep those who wait with one credential, and say who is next of those who are not parked."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._turns = [Turns(rules.weights) for _ in LEVELS]
        self._files: dict[Lanes, File] = {}
        self._urgent_last: set[Lane] = set()  # whose last turn was of urgency 0

    def __len__(self) -> int:
        """Return how many wait."""
        return sum(map(len, self._files.values()))

    def __iter__(self) -> Iterator[File]:
        """Go through the files."""
        return iter(self._files.values())

    def file(self, lanes: Lanes) -> File:
        """Return the file of those who need these lanes."""
        return self._files[lanes]

    def join(self, place: Place, now: float) -> File:
        """Wait; who was here before keeps the place that its ticket gives it."""
        file = self._files.get(place.lanes)
        if file is None:
            file = self._files[place.lanes] = File(place.lanes, self._rules)
        file.push(place, now)
        return file

    def leave(self, place: Place) -> File:
        """Give up a place that is `gone`; the file is forgotten when it was the last."""
        file = self._files[place.lanes]
        file.left(place)
        return self._forgotten_if_empty(file)

    def next(self, now: float) -> Place | None:
        """Return who goes first, or None; it stays in line."""
        files = [file for file in self._files.values() if file.parked_at is None]
        for file in files:
            file.age(now)
        for level in LEVELS:
            offer = self._best(files, level, now)
            if offer is None:
                continue
            if level < AGED and (owed := self._urgent_last.intersection(offer.place.lanes)):
                others = [file for file in files if not owed.isdisjoint(file.lanes)]
                offer = self._best(others, AGED, now) or offer
            return offer.place
        # An offer that was mended on the way may stand at a level that had been passed.
        return self.next(now) if files else None

    def took(self, place: Place, now: float) -> File:
        """Note that this one, which was next, has its turn; it is in line no more."""
        level = self._rules.level(place, now)
        self._turns[level].took(place.caller)
        if level < AGED:
            self._urgent_last.update(place.lanes)
        else:
            self._urgent_last.difference_update(place.lanes)
        return self.passed_over(place, now)

    def passed_over(self, place: Place, now: float) -> File:
        """Take out this one, which was next, without a turn."""
        file = self._files[place.lanes]
        file.took(place, now)
        return self._forgotten_if_empty(file)

    def copy(self, now: float) -> "FairQueue":
        """Return one with the same places, none of them parked, which goes on by itself."""
        queue = FairQueue(self._rules)
        queue._turns = [turns.copy() for turns in self._turns]
        queue._files = {lanes: file.copy(now) for lanes, file in self._files.items()}
        queue._urgent_last = self._urgent_last.copy()
        return queue

    def _best(self, files: list[File], level: int, now: float) -> Offer | None:
        first: Offer | None = None
        for file in files:
            offer = file.best(level, self._turns[level], now)
            if offer is not None and (first is None or offer < first):
                first = offer
        return first

    def _forgotten_if_empty(self, file: File) -> File:
        if not file:
            del self._files[file.lanes]
        return file
