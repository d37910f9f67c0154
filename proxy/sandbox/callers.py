"""Who is asking: what an API key stands for. The key itself goes no further than this module."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from proxy.sandbox import errors


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key, or nobody."""

    user: str | None = None
    """The beginning of the key's SHA-256; None for an anonymous caller."""
    plan: str = "FREE"
    scoped: bool = True
    """Whether the key may write."""
    stranger: bool = False
    """Whether whatever it does not own is somebody else's (403), instead of unknown (404)."""

    @property
    def username(self) -> str:
        """A name for the user, told by the API."""
        return f"user-{(self.user or 'nobody')[:8]}"


ANONYMOUS = Caller()


def fingerprint(key: str) -> str:
    """Name a user without giving the key away."""
    return sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]


def identify(key: str | None) -> Caller:
    """Tell who a key belongs to; raises ApiError (401) for one that is not valid. No key is nobody."""
    if not key:
        return ANONYMOUS
    if not key.startswith("avk_") or key.startswith("avk_invalid"):
        raise errors.invalid_key()
    return Caller(
        user=fingerprint(key),
        plan="PRO" if key.startswith("avk_pro") else "FREE",
        scoped=not key.startswith("avk_noscope"),
        stranger=key.startswith("avk_other"),
    )
