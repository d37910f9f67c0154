"""The "at once" limit: how many requests are under way at the same time.

The upstream may count what we cannot see: jobs that outlive their requests, and requests of others. So a
refusal halves the number that may be under way, and as many that are not refused raise it by one, up to the
limit (additive increase, multiplicative decrease; Chiu and Jain 1989).
"""

import math

from proxy.policy.feedback import Quota
from proxy.policy.memory import Memory
from proxy.policy.outlook import Outlook, Typical
from proxy.policy.room import Resumption, Slot
from proxy.policy.withheld import Withheld


class AtOnce:
    """Let at most `size` requests be under way at the same time."""

    foreign = 0

    def __init__(self, size: int) -> None:
        self.resumption = Resumption(probe=False)
        self._size = size
        self._allowed = float(size)
        self._shrunk_at = -math.inf
        self._held: set[Slot] = set()
        self._until_released = Typical()
        self._withheld = Withheld()

    def __repr__(self) -> str:
        return f"<AtOnce {len(self._held)} of {self.capacity} (at most {self._size})>"

    def configure(self, size: int) -> None:
        """Go by another size, keeping who is under way."""
        self._allowed = float(size) if self._allowed == self._size else min(self._allowed, size)
        self._size = size

    @property
    def capacity(self) -> int:
        return int(self._allowed)

    def ready_at(self, now: float, *, cautious: bool = False, ahead: int = 0) -> float:
        # Not one as a probe: it may be an upload of minutes, and that fewer go has been seen to.
        self._withheld.advance(now)
        returns = self._withheld.releases()
        missing = len(self._held) + ahead + len(returns) - self.capacity
        if missing < 0:
            return max(now, self.resumption.paused_until)
        return max(returns[missing], self.resumption.paused_until) if missing < len(returns) else math.inf

    def allowed(self, now: float, *, cautious: bool = False) -> int:
        return self.capacity

    measured = True

    def free_at(self, slot: Slot) -> float:
        return math.inf if slot in self._held else -math.inf

    def withhold(self, name: str, count: int, until: float) -> None:
        self._withheld.withhold(name, count, until)

    def outlook(self, now: float) -> Outlook:
        """Return when its slots can be expected back: when what holds them takes as long as others did."""
        typical = self._until_released.seconds
        releases = [max(slot.taken + typical, now) for slot in self._held]
        return Outlook(self.capacity, typical, releases, self.resumption.paused_until)

    def take(self, now: float) -> Slot:
        slot = Slot(now)
        self._held.add(slot)
        return slot

    def began(self, slot: Slot, now: float) -> None:
        slot.began = now

    def sent(self, slot: Slot, now: float) -> None:
        """Change nothing: only the end of the exchange counts."""

    def settle(self, slot: Slot, now: float) -> None:
        self.resumption.answered(slot, self._size)
        self._allowed = min(float(self._size), self._allowed + 1 / self._allowed)

    def refused(self, slot: Slot, now: float) -> None:
        """Halve what may be under way; those that were under way at the last halving say nothing new."""
        if slot.began >= self._shrunk_at:
            self._shrunk_at = now
            self._allowed = max(1.0, min(self._allowed, len(self._held)) / 2)

    def learn(self, slot: Slot, quota: Quota, now: float) -> None:
        """Change nothing: how many the upstream has left now says little about when they come back."""

    def refund(self, slot: Slot) -> None:
        self._held.discard(slot)

    def release(self, slot: Slot, now: float) -> None:
        if slot in self._held:
            self._held.remove(slot)
            self._until_released.add(now - slot.taken)

    def remaining(self, now: float) -> int:
        return 0 if self.resumption.paused_until > now else max(0, self.capacity - len(self._held))

    def idle(self, now: float) -> bool:
        return not self._held and self.resumption.paused_until <= now

    def memory(self, now: float) -> Memory:
        """Return nothing but a pause: what is under way ends with the process."""
        return Memory(paused=max(0.0, self.resumption.paused_until - now))

    def remember(self, memory: Memory, now: float) -> None:
        """Take over a pause."""
        if memory.paused > 0:
            self.resumption.pause(now + memory.paused)
