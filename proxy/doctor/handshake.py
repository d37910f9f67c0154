"""Whether a connection to the API becomes a secure one, and which kind of failure it is if not."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime

from proxy import config
from proxy.adapters.dial import Dialer
from proxy.clock import Clock
from proxy.config_places import Place
from proxy.config_values import authority, parse_base_url
from proxy.doctor.report import Finding, fail, milliseconds, ok, skipped, warning
from proxy.errors import UpstreamError

CHECK = "tls"

_SOON = 3.0
"""Days: a certificate that has so few left should have been renewed by a machine."""

_EXPIRED, _NOT_YET = 10, 9
_SELF_SIGNED, _UNKNOWN = (18, 19), (2, 20, 21)
_NAMES = (62, 64)
"""Codes of OpenSSL (X509_V_ERR_…), grouped by what is to be done."""

_NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
)
_TRUST = (
    "Install the machine's authorities (ca-certificates). If this one is your own, or of a firewall that "
    "looks into TLS: have SSL_CERT_FILE name a PEM file with it, for `serve` too."
)


class _Quiet(asyncio.Protocol):
    """Say nothing, and hold the connection."""

    transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport


async def examine(settings: config.Upstream, dialer: Dialer, sock: socket.socket, clock: Clock) -> Finding:
    """Make a connected socket secure, as the proxy would, and close it."""
    if settings.base_url.startswith("http://"):
        sock.close()
        return _plain(settings)
    began = clock.now()
    try:
        protocol = await dialer.speak(sock, _Quiet)
    except UpstreamError as error:
        return _failed(error, *parse_base_url(settings.base_url)[1:3])
    took = clock.now() - began
    secured: ssl.SSLObject = protocol.transport.get_extra_info("ssl_object")
    protocol.transport.abort()
    return _secured(secured, took, clock.wall(), authority(settings.base_url))


def _plain(settings: config.Upstream) -> Finding:
    _, host, port, _ = parse_base_url(settings.base_url)
    if Place("http", host, port).local:
        return skipped(CHECK, "upstream.base_url is http:// and of this machine.")
    return warning(
        CHECK,
        "upstream.base_url is http://: keys go over the network for all to read.",
        "Write https:// in upstream.base_url (--upstream).",
    )


def _secured(secured: ssl.SSLObject, took: float, wall: float, host: str) -> Finding:
    certificate = secured.getpeercert()
    assert certificate is not None, "without one there is no handshake"
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((ends - wall) // 86400)
    detail = (
        f"{secured.version()} in {milliseconds(took)}; the certificate is for {host}, of an authority that "
        f"this machine trusts, and good until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d} ({days} days)."
    )
    if days < _SOON:
        return warning(
            CHECK, detail, "Whoever operates the API must renew it: ask them if it gets no better."
        )
    return ok(CHECK, detail)


def _failed(error: UpstreamError, host: str, port: int) -> Finding:
    """Tell failures apart, in this order: silence, the certificate, no TLS at all, no agreement, hung up."""
    match error.__cause__:
        case TimeoutError():
            return fail(
                CHECK,
                f"{host} took the connection, and did not answer the handshake in time.",
                "A firewall that looks into TLS may be in the way, or the port is another service's: see "
                f"whether `openssl s_client -connect {host}:{port}` gets an answer from here.",
            )
        case ssl.SSLCertVerificationError() as cause:
            return _untrusted(cause, host)
        case ssl.SSLError(reason=str(reason)) if reason in _NO_TLS:
            return fail(
                CHECK,
                f"{host} does not speak TLS at port {port}.",
                "Write the right port in upstream.base_url (--upstream), or http:// if it is meant to be so.",
            )
        case ssl.SSLError(reason=str(reason)):
            return fail(
                CHECK,
                f"{host} and this machine agree on no way to speak TLS ({reason}).",
                "See which versions and ciphers each allows: OpenSSL's configuration here, theirs there.",
            )
    return fail(
        CHECK,
        f"{host} hung up in the middle of the handshake.",
        "It may not speak TLS at this port, or a firewall breaks the connection: check upstream.base_url.",
    )


def _untrusted(cause: ssl.SSLCertVerificationError, host: str) -> Finding:
    shows = f"The certificate of {host}"
    code = cause.verify_code
    if code == _EXPIRED:
        advice = (
            "See that this machine's clock is right (`date`). If it is, the API's operators must renew it, "
            "or the name leads to another server than theirs."
        )
        return fail(CHECK, f"{shows} has expired.", advice)
    if code == _NOT_YET:
        return fail(
            CHECK, f"{shows} is not good yet.", "Set this machine's clock, which seems to be slow (`date`)."
        )
    if code in _NAMES:
        advice = (
            "Write the name that the certificate has in upstream.base_url (--upstream), and see that DNS or "
            "/etc/hosts lead to the API's own server."
        )
        return fail(CHECK, f"{shows} is for another name.", advice)
    if code in _SELF_SIGNED:
        return fail(
            CHECK, f"{shows} is of no authority but itself, or of one that is not trusted here.", _TRUST
        )
    if code in _UNKNOWN:
        return fail(CHECK, f"{shows} is of an authority that this machine does not know.", _TRUST)
    return fail(CHECK, f"{shows} is not trusted ({cause.verify_message}).", _TRUST)
