"""The right to send once, and the ledger from which it is taken: admission gives it, the forwarder spends it.

The ledger is a port. Its implementations (`adapters/`) know what a slot is; here it is only handed on, and it
is noted what became of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from proxy.party import Party
from proxy.policy.feedback import Quota
from proxy.policy.limits import Lane, Lanes
from proxy.policy.outlook import Outlook

Freed = Callable[[Lanes], None]


class Grant(Protocol):
    """A slot taken in each of these lanes."""

    @property
    def lanes(self) -> Lanes:
        """The lanes of one request."""


@dataclass(frozen=True, slots=True)
class Busy:
    """This lane has no room before `at` (inf: when somebody gives a slot back)."""

    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class News:
    """What a response head says of lanes; and, of a 429, which one refused, and for how long (seconds).

    Refusals one after the other lengthen a pause up to `longest`.
    """

    quotas: tuple[tuple[Lane, Quota], ...] = ()
    refused: Lane | None = None
    pause: float = 0.0
    longest: float = 0.0


NOTHING = News()


@dataclass(frozen=True, slots=True)
class Learned:
    """What the news changed: for how long (seconds) the lane that refused is paused now, and whether that
    pause is `anew`, or was in force; lanes of another size, and which; how many more requests of others there
    are; and lanes that were paused and let a request through again.
    """

    paused: float = 0.0
    moved: tuple[tuple[Lane, int], ...] = ()
    foreign: tuple[tuple[Lane, int], ...] = ()
    anew: bool = False
    resumed: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane in use: its size as known, what is left, what others have of it, and seconds of a pause left."""

    lane: Lane
    capacity: int
    remaining: int
    foreign: int
    paused: float


class Ledger(Protocol):
    """What has been spent, wherever it is kept. To note the same of a grant twice changes nothing."""

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` whenever lanes may have room earlier than `Busy` said."""

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        """Take a slot in every lane, or in none; `cautious`, to be surer that none of them refuses."""

    def began(self, grant: Grant) -> None:
        """Note that the request's first byte leaves."""

    def sent(self, grant: Grant) -> None:
        """Note that the request's last byte was written."""

    async def settle(self, grant: Grant, news: News) -> Learned:
        """Note that the upstream has counted the request, but where it refused, and what it says."""

    async def refund(self, grant: Grant) -> None:
        """Give everything back: nothing was written."""

    async def release(self, grant: Grant) -> None:
        """Give the "at once" slots back: the exchange is over."""

    async def pause(self, lane: Lane, seconds: float) -> None:
        """Grant nothing in this lane for so long; a pause in force is never shortened."""

    def judged(self, grant: Grant, *, failed: bool, retry_after: float | None = None) -> None:
        """Note whether the upstream failed at it; `retry_after` is when it asks to come back (seconds)."""

    def probes(self, grant: Grant) -> bool:
        """Tell whether this one goes to see if an upstream that failed is back."""

    def is_broken(self, lanes: Lanes) -> bool:
        """Tell whether requests are held because the upstream fails."""

    def capacity(self, lane: Lane) -> int:
        """Return the size of a lane, as far as is known."""

    def outlook(self, lane: Lane) -> Outlook:
        """Return when a lane's slots can be expected back."""

    def lanes(self) -> Iterable[LaneState]:
        """Yield every lane in use."""


class Turn:
    """The right to send one attempt, and what became of it: refunded, settled, or left to its bound."""

    def __init__(self, ledger: Ledger, grant: Grant, limit: str, deadline: float) -> None:
        self._ledger = ledger
        self._grant = grant
        self._deadline = deadline
        self.waited = 0.0
        self.would_wait: float | None = None
        self.limit = limit
        self.written = False
        self.party: Party | None = None

    def joined(self, deadline: float) -> Party:
        """Take somebody along who asks for the same."""
        if self.party is None:
            self.party = Party(self._deadline, self.limit)
        self.party.deadline = min(self.party.deadline, deadline)
        return self.party

    @property
    def probe(self) -> bool:
        """Whether it goes to see if the upstream is back."""
        return self._ledger.probes(self._grant)

    def started(self) -> None:
        """Note that from here on, bytes of the request may leave."""
        self.written = True
        self._ledger.began(self._grant)

    def sent(self) -> None:
        """Note that its last byte has left: the upstream counts it within `upstream.transit` of now."""
        self._ledger.sent(self._grant)

    def capacity(self, lane: Lane) -> int:
        """Return the size of a lane, as far as is known."""
        return self._ledger.capacity(lane)

    async def answered(self, news: News = NOTHING) -> Learned:
        """Note that the response head is here: the upstream has certainly counted it, or refused."""
        return await self._ledger.settle(self._grant, news)

    async def pause(self, lane: Lane, seconds: float) -> None:
        """Grant nothing in this lane for so long."""
        await self._ledger.pause(lane, seconds)

    def judged(self, *, failed: bool, retry_after: float | None = None) -> None:
        """Note whether the upstream failed; `retry_after` is when it asks to come back (seconds)."""
        self._ledger.judged(self._grant, failed=failed, retry_after=retry_after)

    async def end(self) -> None:
        """Give back what can be given back; call when the exchange is over, however it ended."""
        if self.party is not None:
            self.party.abandon()
        if not self.written:
            await self._ledger.refund(self._grant)
            return
        self._ledger.sent(self._grant)  # if it was not wholly: what was written may still arrive
        await self._ledger.release(self._grant)
