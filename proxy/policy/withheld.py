"""Slots that are held for those who cannot be asked, until a time: of limits of either kind."""


class Withheld:
    """So many slots each for somebody, by name."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return sum(count for count, _ in self._held.values())

    def withhold(self, name: str, count: int, until: float) -> None:
        """Hold so many in place of those before; 0 gives them back."""
        self._held.pop(name, None)
        if count > 0:
            self._held[name] = count, until

    def advance(self, now: float) -> None:
        """Give back what is held no longer."""
        for name in [name for name, (_, until) in self._held.items() if until <= now]:
            del self._held[name]

    def releases(self) -> list[float]:
        """Return when each comes free, in order."""
        return sorted(until for count, until in self._held.values() for _ in range(count))
