"""What can be wrong with the shared store, told apart in one place: a reason for machines, words for people.

Servers before Redis 7 hand on the error of a command in a script as text, so the code is looked for in it.
What a server says is not repeated in full: it may be what it was sent, and so a password.
"""

import re
import socket
import ssl

from redis import exceptions as said

from proxy.adapters.store_gone import StoreGone as StoreGone
from proxy.events import LedgerReason as Reason

_LOGIN = "check redis.username and redis.password_file."
_RULES = (
    "allow its user EVAL, EVALSHA, what the script does, PUBLISH, SUBSCRIBE, all keys and channels with "
    "redis.prefix, and in a cluster CLUSTER SLOTS."
)
_FULL = "give it more memory (maxmemory), or a store of its own."
_COPY = "let redis.url name the primary, or sentinels that know it."

_BY_CODE: dict[str, tuple[Reason, str]] = {
    "NOAUTH": ("denied", f"demands a password: {_LOGIN}"),
    "WRONGPASS": ("denied", f"refuses the password: {_LOGIN}"),
    "NOPERM": ("denied", f"forbids what is needed: {_RULES}"),
    "DENIED": ("denied", "is in protected mode: set a password there, and redis.password_file here."),
    "READONLY": ("read_only", f"is a read-only replica: {_COPY}"),
    "MASTERDOWN": ("read_only", f"is a replica that has lost its primary: {_COPY}"),
    "NOREPLICAS": (
        "read_only",
        "has too few replicas for writes: start them, or lower min-replicas-to-write.",
    ),
    "OOM": ("full", f"has no memory left: {_FULL}"),
    "MISCONF": ("full", "can't save to its disk and takes no writes: make room there, or switch saving off."),
    "LOADING": ("busy", "is still reading its data: wait, or switch saving off, as nothing has to be kept."),
    "BUSY": ("busy", "is busy with somebody's script: end it with SCRIPT KILL, or use a store of its own."),
    "TRYAGAIN": ("busy", "is moving these keys to another server: wait until it is done."),
    "CLUSTERDOWN": ("lost", "has lost a part of its cluster: bring the missing servers back."),
}
_BY_KIND: tuple[tuple[type[Exception], str], ...] = (
    (said.NoPermissionError, "NOPERM"),
    (said.ReadOnlyError, "READONLY"),
    (said.OutOfMemoryError, "OOM"),
    (said.BusyLoadingError, "LOADING"),
    (said.MasterDownError, "MASTERDOWN"),
    (said.ClusterDownError, "CLUSTERDOWN"),
    (said.TryAgainError, "TRYAGAIN"),
)
_CODE = re.compile(rf"(?:^|[\s:-])({'|'.join(_BY_CODE)})(?=\s)")
_FORBIDDEN = re.compile("ACL failure in script|The user executing the script can't")
_LONGEST = 160


STALE = {"READONLY", "MASTERDOWN", "CLUSTERDOWN"}
"""Codes that say that the server which was asked is not the one to ask."""


def code_of(error: BaseException) -> str:
    """Return the code by which a server says what is wrong, such as READONLY; empty if there is none."""
    if isinstance(error, said.AuthenticationError):
        return "NOAUTH" if error.status_code == "NOAUTH" else "WRONGPASS"
    for kind, code in _BY_KIND:
        if isinstance(error, kind):
            return code
    if not isinstance(error, said.RedisError):
        return ""
    found = _CODE.search(str(error))
    if found:
        return found[1]
    # From within a script, these come without their codes.
    if _FORBIDDEN.search(str(error)):
        return "NOPERM"
    return "OOM" if "command not allowed when used memory" in str(error) else ""


def worth_dialling(error: Exception) -> bool:
    """Tell whether another connection may do better: the one that was used is gone."""
    return isinstance(error, (said.ConnectionError, OSError)) and not code_of(error)


def timed_out(shown: str, seconds: float) -> StoreGone:
    """Say that the store did not answer in time."""
    return StoreGone(
        "timeout",
        f"The store at {shown} did not answer within {seconds:g} s: "
        "see whether it runs and is near; redis.timeout is how long one call may take.",
    )


def gone(error: Exception, shown: str) -> StoreGone:
    """Say what an exception of the connection means for the store at `shown`."""
    if isinstance(error, StoreGone):
        return error
    store = f"The store at {shown}"
    if code := code_of(error):
        reason, sentence = _BY_CODE[code]
        return StoreGone(reason, f"{store} {sentence}")
    if "max number of clients" in str(error):
        return StoreGone("busy", f"{store} has as many clients as it may: raise maxclients there.")
    if isinstance(error, said.InvalidResponse):
        return StoreGone("error", f"{store} does not speak the protocol of Redis: see what listens there.")
    if isinstance(error, (said.ConnectionError, OSError)):
        return _unconnected(error, store)
    if not isinstance(error, said.ResponseError):
        return StoreGone("error", f"{store} can't be used ({type(error).__name__}): see what listens there.")
    if "DB index" in str(error):
        return StoreGone("error", f"{store} has no such database: check the end of redis.url.")
    # Only of a script is it sure that the words don't come from the login.
    words = re.sub(r"[^ -~]+", " ", str(error))[:_LONGEST] if "script" in str(error) else "no reason known"
    return StoreGone("error", f"{store} refuses what it is sent ({words}): Redis 6.2 or Valkey is needed.")


def _unconnected(error: Exception, store: str) -> StoreGone:
    """Tell why there is no connection, by the system's error beneath that of redis-py."""
    lost = StoreGone("lost", f"{store} closed the connection: see whether it runs, and its log.")
    match error if isinstance(error, OSError) else error.__cause__ or error.__context__:
        case ssl.SSLCertVerificationError() as cause:
            why = f"shows a certificate that can't be trusted ({cause.verify_message}): see redis.ca."
        case ssl.SSLError():
            why = "does not speak TLS: write redis:// in redis.url, or switch TLS on there."
        case socket.gaierror():
            why = "has a name that can't be resolved: check redis.url, and DNS."
        case FileNotFoundError() | PermissionError():
            why = "can't be reached: see that the socket of redis.url is there, and open to the proxy's user."
        case ConnectionRefusedError():
            why = "refuses connections: start it, or check redis.url."
        case ConnectionError():
            return lost
        case OSError():
            why = "can't be reached: check redis.url, and the network between."
        case _:
            return lost
    return StoreGone("refused", f"{store} {why}")
