"""How a connection to the upstream is made: name, TCP, TLS, each with its own time and its own errors.

The only place that opens sockets to the upstream, and says why one could not be opened. When to open one, and
how long it is kept, is `pool.py`.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from proxy import config
from proxy.adapters.names import Name, Resolver
from proxy.config_values import authority, parse_base_url
from proxy.errors import ErrorClass, UpstreamError

_HEAD_START = 0.25
"""Seconds that each address has before the next one is tried beside it (RFC 8305 section 5)."""

_Reasons = tuple[tuple[type[OSError], ErrorClass, str, str | None], ...]
"""What an exception means in a step: its class, a sentence, and RFC 9209's name where that says more."""

_NAME: _Reasons = (
    (TimeoutError, ErrorClass.CONNECTION_TIMEOUT, "The name {} was not resolved in time.", "dns_timeout"),
    (OSError, ErrorClass.DNS_ERROR, "The name {} cannot be resolved.", None),
)
_TCP: _Reasons = (
    (TimeoutError, ErrorClass.CONNECTION_TIMEOUT, "{} did not accept a connection in time.", None),
    (OSError, ErrorClass.CONNECTION_REFUSED, "{} does not accept connections.", None),
)
_TLS: _Reasons = (
    (TimeoutError, ErrorClass.CONNECTION_TIMEOUT, "The TLS handshake with {} did not end in time.", None),
    (
        ssl.SSLCertVerificationError,
        ErrorClass.TLS_ERROR,
        "The certificate of {} is not trusted.",
        "tls_certificate_error",
    ),
    (OSError, ErrorClass.TLS_ERROR, "No secure connection to {} can be made.", None),
)

_P = TypeVar("_P", bound=asyncio.Protocol)


class Dialer:
    """Open connections to one origin; `resolve`, `connect` and `speak` are the steps of `dial`.

    `tls` is used if its URL is https; the machine's own authorities are trusted if it is None.
    """

    def __init__(
        self,
        settings: config.Upstream,
        *,
        resolver: Resolver,
        now: Callable[[], float],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        scheme, host, port, _ = parse_base_url(settings.base_url)
        self._settings = settings
        self._shown = authority(settings.base_url)
        self._name = Name(host, port, ttl=settings.dns_ttl, resolver=resolver, now=now)
        self._tls = (tls or _trusting_the_system()) if scheme == "https" else None
        self._server_name = host.rstrip(".")  # certificates name no root

    async def dial(self, factory: Callable[[], _P]) -> _P:
        """Open a connection to any of the addresses; raises `UpstreamError`, with nothing written."""
        deadline = asyncio.get_running_loop().time() + self._settings.connect_timeout
        try:
            with self._told(_NAME):
                async with asyncio.timeout_at(deadline):
                    addresses = await self._name.addresses()
            while True:
                sock = await self.connect(addresses, deadline)
                peer = _peer(sock)
                try:
                    return await self.speak(sock, factory)
                except UpstreamError as error:
                    others = [address for address in addresses if address[4] != peer]
                    # One that hung has used its caller's patience up; the repeat begins with another address.
                    hung = error.error_class is ErrorClass.CONNECTION_TIMEOUT
                    if hung or len(others) in (0, len(addresses)):
                        raise
                    addresses = others
        except UpstreamError:
            self._name.forget()  # it may have moved, and its old address may be somebody else's by now
            raise

    async def resolve(self) -> Sequence[AddrInfoType]:
        """Look the name up, whatever is remembered; raises `UpstreamError`."""
        with self._told(_NAME):
            async with asyncio.timeout(self._settings.connect_timeout):
                return await self._name.look_up()

    def close(self) -> None:
        """Give up what is under way."""
        self._name.close()

    async def connect(self, addresses: Sequence[AddrInfoType], deadline: float) -> socket.socket:
        """Connect to the first of these that answers, until a moment of the event loop.

        Raises `UpstreamError`.
        """
        with self._told(_TCP):
            async with asyncio.timeout_at(deadline):
                return await start_connection(addresses, happy_eyeballs_delay=_HEAD_START)

    async def speak(self, sock: socket.socket, factory: Callable[[], _P]) -> _P:
        """Hand a connected socket to a new protocol, after the TLS handshake if there is to be one.

        Raises `UpstreamError`.
        """
        loop = asyncio.get_running_loop()
        if self._tls is None:
            return (await loop.create_connection(factory, sock=sock))[1]
        patience = self._settings.tls_timeout
        with self._told(_TLS):
            async with asyncio.timeout(patience):
                _, protocol = await loop.create_connection(
                    factory,
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=self._server_name,
                    # asyncio has a limit of its own, whose error is that of a lost connection: never first.
                    ssl_handshake_timeout=patience + 60.0,
                )
        return protocol

    @contextmanager
    def _told(self, reasons: _Reasons) -> Iterator[None]:
        """Make what goes wrong in a step ours."""
        try:
            yield
        except OSError as error:
            error_class, sentence, status = next(
                reason[1:] for reason in reasons if isinstance(error, reason[0])
            )
            detail = sentence.format(self._shown)
            raise UpstreamError(error_class, detail, written=False, proxy_status=status) from error


def _peer(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None  # it is gone already, and the handshake will tell


def _trusting_the_system() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
