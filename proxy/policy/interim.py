"""The only place where it is decided which waiting clients get interim responses (RFC 9110 section 15.2).

Every HTTP/1.1 client must be able to take them, and some cannot: some fail, some take one for the answer. So
only those get any of which it is known, by the name that their software gives itself in `User-Agent`.
"""

import re
from collections.abc import Sequence

from proxy.config import Family
from proxy.messages import Request

_REASONS = {100: b"Continue", 102: b"Processing"}
_PIECE = re.compile(r"\\.|[()]|[^()\\]+")
_PASSED_ON = (
    b"via",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-real-ip",
)
"""Fields that tell of an intermediary, of which nobody knows what it takes."""


class Families:
    """Know which software takes which interim response."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = [(family.agent.lower(), family.status) for family in families]

    def interim(self, request: Request) -> bytes | None:
        """Return the interim response, whole, that the client of a request takes; None if none is known."""
        agents = request.headers.all(b"user-agent")
        if request.version != b"1.1" or len(agents) != 1:
            return None
        if any(name in request.headers for name in _PASSED_ON):
            return None
        agent = _without_comments(agents[0]).lower()
        products = {product.partition("/")[0] for product in agent.split()}
        for name, status in self._families:
            if name in products:
                return b"HTTP/1.1 %d %b\r\n\r\n" % (status, _REASONS[status])
        return None


def _without_comments(agent: str) -> str:
    """Leave out comments, which nest and may quote a parenthesis (RFC 9110 section 5.6.5)."""
    outside, depth = list[str](), 0
    for piece in _PIECE.findall(agent):
        if piece == "(":
            depth += 1
            outside.append(" ")
        elif piece == ")":
            depth = max(depth - 1, 0)
        elif not depth:
            outside.append(piece)
    return "".join(outside)
