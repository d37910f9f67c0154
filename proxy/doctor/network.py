"""The way to the API, step by step as the proxy goes it: its name, a connection, TLS. Nothing is asked of it.

What makes the connections is the proxy's own (`adapters/dial.py`), with its settings and its trust. What a
handshake showed is judged in `handshake.py`.
"""

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

from aiohappyeyeballs import AddrInfoType

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.clock import Clock
from proxy.config_values import parse_base_url
from proxy.doctor import handshake
from proxy.doctor.report import Finding, fail, milliseconds, ok, skipped, warning
from proxy.errors import ErrorClass, UpstreamError

DNS, TCP, TLS = "dns", "tcp", handshake.CHECK

LONGEST = 10.0
"""Seconds that a step may take, whatever the settings allow: nobody watches a black hole for longer."""

_PROXIES = ("https_proxy", "http_proxy", "all_proxy")


def bounded(settings: config.Upstream) -> config.Upstream:
    """Shorten what may take longer than somebody watches."""
    patience = {name: min(getattr(settings, name), LONGEST) for name in ("connect_timeout", "tls_timeout")}
    return settings.model_copy(update=patience)


class Way:
    """The way to one origin; `dialer` is of the same settings, `environ` the environment."""

    def __init__(
        self, settings: config.Upstream, dialer: Dialer, clock: Clock, environ: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._dialer = dialer
        self._clock = clock
        self._environ = environ
        _, self._host, self._port, _ = parse_base_url(settings.base_url)

    async def examine(self) -> AsyncIterator[Finding]:
        """Go each step, as long as the one before could be gone."""
        began = self._clock.now()
        try:
            addresses = await self._dialer.resolve()
        except UpstreamError as error:
            yield self._unresolved(error)
            yield skipped(TCP, "No address is known.")
            yield skipped(TLS, "No address is known.")
            return
        now = self._clock.now()
        yield self._resolved(addresses, now - began)
        # A name and a connection have one time together.
        finding, sock = await self._connect(addresses, began + self._settings.connect_timeout)
        yield finding
        if sock is None:
            yield skipped(TLS, "There is no connection.")
        else:
            yield await handshake.examine(self._settings, self._dialer, sock, self._clock)

    def _unresolved(self, error: UpstreamError) -> Finding:
        cause = error.__cause__
        why = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
        advice = (
            "See that upstream.base_url (--upstream) is spelt right, and that this machine's name server "
            f"answers (/etc/resolv.conf; `getent hosts {self._host}` asks the same)."
        )
        return fail(DNS, f"{error.detail.removesuffix('.')}{why}.", advice + self._about_proxies())

    def _resolved(self, addresses: Sequence[AddrInfoType], seconds: float) -> Finding:
        shown = ", ".join(map(_shown, addresses))
        if self._host in {address[4][0] for address in addresses}:
            return ok(DNS, f"{shown} is an address: there is no name to look up.")
        return ok(DNS, f"{self._host} is {shown}, found in {milliseconds(seconds)}.")

    async def _connect(
        self, addresses: Sequence[AddrInfoType], deadline: float
    ) -> tuple[Finding, socket.socket | None]:
        """Try address after address until one takes a connection; each has its share of the time left."""
        refusals: list[tuple[AddrInfoType, UpstreamError]] = []
        for number, address in enumerate(addresses):
            began = self._clock.now()
            share = max(0.0, deadline - began) / (len(addresses) - number)
            try:
                sock = await self._dialer.connect([address], began + share)
            except UpstreamError as error:
                refusals.append((address, error))
            else:
                return self._connected(address, self._clock.now() - began, refusals), sock
        return self._unconnected(refusals), None

    def _connected(
        self, address: AddrInfoType, seconds: float, refusals: Sequence[tuple[AddrInfoType, UpstreamError]]
    ) -> Finding:
        detail = f"{_shown(address)} took a connection to port {self._port} in {milliseconds(seconds)}"
        if not refusals:
            return ok(TCP, f"{detail}.")
        advice = (
            "The proxy goes on with the addresses that answer, and may lose a quarter of a second at each "
            "other one: see whether this machine's network carries that kind of address."
        )
        return warning(TCP, f"{detail}; but {_told(refusals)}.", advice)

    def _unconnected(self, refusals: Sequence[tuple[AddrInfoType, UpstreamError]]) -> Finding:
        silent = any(error.error_class is ErrorClass.CONNECTION_TIMEOUT for _, error in refusals)
        advice = (
            f"See whether a firewall lets this machine out to port {self._port}."
            if silent
            else "See that upstream.base_url (--upstream) has the right host and port, and its server runs."
        )
        return fail(TCP, f"Port {self._port}: {_told(refusals)}.", advice + self._about_proxies())

    def _about_proxies(self) -> str:
        """Speak of what other programs are told here, and this one does not follow."""
        named = [name for name in self._environ if name.lower() in _PROXIES and self._environ[name]]
        if not named:
            return ""
        return f" {named[0]} is set here: avala-proxy does not use it, and connects to the API itself."


def _shown(address: AddrInfoType) -> str:
    return f"{address[4][0]} ({'IPv6' if address[0] is socket.AF_INET6 else 'IPv4'})"


def _told(refusals: Sequence[tuple[AddrInfoType, UpstreamError]]) -> str:
    return ", ".join(f"{_shown(address)} {_reason(error)}" for address, error in refusals)


def _reason(error: UpstreamError) -> str:
    if error.error_class is ErrorClass.CONNECTION_TIMEOUT:
        return "does not answer"
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return "refuses it"
    number = cause.errno if isinstance(cause, OSError) else None
    return f"can't be reached ({os.strerror(number) if number else cause})"
