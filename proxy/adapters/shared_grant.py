"""What was granted of a budget that is shared, and what has been told of it."""

import math
from typing import TYPE_CHECKING

from proxy.policy.limits import Lanes
from proxy.turn import Grant

if TYPE_CHECKING:
    from proxy.adapters.account import Account


class Part:
    """A slot in those lanes of a request that have one key.

    Its request `began` to leave and `left` at times of the store's clock (inf: not yet). That it left was
    `told` to the others; what the upstream answered was `settled`; the exchange has `ended`.
    """

    __slots__ = ("account", "began", "ended", "id", "lanes", "left", "settled", "told")

    def __init__(self, account: "Account", id_: str, lanes: Lanes) -> None:
        self.account = account
        self.id = id_
        self.lanes = lanes
        self.began = math.inf
        self.left = math.inf
        self.told = self.settled = self.ended = False


class SharedGrant:
    """A slot in every lane of one request, in parts by key."""

    __slots__ = ("lanes", "parts")

    def __init__(self, lanes: Lanes, parts: tuple[Part, ...]) -> None:
        self.lanes = lanes
        self.parts = parts


def parts_of(grant: Grant) -> tuple[Part, ...]:
    """Return the parts of a grant of this ledger."""
    assert isinstance(grant, SharedGrant)
    return grant.parts
