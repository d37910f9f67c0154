"""What other replicas suppose of this one: that it is there, and for how long without hearing of it.

Who calls promises to call again before its lease is over. When it is over, the others leave a silent one its
share, as it may be spending alone; so nobody does that before the others know.
"""

import math

LEASE = 1.0
"""Seconds of silence after which a replica may be spending its share alone."""

LONGEST_LEASE = 3.0
"""The same for one that waits in line, and has nothing to ask before its turn."""


class Presence:
    """Keep account of what was promised; a call may be carried out until `patience` seconds after it left.

    `promised` is when the last promise that was heard runs out; `until`, when the others know at the latest
    that nothing is heard of us.
    """

    def __init__(self) -> None:
        self.promised = self.until = -math.inf
        self._doubt = -math.inf

    def lease(self, turn: float | None) -> float:
        """Return what to promise (seconds); who is in line asks for nothing before its `turn`."""
        return LEASE if turn is None else min(max(0.0, turn) + LEASE, LONGEST_LEASE)

    def sends(self, sent: float, patience: float, lease: float) -> None:
        """Note that a promise leaves: it may be heard, or not."""
        self.until = max(self.until, sent + patience + lease)

    def lost(self) -> None:
        """Note that it is not known what was heard."""
        self._doubt = self.until

    def heard(self, sent: float, patience: float, lease: float) -> None:
        """Note that a promise was heard; of none (0), that others do not expect to hear of us."""
        self.promised = sent + lease
        self.until = max(self._doubt, sent + patience + lease)
