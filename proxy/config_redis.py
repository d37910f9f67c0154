"""The settings of the store that several proxies share one budget through, and the parts of its URL.

A part of `config`, which has the rest and its rules. What speaks to the store is in `adapters`; here is only
what it is called.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from proxy.config_values import Part, Token, UnfitError, parse_address

STORE_URL = (
    "redis://HOST:PORT/DB, unix:///path/of/socket, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
    "redis+cluster://HOST:PORT,HOST:PORT; rediss instead of redis for TLS"
)

Kind = Literal["single", "unix", "sentinel", "cluster"]

_URL = re.compile(r"(?P<scheme>[a-z+]+)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.I | re.S)
_KINDS: dict[str, Kind] = {"": "single", "+sentinel": "sentinel", "+cluster": "cluster"}
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_DB = re.compile(r"[0-9]{1,5}")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where a store is: how it is found, and what is there. Holds no secret; text is the URL."""

    kind: Kind
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    """Servers, or sentinels, to ask first; none for a Unix socket."""
    path: str = ""
    """Of the Unix socket."""
    service: str = ""
    """What sentinels call the primary."""
    db: int = 0

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix://{self.path}?db={self.db}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        base = f"redis{'s' if self.tls else ''}"
        match self.kind:
            case "cluster":
                return f"{base}+cluster://{hosts}"
            case "sentinel":
                return f"{base}+sentinel://{hosts}/{self.service}/{self.db}"
            case _:
                return f"{base}://{hosts}/{self.db}"


def parse_store(text: str) -> StorePlace:
    """Take the URL of a store apart. Raises UnfitError, which does not repeat it."""
    match = _URL.fullmatch(text)
    if match is None:
        raise UnfitError("is no URL of a store", STORE_URL)
    _without_user(text)
    scheme = match["scheme"].lower()
    if scheme == "unix":
        return _socket(match)
    tls = scheme.startswith("rediss")
    kind = _KINDS.get(scheme.removeprefix("rediss" if tls else "redis"))
    if kind is None or not scheme.startswith("redis"):
        raise UnfitError("has a scheme that no store has", STORE_URL)
    if match["rest"]:
        raise UnfitError("has a query or a fragment", f"settings of [redis] beside {STORE_URL}")
    hosts = tuple(_host(host, _PORTS[kind]) for host in match["authority"].split(","))
    if kind == "single" and len(hosts) > 1:
        raise UnfitError("has several servers", "one, or redis+sentinel:// or redis+cluster:// before them")
    service, db = _inside(kind, match["path"].removeprefix("/"))
    return StorePlace(kind, tls, hosts, service=service, db=db)


def _without_user(text: str) -> None:
    if "@" not in text:
        return
    if ":" in text.partition("://")[2].rpartition("@")[0]:
        raise UnfitError(
            "holds a password", "a URL without one; put it in redis.password_file or redis.password"
        )
    raise UnfitError("holds a user name", "a URL without one; put it in redis.username")


def _socket(match: re.Match[str]) -> StorePlace:
    key, _, db = match["rest"].removeprefix("?").partition("=")
    if match["authority"] or len(match["path"]) < 2 or (match["rest"] and key != "db"):
        raise UnfitError("is no Unix socket", "unix:///path/of/socket, and ?db=1 if it is not database 0")
    return StorePlace("unix", path=match["path"], db=_db(db) if match["rest"] else 0)


def _inside(kind: Kind, path: str) -> tuple[str, int]:
    """Return the service and the database that a path names."""
    if kind == "cluster":
        if path:
            raise UnfitError(
                "names a database, and a cluster has none", "redis+cluster://HOST:PORT,HOST:PORT"
            )
        return "", 0
    if kind == "single":
        return "", _db(path) if path else 0
    service, _, db = path.partition("/")
    if _SERVICE.fullmatch(service) is None:
        raise UnfitError(
            "does not say what the sentinels call the primary", "redis+sentinel://HOST:PORT/SERVICE"
        )
    return service, _db(db) if db else 0


def _db(text: str) -> int:
    if _DB.fullmatch(text) is None:
        raise UnfitError("names a database that is no number", f"0 or more in place of DB: {STORE_URL}")
    return int(text)


def _host(text: str, default: int) -> tuple[str, int]:
    has_port = ":" in text.rpartition("]")[2]
    try:
        host, port = parse_address(text if has_port else f"{text}:{default}")
    except ValueError:
        raise UnfitError("has a server that is no HOST:PORT", STORE_URL) from None
    if port == 0:
        raise UnfitError("has a server with port 0", "a port from 1 to 65535")
    return host, port


def store_url(text: str) -> str:
    """Check the URL of a store and normalise it: ports and database are written out."""
    return str(parse_store(text))


class Redis(Part):
    """The store through which several proxies share one budget: Redis 6.2 or later, or Valkey."""

    url: Annotated[str, AfterValidator(store_url)] | None = None
    """Where it is: redis://HOST:PORT/DB, unix:///path, redis+sentinel:// or redis+cluster://."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """The user to log in as; the store's default one if absent."""
    password: SecretStr | None = None
    """The password to log in with; best given in the environment."""
    password_file: str | None = None
    """A file that holds the password (instead of `password`); it is read again when it changes."""
    ca: str | None = None
    """PEM file of the authorities that may have signed the store's certificate; the system's if absent."""
    secret: Token | None = None
    """What keys are hashed with for the store, the same for all proxies: 16 characters at least."""
    secret_file: str | None = None
    """A file that holds it (instead of `secret`)."""
    prefix: Annotated[str, Field(pattern=r"^[^\s{}]{1,64}$")] = "avala-proxy"
    """What names in the store begin with; proxies with the same share a budget. Without spaces and braces."""
    timeout: Annotated[float, Field(ge=0.02, le=0.4)] = 0.2
    """Longest that one call to the store may take, connecting included."""
    replicas: Annotated[int, Field(ge=1)] = 4
    """How many proxies share the budget, as long as no other number is known."""

    @property
    def shared(self) -> bool:
        """Whether there is a store."""
        return self.url is not None

    @property
    def place(self) -> StorePlace:
        """The URL, taken apart. Raises ValueError if there is none."""
        if self.url is None:
            raise ValueError("redis.url is not set")
        return parse_store(self.url)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for value, file in (("password", "password_file"), ("secret", "secret_file")):
            if getattr(self, value) is not None and getattr(self, file) is not None:
                raise UnfitError("is given twice", f"`{file}` or else `{value}`", value)
        return self

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.shared and self.secret is None and self.secret_file is None:
            raise UnfitError(
                "is missing, and the store must not see keys as they are",
                "redis.secret_file with what `openssl rand -hex 32` prints, the same for all proxies",
                "secret_file",
            )
        if self.url is not None and self.ca is not None and not self.place.tls:
            raise UnfitError("is for TLS, and redis.url has none", "rediss:// in redis.url", "ca")
        return self
