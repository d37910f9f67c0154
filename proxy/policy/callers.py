"""The only place where it is decided who calls, and how urgent a request is.

Callers share a credential and take turns (`fair_queue.py`). A name is what the client says of itself, else
the name of the token that it showed, else its address. Names are taken on trust: who may use the credential
may use all of its budget.
"""

import http_sf

from proxy.config_values import CALLER
from proxy.messages import Headers

CLIENT_HEADER = b"avala-proxy-client"
PRIORITY_HEADER = b"priority"

MOST_URGENT, USUAL, LEAST_URGENT = 0, 3, 7
"""Urgencies of RFC 9218 section 4.1: the smaller, the more urgent."""


def caller(headers: Headers, *, client: str | None, peer: str) -> str:
    """Name the caller: what `Avala-Proxy-Client` says, else its token's name, else its peer.

    A field that is not 1 to 64 visible characters, with spaces between them, counts as absent.
    """
    said = (headers.get(CLIENT_HEADER) or "").strip(" \t")
    return said if CALLER.fullmatch(said) else client or peer


def urgency(headers: Headers) -> int:
    """Return the urgency that `Priority: u=0…7` asks for; without one that makes sense, the usual 3.

    RFC 9218 section 4: what is out of range or not of the type is ignored. `i` says nothing to a queue.
    """
    lines = headers.all(PRIORITY_HEADER)
    if not lines:
        return USUAL
    try:
        said = http_sf.parse(", ".join(lines).encode("latin-1"), tltype="dictionary")
    except ValueError:
        return USUAL
    match said:
        case {"u": (asked, _)} if type(asked) is int and MOST_URGENT <= asked <= LEAST_URGENT:
            return asked
    return USUAL
