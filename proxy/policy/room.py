"""What a limit of either kind can be asked, for one key, and when it opens again after a refusal.

The kinds are in `window.py` (so many in a time) and `at_once.py` (so many at the same time). All times are
`Clock.now` seconds, handed in, and never go backwards.
"""

import math
from typing import Protocol

from proxy.policy.feedback import Quota
from proxy.policy.memory import Memory
from proxy.policy.outlook import Outlook

_DOUBLINGS = 32


class Slot:
    """One place in a limit; told apart by identity.

    It was `taken` at a time. Its request `began` to leave and `left` at others. The upstream cannot have
    counted it before `earliest`, and has certainly by `counted` (inf: not yet).
    """

    __slots__ = ("began", "counted", "earliest", "left", "taken")

    def __init__(self, taken: float) -> None:
        self.taken = taken
        self.began = math.inf
        self.left = math.inf
        self.earliest = math.inf
        self.counted = math.inf


class Room(Protocol):
    """What a limit of either kind can be asked, for one key."""

    @property
    def capacity(self) -> int:
        """How many it holds, as far as is known."""

    @property
    def foreign(self) -> int:
        """How many requests of others it holds."""

    @property
    def resumption(self) -> "Resumption":
        """How it opens after a refusal."""

    @property
    def measured(self) -> bool:
        """Whether the count of what is held tells alone if there is room: no probe, nobody else in sight."""

    def ready_at(self, now: float, *, cautious: bool = False, ahead: int = 0) -> float:
        """Return when one slot can be taken: `now`, a later time, or inf if that depends on others.

        `cautious`, to be surer that it is not refused; after `ahead` others who go first.
        """

    def allowed(self, now: float, *, cautious: bool = False) -> int:
        """Return how many slots may be held at the most."""

    def free_at(self, slot: Slot) -> float:
        """Return when a slot comes free: inf if that is not known, -inf if it has."""

    def withhold(self, name: str, count: int, until: float) -> None:
        """Hold so many slots for somebody who cannot be asked; 0 gives them back."""

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back."""

    def take(self, now: float) -> Slot:
        """Take a slot; call only when `ready_at` said now."""

    def began(self, slot: Slot, now: float) -> None:
        """Note that the first byte leaves."""

    def sent(self, slot: Slot, now: float) -> None:
        """Note that the last byte was written."""

    def settle(self, slot: Slot, now: float) -> None:
        """Note that the upstream has counted it, and did not refuse."""

    def refused(self, slot: Slot, now: float) -> None:
        """Note that this limit refused it, and so has not counted it."""

    def learn(self, slot: Slot, quota: Quota, now: float) -> None:
        """Take over what the response to this one says of the limit."""

    def refund(self, slot: Slot) -> None:
        """Give back a slot of which nothing was written."""

    def release(self, slot: Slot, now: float) -> None:
        """Note that the exchange is over."""

    def remaining(self, now: float) -> int:
        """Return how many could be taken now."""

    def idle(self, now: float) -> bool:
        """Tell whether nothing is remembered, so that it can be forgotten."""

    def memory(self, now: float) -> Memory:
        """Return what is worth knowing after a restart."""


class Resumption:
    """How a limit opens: at first use and after a pause one request goes as a probe, and no other beside it.

        new ─────▶ 1 under way ──answer──▶ open
        refused ──▶ paused ──its end──▶ 1 under way ──each answer: one more──▶ … ──▶ open
                      ▲                   │
                      └──refused again ◀──┘ for twice as long

    So a refusal costs one request, and what follows an unknown state is measured by answers, not by time.
    """

    def __init__(self, *, probe: bool) -> None:
        self.paused_until = -math.inf
        self.most: float = 1 if probe else math.inf
        """How many may be under way at the same time."""
        self.refusals = 0
        """How many of its requests that say something new were refused, one after the other."""
        self._paused_at = -math.inf
        self._growing = False

    def __repr__(self) -> str:
        return f"<Resumption most={self.most:g} refusals={self.refusals} until={self.paused_until:g}>"

    def pause(self, until: float) -> None:
        """Grant nothing before `until`; a pause in force is never shortened."""
        self.paused_until = max(self.paused_until, until)
        self.most, self._growing = 1, True

    def refused(self, slot: Slot, now: float, seconds: float, longest: float) -> float:
        """Pause because this one was refused; return for how long.

        Who was refused after a pause had begun was its probe, or followed it: then the pause is twice the
        last one's multiple of what is demanded. The others were under way, and say nothing new.
        """
        if slot.began >= self._paused_at:
            self.refusals += 1
            self._paused_at = now
        doubled = seconds * 2.0 ** min(max(self.refusals - 1, 0), _DOUBLINGS)
        self.pause(now + min(doubled, longest))
        return self.paused_until - now

    def answered(self, slot: Slot, capacity: int) -> None:
        """Note that one was not refused."""
        if self.most == math.inf or slot.began < self._paused_at:
            return
        self.refusals = 0
        self.most = self.most + 1 if self._growing and self.most < capacity else math.inf
        self._growing = self.most < math.inf
