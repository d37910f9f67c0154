"""What is known of the watched proxy at a moment: what `feed` brings and `frame` draws."""

from dataclasses import dataclass
from typing import Literal

from proxy.top.status import Status


@dataclass(frozen=True, slots=True)
class News:
    """The last status of the proxy at `url`, and how it came: by its stream, or by asking again and again.

    `trouble` says why there is no news now, if so; the last status was heard at the time `heard` (seconds
    since 1970).
    """

    url: str
    status: Status | None = None
    heard: float = 0.0
    manner: Literal["", "live", "polling"] = ""
    trouble: str = ""
