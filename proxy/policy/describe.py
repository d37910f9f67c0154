"""What the proxy says of itself on an answer: who made it, and where the time went."""

from proxy.account import Account
from proxy.policy.headers import NAME, Fields


def made_here(error: str) -> bytes:
    """Name the proxy as the maker of an answer (RFC 9209 section 2.3; `error` is one of its types)."""
    return b"%b; error=%b" % (NAME, error.encode("ascii"))


def forwarded(status: int) -> bytes:
    """Name the proxy as one that passed an answer on (RFC 9209 section 2.1.5)."""
    return b"%b; received-status=%d" % (NAME, status)


def timing(account: Account) -> bytes:
    """Tell where the time went, in milliseconds (https://www.w3.org/TR/server-timing/); seconds come in.

    It also tells whether the call was another one's, who asked for the same, and what would have been waited
    in line, where nothing is held.
    """
    queue, call = round(account.waited * 1000, 1), round(account.upstream * 1000, 1)
    said = f'queue;dur={queue}, upstream;dur={call}, retries;desc="{max(account.attempts - 1, 0)}"'
    if account.coalesced:
        said += ", coalesced"
    if account.would_wait is not None:
        said += f", would-wait;dur={round(account.would_wait * 1000, 1)}"
    return said.encode("ascii")


def additions(
    fields: Fields, *, describe: tuple[bytes, bytes] | None, request_id: str, via: bytes | None
) -> Fields:
    """Add what the proxy says to the fields of an answer, at their end, after what earlier ones said.

    `describe` is the values of Proxy-Status and Server-Timing, None for neither; `via` the version in which
    the answer came (RFC 9110 section 7.6.3), None for no Via. An X-Request-Id that is there stays.
    """
    said: list[tuple[bytes, bytes]] = [(b"Via", b"%b %b" % (via, NAME))] if via else []
    if describe is not None:
        said += [(b"Proxy-Status", describe[0]), (b"Server-Timing", describe[1])]
        if not any(name.lower() == b"x-request-id" for name, _ in fields):
            said.append((b"X-Request-Id", request_id.encode("ascii")))
    return (*fields, *said)
