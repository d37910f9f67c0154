"""The only place where it is decided how a client reached us: under which URL, and from which address.

What stands in `Forwarded` (RFC 7239) and in `X-Forwarded-*` was written by whoever wanted to; it counts only
when the peer of the connection is a proxy that the operator trusts. Everything else in them is a claim.
Whatever is not a scheme, an authority or an address to the letter is passed over, and never repeated.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from proxy.messages import Headers

_Address = IPv4Address | IPv6Address
_Element = dict[str, str]

_AUTHORITY = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|[A-Za-z0-9_][A-Za-z0-9._~-]{0,252})(?::(?P<port>[0-9]{1,5}))?"
)
# An address, in brackets or not, and perhaps a port (RFC 7239 section 6); no zone, which may be any text.
_NODE = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15}))(?::[0-9A-Za-z._-]{1,32})?"
    r"|(?P<bare>[0-9A-Fa-f:.]{2,45})"
)
# One pair and what ends it (RFC 7239 section 4). Colons and brackets without quotes are no tokens, but are
# written by many. Possessive, so that no value takes more than linear time.
_PAIR = re.compile(
    r"[ \t]*+(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)="
    r"(?:(?P<token>[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]++)|\"(?P<quoted>(?:[^\"\\]++|\\.)*+)\"))?"
    r"[ \t]*+(?P<end>[,;]|\Z)",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a client reached us (`url`, without a slash at the end) and from which address (`peer`)."""

    url: str
    peer: str


class Arrivals:
    """Tell how clients reached us.

    `public_url` is where they do, if it is known; `trusted_peers` are the networks of the proxies before us.
    """

    def __init__(self, public_url: str | None, trusted_peers: Sequence[str]) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._trusted = tuple(map(ip_network, trusted_peers))

    def of(self, headers: Headers, *, peer: str, secure: bool, here: str) -> Arrival:
        """Tell it of one request.

        `peer` is the connection's other end, "unix" for a Unix socket; `secure` whether it speaks TLS;
        `here` the authority of our own end, for requests that name none.
        """
        scheme, host = "https" if secure else "http", headers.get(b"host")
        if not self._trusted or not self._trusts(_address(peer.partition("%")[0])):
            return Arrival(self._public_url or f"{scheme}://{_first_fit(host) or here}", peer)
        elements = _elements(headers.all(b"forwarded"))
        # Ours is the last: the ones before it may be anybody's.
        last = elements[-1] if elements else {}
        schemes = (last.get("proto", "").lower(), _last(headers, b"x-forwarded-proto").lower())
        scheme = next((said for said in schemes if said in ("http", "https")), scheme)
        host = _first_fit(last.get("host"), _last(headers, b"x-forwarded-host"), host)
        return Arrival(
            self._public_url or f"{scheme}://{host or here}", self._client(headers, elements, peer)
        )

    def _client(self, headers: Headers, elements: Sequence[_Element] | None, peer: str) -> str:
        """Find the client's address.

        A proxy that writes only one of the two fields lets the other one through as the client sent it, and
        nobody can tell which one that is. So where they differ neither is believed.
        """
        found = set[str]()
        if paths := headers.all(b"x-forwarded-for"):
            nodes = (node.strip(" \t") for node in reversed(",".join(paths).split(",")))
            found.add(self._walk(filter(None, nodes), peer))
        if elements is None:
            found.add(peer)
        elif elements and "for" in elements[-1]:
            found.add(self._walk((element.get("for", "") for element in reversed(elements)), peer))
        return found.pop() if len(found) == 1 else peer

    def _walk(self, nodes: Iterable[str], peer: str) -> str:
        """Go back along the path for as long as those who wrote it are trusted."""
        for node in nodes:
            address = _address(node)
            if address is None:
                return peer
            peer = str(address)
            if not self._trusts(address):
                return peer
        return peer

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _first_fit(*authorities: str | None) -> str | None:
    """Return the first that is host[:port] of RFC 3986 section 3.2, and could be connected to."""
    return next((authority for authority in authorities if authority and _fits(authority)), None)


def _fits(authority: str) -> bool:
    match = _AUTHORITY.fullmatch(authority)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        return False
    return match["six"] is None or isinstance(_address(f"[{match['six']}]"), IPv6Address)


def _address(node: str) -> _Address | None:
    """Read an address; one of IPv4 that is dressed as IPv6 is what it is."""
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        address = ip_address(match["six"] or match["four"] or match["bare"])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _last(headers: Headers, name: bytes) -> str:
    """Return the last member of a plain list: what the peer itself wrote."""
    lines = headers.all(name)
    return lines[-1].rpartition(",")[2].strip(" \t") if lines else ""


def _elements(lines: Iterable[str]) -> list[_Element] | None:
    """Take `Forwarded` apart; None if any of it is malformed.

    Where a quote is left open, what stands behind it may be the client's text or the peer's.
    """
    elements = [_Element()]
    for line in lines:
        at, end = 0, ";"
        while end:
            match = _PAIR.match(line, at)
            if match is None:
                return None
            at, end = match.end(), match["end"]
            if match["name"]:
                name, quoted = match["name"].lower(), match["quoted"]
                if name in elements[-1]:  # once in each element (section 4)
                    return None
                elements[-1][name] = match["token"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
            if end != ";":
                elements.append(_Element())
    return [element for element in elements if element]
