"""The places where the proxy listens: what one looks like, and which of them only this machine reaches.

Like `config_values`, it returns what was written in a normal form or raises a ValueError whose message is
what would be allowed.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

from proxy.config_values import parse_address, parse_base_url

PLACE = (
    "HOST:PORT, https://HOST:PORT or unix:/path, such as 127.0.0.1:8080, https://0.0.0.0:8443 or "
    "unix:/run/avala-proxy.sock; port 0 is any free one"
)
NETWORK = "an address or a network, such as 10.0.0.7 or 10.0.0.0/8"

_LONGEST_PATH = 107  # bytes of sockaddr_un.sun_path, without its end
_PATH = re.compile(r"/[^\0\n]+")


_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: a host and a port, with or without TLS, or the path of a Unix socket."""

    scheme: Literal["http", "https", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.scheme == "unix":
            return True
        try:
            return ipaddress.ip_address(_plain(self.host)).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """Host and port by which this machine reaches it: what listens everywhere is reached by loopback."""
        host = _ANYWHERE.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_place(text: str) -> Place:
    """Read where to listen. Raises ValueError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if _PATH.fullmatch(path) is None or len(path.encode()) > _LONGEST_PATH:
            raise ValueError(f"unix:/path of at most {_LONGEST_PATH} bytes")
        return Place("unix", path=path)
    rest = text.removeprefix("https://")
    try:
        host, port = parse_address(rest)
    except ValueError:
        raise ValueError(PLACE) from None
    return Place("http" if rest == text else "https", host, port)


def place(text: str) -> str:
    """Check a place and keep it as it was written."""
    parse_place(text)
    return text


def network(text: str) -> str:
    """Normalise an address or a network."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(NETWORK) from None


def collide(one: Place, other: Place) -> bool:
    """Tell whether two places cannot be listened on at the same time."""
    if "unix" in (one.scheme, other.scheme):
        return one == other
    host, other_host = _plain(one.host), _plain(other.host)
    return one.port == other.port != 0 and (_covers(host, other_host) or _covers(other_host, host))


def leads_to(url: str, listening: Place) -> bool:
    """Tell whether requests sent to a base URL would arrive at this place of ours."""
    _, host, port, _ = parse_base_url(url)
    host, our_host = _plain(host), _plain(listening.host)
    same = host == our_host or (_is_here(host) and _covers(our_host, host))
    return listening.scheme != "unix" and port == listening.port and same


def _plain(host: str) -> str:
    return "127.0.0.1" if host.rstrip(".") == "localhost" else host


def _covers(host: str, other: str) -> bool:
    return host in (other, "::" if ":" in other else "0.0.0.0")


def _is_here(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


Listening = Annotated[str, AfterValidator(place)]
Network = Annotated[str, AfterValidator(network)]
