"""Counts, times and lists in the words of a sentence. What is said with them is said elsewhere."""

import math
from collections.abc import Sequence


def many(count: int, one: str, more: str = "") -> str:
    """Count things: `1 error`, `1,000 errors`; `more` is the plural where an s does not make it."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def listed(words: Sequence[str]) -> str:
    """Put words in a row: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def rough(seconds: float) -> str:
    """Write a time that is counted down: in whole seconds, the one that has begun too, or larger units."""
    whole = math.ceil(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return _two(whole, 60, "min", "s")
    if whole < 172_800:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def _two(value: int, size: int, large: str, small: str) -> str:
    count, rest = divmod(value, size)
    return f"{count} {large} {rest} {small}" if rest else f"{count} {large}"
