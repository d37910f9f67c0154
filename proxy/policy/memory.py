"""What is remembered of a lane beyond the life of a process, as plain values.

Times are ages or durations in seconds, not moments, so that they can be told to another clock.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Memory:
    """What a lane knows.

    `own` and `foreign` are how long ago (seconds; negative: not yet) the upstream has counted each request at
    the latest, ours and those of others; `capacity` is the size that the upstream told (None: none), `paused`
    for how many seconds more nothing goes.
    """

    own: tuple[float, ...] = ()
    foreign: tuple[float, ...] = ()
    capacity: int | None = None
    paused: float = 0.0
