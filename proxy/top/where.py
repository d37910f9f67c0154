"""Where the admin listener of the proxy to be watched is, by what the user and the configuration say."""

from pathlib import Path

from proxy.config import load
from proxy.config_places import Place
from proxy.config_values import base_url, parse_address

_ADMIN = "--admin is not an address; allowed: HOST:PORT, or http:// or https:// with a host and a port"


def find(admin: str | None, path: Path | None) -> str:
    """Return the base URL of what was given, else of what the configuration says.

    `path` is that of the configuration, as for `load`. Raises ConfigError, or ValueError.
    """
    return _place(load(path).listen.admin_place) if admin is None else _given(admin)


def _given(text: str) -> str:
    try:
        if "://" not in text:
            parse_address(text)
        return base_url(text if "://" in text else f"http://{text}")
    except ValueError:
        raise ValueError(_ADMIN) from None


def _place(listening: Place) -> str:
    """Make a URL of where a proxy listens."""
    if not listening.port:
        raise ValueError(
            "listen.admin_address has port 0, which is any free one: say which it is, by --admin"
        )
    return f"http://{listening.authority}"
