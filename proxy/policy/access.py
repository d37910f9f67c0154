"""The only place where it is decided who may use the proxy, and which credential goes up.

A client shows its token in `Avala-Proxy-Token`, or where its Avala key would be. A field that held a token
goes no further; where no credential is left, the key that the proxy holds takes its place. A client's own
credential is never replaced.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from proxy.errors import UnauthorizedClient
from proxy.messages import Headers

Fields = tuple[tuple[bytes, bytes], ...]

TOKEN_HEADER = b"avala-proxy-token"

_SCHEME = re.compile(rb"\Abearer[ \t]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go on: the fields left of it, and the name of the client (None: nobody asked).

    `lent` says that it goes up with the held key.
    """

    headers: Headers = field(repr=False)
    client: str | None = None
    lent: bool = False


class Access:
    """Let clients in by their tokens, and lend the held key to those that bring none.

    `key` returns the held key, or None; `clients` are names, each with what returns its token now. Both
    are asked for each request, since the files behind them change.
    """

    def __init__(
        self,
        credential_headers: Sequence[str],
        *,
        key: Callable[[], str | None],
        clients: Sequence[tuple[str, Callable[[], str]]],
    ) -> None:
        self._first = credential_headers[0].encode()
        self._credentials = frozenset(name.lower().encode() for name in credential_headers)
        self._places = self._credentials | {TOKEN_HEADER}
        self._key = key
        self._clients = tuple(clients)

    def admit(self, headers: Headers) -> Admitted:
        """Tell who asks, and make the fields that go on. Raises `UnauthorizedClient`.

        With clients configured, a request shows the token of exactly one; without, nobody needs to. The
        same `headers` come back where nothing changes.
        """
        spent, owners = self._shown(headers)
        client = self._only(owners) if self._clients else None
        onward, lent = self._onward(headers, spent)
        return Admitted(onward, client, lent)

    def _shown(self, headers: Headers) -> tuple[list[int], set[str | None]]:
        """Return the places of the fields that hold tokens, and whose these are (None: nobody's)."""
        spent: list[int] = []
        owners: set[str | None] = set()
        for place, (name, value) in enumerate(headers):
            if (lowered := name.lower()) not in self._places:
                continue
            text = value.strip(b" \t")
            if lowered == TOKEN_HEADER:
                spent.append(place)
                if text:
                    owners.add(self._owner(text))
            elif self._clients and text:
                # With or without the scheme, whatever the field: no form of a token may pass for a key.
                owner = self._owner(_SCHEME.sub(b"", text))
                if owner is not None:
                    spent.append(place)
                    owners.add(owner)
        return spent, owners

    def _owner(self, shown: bytes) -> str | None:
        """Return whose token this is; of two with the same token, the first.

        Digests have one length, and all clients are gone through: time tells neither how much of a token
        is right, nor whose it is.
        """
        digest = sha256(shown).digest()
        names = [
            name
            for name, token in self._clients
            if hmac.compare_digest(sha256(token().encode("latin-1")).digest(), digest)
        ]
        return names[0] if names else None

    def _only(self, owners: set[str | None]) -> str:
        match tuple(owners):
            case (str(name),):
                return name
            case () | (None,):
                what = "This request shows no token that the proxy knows"
            case _:
                what = "This request shows tokens that are not one client's"
        where = f"in Avala-Proxy-Token, or in {self._first.decode()} in place of an Avala key"
        raise UnauthorizedClient(f"{what}: send yours {where}.")

    def _onward(self, headers: Headers, spent: list[int]) -> tuple[Headers, bool]:
        """Return the fields that go on, and whether the held key is among them."""
        raw, key = headers.raw, self._key()
        rest = tuple(one for place, one in enumerate(raw) if place not in spent) if spent else raw
        if key is None or any(map(self._is_credential, rest)):
            return (Headers(rest) if spent else headers), False
        # The key stands where the first token stood. Empty credentials go, lest two fields of a name go up.
        place = spent[0] if spent else len(raw)
        before, after = self._bare(raw[:place]), self._bare(raw[place:])
        return Headers((*before, self._credential(key), *after)), True

    def _is_credential(self, one: tuple[bytes, bytes]) -> bool:
        name, value = one
        return name.lower() in self._credentials and bool(value.strip(b" \t"))

    def _bare(self, fields: Fields) -> Fields:
        """Leave out every field that could hold a credential or a token."""
        return tuple(one for one in fields if one[0].lower() not in self._places)

    def _credential(self, key: str) -> tuple[bytes, bytes]:
        scheme = "Bearer " if self._first.lower() == b"authorization" else ""
        return self._first, (scheme + key).encode("latin-1")

    def __repr__(self) -> str:
        return f"<Access of {', '.join(name for name, _ in self._clients) or 'everybody'}>"
