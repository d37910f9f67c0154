"""The only place where it is decided which waiting clients get interim responses (RFC 9110 section 15.2).

Every HTTP/1.1 client must be able to take them, and some cannot: some fail, some take one for the answer. So
only those get any of which it is known, by the name that their software gives itself in `User-Agent`.
"""

import re
from collections.abc import Sequence

from proxy.config import Family
from proxy.messages import Request

_REASONS = {100: b"Continue", 102: b"Processing"}
_COMMENT = re.compile(r"\([^()]*\)")
_PASSED_ON = (b"via", b"forwarded", b"x-forwarded-for")
"""Fields that tell of an intermediary, of which nobody knows what it takes."""


class Families:
    """Know which software takes which interim response."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = [(family.agent.lower(), family.status) for family in families]

    def interim(self, request: Request) -> bytes | None:
        """Return the interim response, whole, that the client of a request takes; None if none is known."""
        if request.version != b"1.1" or any(name in request.headers for name in _PASSED_ON):
            return None
        agent = _COMMENT.sub(" ", request.headers.get(b"user-agent") or "").lower()
        products = {product.partition("/")[0] for product in agent.split()}
        for name, status in self._families:
            if name in products:
                return b"HTTP/1.1 %d %b\r\n\r\n" % (status, _REASONS[status])
        return None
