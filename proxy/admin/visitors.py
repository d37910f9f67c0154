"""The only place where it is decided what somebody may do here: who may read, and who may change something.

All that it sees is the ends of the connection, as sockets name them, and the fields of the request. A browser
carries requests of any page to any address that it can reach, so two of the rules are about pages: whose name
was made to mean 127.0.0.1 (DNS rebinding), and who sends something to another site (CSRF).
"""

import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus

from proxy.messages import Headers
from proxy.policy.pages import is_own_name

_BEARER = re.compile(r"bearer +", re.IGNORECASE)
_OUR_OWN = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why somebody may not, and the status that says so."""

    status: HTTPStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who asks: `here` is our end of the connection, `peer` theirs."""

    here: object
    peer: object
    headers: Headers = field(repr=False)

    def may_not_read(self) -> Denial | None:
        """Refuse DNS rebinding: a page of evil.example, whose name was made to mean 127.0.0.1.

        To a browser such a page and this listener are one site, so it could read everything here. What gives
        it away is the Host header, which has its name; an address or `localhost` can't be made to mean
        another place. Elsewhere than on loopback the listener has names that we can't know.
        """
        if not is_loopback(self.here) or all(map(is_own_name, self.headers.all(b"host"))):
            return None
        return Denial(HTTPStatus.FORBIDDEN, "On loopback, ask for localhost or an IP address.")

    def may_not_change(self, token: str | None) -> Denial | None:
        """Tell why they may change nothing, if so; `token` is the admin token, None if none is configured.

        - A page of another site: never, token or not.
        - With a token: whoever shows it, wherever they are.
        - Without one: whoever is on this machine, if they came by an address that no other machine reaches.
        """
        if self._comes_from_another_site():
            return Denial(HTTPStatus.FORBIDDEN, "A page of another site can change nothing here.")
        if token is not None:
            if self._shows(token):
                return None
            return Denial(HTTPStatus.UNAUTHORIZED, "Show the admin token, in `Authorization: Bearer`.")
        if is_loopback(self.here) and is_loopback(self.peer):
            return None
        return Denial(
            HTTPStatus.FORBIDDEN,
            "Without a token something can be changed from this machine only, by a loopback address: "
            "set listen.admin_token or listen.admin_token_file.",
        )

    def _comes_from_another_site(self) -> bool:
        """Tell whether a page may have sent this that is not of this listener, or not surely.

        Browsers say which page it is in `Origin` with every POST, and newer ones what it is to us in
        `Sec-Fetch-Site`. The listener has no TLS, so an https:// page of the same name is another's.
        """
        if any(site.lower() not in _OUR_OWN for site in self.headers.all(b"sec-fetch-site")):
            return True
        ours = [f"http://{host.lower()}" for host in self.headers.all(b"host")]
        return any([origin.lower()] != ours for origin in self.headers.all(b"origin"))

    def _shows(self, token: str) -> bool:
        """Compare digests: they have one length, and time does not tell how much of a token is right."""
        match self.headers.all(b"authorization"):
            case [shown] if scheme := _BEARER.match(shown):
                credential = shown[scheme.end() :]
                return hmac.compare_digest(_digest(credential), _digest(token))
        return False


def is_loopback(end: object) -> bool:
    """Tell whether an end of a connection is an address that only this machine has."""
    if not isinstance(end, tuple):
        return False
    address = ipaddress.ip_address(end[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _digest(text: str) -> bytes:
    return sha256(text.encode("latin-1")).digest()
