"""The settings of the client's side: where the proxy listens, whom it lets in, and what it says and changes.

A part of `config`, which has the rest and its rules; whoever uses settings takes them from there.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from proxy.config_places import PLACE, Listening, Network, Place, collide, parse_place
from proxy.config_values import Address, BaseUrl, Key, Part, ReadableFile, Seconds, Token, UnfitError, some


class Tls(Part):
    """What places that begin with https:// show and demand; the files are read again when they change."""

    certificate: ReadableFile | None = None
    """PEM file of the certificate, and of those between it and its authority."""
    key: ReadableFile | None = None
    """PEM file of its private key, without a passphrase."""
    client_ca: ReadableFile | None = None
    """PEM file of the authorities of which clients must show a certificate; none is asked for if absent."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise UnfitError("is missing", "a PEM file, beside the other of the two", missing)
        return self


class Listen(Part):
    """Where the proxy listens, what it takes from clients, and how it leaves."""

    addresses: Annotated[tuple[Listening, ...], some(PLACE)] = ("127.0.0.1:8080",)
    """Where clients connect: HOST:PORT, https://HOST:PORT or unix:/path; several at once."""
    admin_address: Address = "127.0.0.1:9464"
    """Where /metrics, /healthz, /readyz, /status and /breakers are: HOST:PORT."""
    admin_token: Token | None = None
    """What opens and closes breakers there: 16 characters at least. If absent, only this machine may."""
    admin_token_file: ReadableFile | None = None
    """A file that holds the token (instead of `admin_token`); it is read again when it changes."""
    tls: Tls = Tls()
    """The certificate of the places that begin with https://."""
    unix_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0660"
    """Permissions of Unix sockets, in octal."""
    public_url: BaseUrl | None = None
    """Where clients reach the proxy, if that can't be told from their requests: for links in answers."""
    trusted_peers: tuple[Network, ...] = ()
    """Proxies before us whose X-Forwarded-For, -Proto, -Host and Forwarded are believed."""
    max_connections: Annotated[int, Field(ge=1)] = 4096
    """Client connections at the most; one more is answered 503 and closed."""
    max_target: Annotated[int, Field(ge=256, le=1048576)] = 16384
    """Longest request target, path and query together (bytes); a longer one is answered 414."""
    max_field: Annotated[int, Field(ge=256, le=1048576)] = 16384
    """Longest header field, name and value together (bytes); a longer one is answered 431."""
    max_head: Annotated[int, Field(ge=1024, le=1048576)] = 65536
    """Longest request head in all (bytes); a longer one is answered 431."""
    max_fields: Annotated[int, Field(ge=8, le=10000)] = 128
    """Header fields at the most; more are answered 431."""
    head_timeout: Seconds = 10.0
    """Longest from a request head's first byte to its last, and for a TLS handshake; then 408."""
    body_timeout: Seconds = 30.0
    """Longest between two pieces of a request body; then 408."""
    body_rate: Annotated[float, Field(ge=0)] = 1024.0
    """Bytes per second that a request body must come to on average, after its first `body_timeout`."""
    send_timeout: Seconds = 60.0
    """Longest that a client may take nothing of its answer; then its connection is cut."""
    idle_timeout: Seconds = 75.0
    """Longest that a connection is kept without a request."""
    grace: Annotated[float, Field(ge=0)] = 30.0
    """On SIGTERM, requests under way may take this long."""

    @property
    def places(self) -> tuple[Place, ...]:
        """The addresses, taken apart."""
        return tuple(map(parse_place, self.addresses))

    @property
    def admin_place(self) -> Place:
        """The address of the admin listener, taken apart."""
        return parse_place(self.admin_address)

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.admin_token is not None and self.admin_token_file is not None:
            raise UnfitError("has two admin tokens", "`admin_token` or else `admin_token_file`")
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        places = self.places
        for number, one in enumerate(places):
            if any(collide(one, other) for other in places[:number]):
                raise UnfitError("is there already", "each place once", "addresses", number)
            if one.scheme == "https" and self.tls.certificate is None:
                raise UnfitError(
                    "is missing, and clients connect by TLS",
                    "PEM files in listen.tls.certificate and listen.tls.key (`avala-proxy cert` makes some)",
                    "tls",
                    "certificate",
                )
            if collide(one, self.admin_place):
                raise UnfitError(
                    "is where clients connect too", "another port than listen.addresses have", "admin_address"
                )
        return self


class Headers(Part):
    """What the proxy says of itself, in both directions."""

    via: bool = True
    """Whether `Via` names the proxy, to the API and to clients (RFC 9110 §7.6.3)."""
    forwarded: bool = False
    """Whether the API is told of the client in X-Forwarded-For, -Proto and -Host."""
    describe: bool = True
    """Whether answers of the API carry Proxy-Status, Server-Timing and X-Request-Id of the proxy."""


class Links(Part):
    """Whether links to the API lead to the proxy."""

    rewrite: bool = True
    """Whether `next`, `previous`, `Location` and `Link` of the API are made to point at the proxy."""
    max_size: Annotated[int, Field(ge=0)] = 1024 * 1024
    """Of a larger JSON answer only this much (bytes) is looked through, and nothing if it is compressed."""


class Credential(Part):
    """The key that the proxy holds, and adds to requests that have none."""

    value: Key | None = None
    """The key itself; best given in the environment."""
    file: ReadableFile | None = None
    """A file that holds the key (instead of `value`); it is read again when it changes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.value is not None and self.file is not None:
            raise UnfitError("is given twice", "`file` or else `value`")
        return self


class Client(Part):
    """Somebody who may use the proxy, and the token that shows it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """The name in logs."""
    token: Token | None = None
    """What the client shows, in place of its Avala key or in Avala-Proxy-Token: 16 characters at least."""
    token_file: ReadableFile | None = None
    """A file that holds the token (instead of `token`); it is read again when it changes."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise UnfitError("has no token, or two", "`token` or else `token_file`")
        return self


class State(Part):
    """What is remembered across restarts."""

    file: str | None = None
    """A file that keeps what was spent, so that a restart does not spend it again; of one proxy alone."""
