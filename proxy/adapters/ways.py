"""How a replica reaches the others through the shared store, and whom it tells of that."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.adapters.calls import Run
from proxy.events import LedgerReason


@dataclass(frozen=True, slots=True)
class Ways:
    """What the ledger of a replica is given of the world outside.

    `me` names this one, other than any other; `run` has the script (`ledger.lua`) carried out, within
    `patience` seconds; `changed` hears whether the store can be asked, and why not, `failed` why a call did
    not succeed; `chance` draws from 0 to 1.
    """

    run: Run
    me: str
    prefix: str
    patience: float
    changed: Callable[[bool, str], None]
    failed: Callable[[LedgerReason], None]
    chance: Callable[[], float]
