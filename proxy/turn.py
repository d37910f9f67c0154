"""The right to send once, and the ledger from which it is taken: admission gives it, the forwarder spends it.

The ledger is a port. Its implementations (`adapters/`) know what a slot is; here it is only handed on, and it
is noted what became of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from proxy.party import Party
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


class Ledger(Protocol):
    """What has been spent, wherever it is kept. To note the same of a grant twice changes nothing."""

    def on_freed(self, freed: Freed) -> None:
        """Call `freed` whenever lanes may have room earlier than `Busy` said."""

    async def take(self, lanes: Lanes) -> Grant | Busy:
        """Take a slot in every lane, or in none."""

    def sent(self, grant: Grant) -> None:
        """Note that the request's last byte was written."""

    async def settle(self, grant: Grant) -> None:
        """Note that the upstream has counted the request."""

    async def refund(self, grant: Grant) -> None:
        """Give everything back: nothing was written."""

    async def release(self, grant: Grant) -> None:
        """Give the "at once" slots back: the exchange is over."""

    async def pause(self, lane: Lane, until: float) -> None:
        """Grant nothing in this lane before `until`."""

    def outlook(self, lane: Lane) -> Outlook:
        """Return when a lane's slots can be expected back."""

    def lanes(self) -> Iterable[tuple[Lane, int, float]]:
        """Yield every lane in use, how many slots it has left, and how long it is still paused."""


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

    def started(self) -> None:
        """Note that from here on, bytes of the request may leave."""
        self.written = True

    def sent(self) -> None:
        """Note that its last byte has left: the upstream counts it within `upstream.transit` of now."""
        self._ledger.sent(self._grant)

    async def answered(self) -> None:
        """Note that the response head is here: the upstream has certainly counted it."""
        await self._ledger.settle(self._grant)

    async def end(self) -> None:
        """Give back what can be given back; call when the exchange is over, however it ended."""
        if self.party is not None:
            self.party.abandon()
        if not self.written:
            await self._ledger.refund(self._grant)
            return
        self._ledger.sent(self._grant)  # if it was not wholly: what was written may still arrive
        await self._ledger.release(self._grant)
