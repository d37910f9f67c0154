"""What clients say of themselves and is repeated, in logs and on pages: the only place where it is taken.

A client may put its key or token where a name or an id is expected. Such a word counts as absent: it is not
even shortened, so that no part of it gets anywhere.
"""

import re
from collections.abc import Callable, Sequence

from proxy.messages import Headers
from proxy.policy.access import TOKEN_HEADER
from proxy.policy.callers import caller

_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_SHORTEST = 8
"""Characters: shorter words are in keys by chance."""


class Said:
    """Take the ids and names that clients give; `new_id` makes an id for a request without one."""

    def __init__(
        self,
        credential_headers: Sequence[str],
        *,
        is_secret: Callable[[str], bool],
        new_id: Callable[[], str],
    ) -> None:
        self._shown_in = (*(name.lower().encode() for name in credential_headers), TOKEN_HEADER)
        self._is_secret = is_secret
        self.new_id = new_id

    def request_id(self, headers: Headers) -> str:
        """Return the id that the client gave its request, if it may be repeated, else a new one."""
        said = headers.get(b"x-request-id")
        return (
            said if said and _SANE_ID.fullmatch(said) and self._may_be_said(said, headers) else self.new_id()
        )

    def caller(self, headers: Headers, *, shown: Headers, client: str | None, peer: str) -> str:
        """Name the caller as `callers.caller` does; `shown` are the headers with the token still in them."""
        said = caller(headers, client=client, peer=peer)
        return said if self._may_be_said(said, shown) else client or peer

    def _may_be_said(self, word: str, headers: Headers) -> bool:
        """Tell whether it is no secret, nor a part of the credential that came with it."""
        if len(word) >= _SHORTEST and any(word in value for value in self._credentials(headers)):
            return False
        return not self._is_secret(word)

    def _credentials(self, headers: Headers) -> list[str]:
        return [value for name in self._shown_in for value in headers.all(name)]
