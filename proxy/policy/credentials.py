"""The only place where a credential becomes the name by which everything else knows it.

A name is a keyed hash, so that budgets, logs and shared stores can tell credentials apart without ever
holding one. The value itself is not kept.
"""

import hmac
from collections.abc import Sequence

from proxy.messages import Headers

_LENGTH = 12  # hex digits: 48 bits; among a thousand credentials two alike come once in 5e8 deployments


class Credentials:
    """Name credentials by HMAC-SHA256 (RFC 2104) under a secret; replicas that share a budget share it."""

    def __init__(self, header_names: Sequence[str], secret: bytes) -> None:
        if not secret:
            raise ValueError("the secret that credentials are hashed with is empty")
        self._names = tuple(name.lower().encode() for name in header_names)
        self._secret = secret

    def identify(self, headers: Headers) -> str | None:
        """Name the credential in the first configured header that is present and not empty; None if none."""
        for name in self._names:
            for value in headers.all(name):
                if found := value.strip(" \t"):
                    return self._hash(name, found.encode("latin-1"))
        return None

    def _hash(self, name: bytes, value: bytes) -> str:
        return hmac.digest(self._secret, name + b"\0" + value, "sha256").hex()[:_LENGTH]

    def __repr__(self) -> str:
        return f"<Credentials in {', '.join(name.decode() for name in self._names) or 'no header'}>"
