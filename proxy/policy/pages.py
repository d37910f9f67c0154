"""The only place where it is decided whether a request comes from a web page that has no business here.

A browser carries requests of any page to any address that it can reach, loopback included: with a form or a
script (then it says so in `Sec-Fetch-Site` and `Origin`), or after the page's own name was made to mean
127.0.0.1 (DNS rebinding; then `Host` has that name).
"""

import ipaddress
import re
from collections.abc import Collection

from proxy.messages import Headers

_HOST = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<name>[^:]*))(?::[0-9]*)?")
_ELSEWHERE = frozenset({"cross-site", "same-site"})


def comes_from_another_site(headers: Headers, *, url: str, secure: bool, names: Collection[str]) -> bool:
    """Tell whether a page of another site may have sent this.

    `url` is where the request reached us; `names` are hosts, in lower case, that can mean nobody else. On a
    connection with TLS (`secure`) no name can: the browser has checked the certificate.
    """
    if not _ELSEWHERE.isdisjoint(value.lower() for value in headers.all(b"sec-fetch-site")):
        return True
    if any(origin.lower() != url for origin in headers.all(b"origin")):
        return True
    if secure:
        return False
    return not all(is_own_name(host, names) for host in headers.all(b"host"))


def is_own_name(host: str, names: Collection[str] = ()) -> bool:
    """Tell whether a Host header is an address, `localhost` or one of `names`: no page can be called so."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match["six"] or match["name"] or "").lower()
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
