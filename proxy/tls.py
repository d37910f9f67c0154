"""What listeners with TLS show and demand: files, read again when they change.

The only place that reads certificates. Their dates are read by the standard library, so that serving loads
nothing that makes certificates (`certificates.py`).
"""

import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy import config

_LOOK_EVERY = 1.0
"""Seconds between two looks at the files, at the least."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# DER has one form for each time of a validity (RFC 5280 §4.1.2.5), and this order.
_VALIDITY = re.compile(
    rb"\x30[\x1e\x20\x22](?:\x17\x0d|\x18\x0f)([0-9]{12,14})Z(?:\x17\x0d|\x18\x0f)([0-9]{12,14})Z"
)


class Unusable(Exception):
    """Files that can't be used for TLS; the message names them and says what to do."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    begins: datetime
    ends: datetime


class Certificates:
    """What a TLS listener shows and demands, read again when the files change.

    `told(state, sentence)` hears of each change: `certificate_reloaded` or `certificate_unusable`; then
    what was in force stays so. Raises `Unusable` when there is nothing to begin with.
    """

    def __init__(
        self,
        settings: config.Tls,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        told: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._now = now
        self._wall = wall
        self._told = told
        self._complained: list[object] = []
        self._seen = self._identities()
        self._loaded = _load(settings)
        self._next_look = now() + _LOOK_EVERY
        self._warn()
        self.context: ssl.SSLContext = _Latest(ssl.PROTOCOL_TLS_SERVER, self._current)
        """For the server: each connection gets what the files hold when it comes."""

    @property
    def validity(self) -> tuple[datetime, datetime]:
        """When the proxy's own certificate begins and ends."""
        return self._loaded.begins, self._loaded.ends

    def _current(self) -> ssl.SSLContext:
        if self._now() >= self._next_look:
            self._next_look = self._now() + _LOOK_EVERY
            identities = self._identities()
            if identities != self._seen:
                self._reload(identities)
        return self._loaded.context

    def _reload(self, identities: list[object]) -> None:
        try:
            loaded: _Loaded | str = _load(self._settings)
        except Unusable as error:
            loaded = str(error)
        if self._identities() != identities:
            return  # somebody is writing them: the next look tells
        if isinstance(loaded, str):
            # Read again at each look, since what was wrong may pass without a trace; told once.
            if identities == self._complained:
                return
            self._complained = identities
            stays = f"The certificate that is in force, until {_date(self._loaded.ends)}, stays so."
            self._told("certificate_unusable", f"{loaded} {stays}")
            return
        self._seen, self._loaded, self._complained = identities, loaded, []
        sentence = f"{self._settings.certificate} is in force, and good until {_date(loaded.ends)}."
        self._told("certificate_reloaded", sentence)
        self._warn()

    def _warn(self) -> None:
        at, loaded = datetime.fromtimestamp(self._wall(), UTC), self._loaded
        if loaded.begins <= at <= loaded.ends:
            return
        fault = (
            f"expired on {_date(loaded.ends)}" if at > loaded.ends else f"begins on {_date(loaded.begins)}"
        )
        advice = "Clients refuse it. Put a better one there; it is read without a restart."
        self._told("certificate_unusable", f"{self._settings.certificate} {fault}. {advice}")

    def _identities(self) -> list[object]:
        """Tell the files from others; a link to them that leads elsewhere now counts (Kubernetes)."""
        files = self._settings.certificate, self._settings.key, self._settings.client_ca
        return [_identity(path) for path in files]


class _Latest(ssl.SSLContext):
    """Hand each connection to the context of the moment.

    Not by `sni_callback`: OpenSSL resumes a session of TLS 1.2 before it calls that, out of a cache that
    outlives the switch and that Python can't turn off. A client of an authority that is believed no more
    would come in again (`test_a_session_does_not_outlive_the_authority_that_it_was_made_under`).
    """

    def __new__(cls, protocol: int, current: Callable[[], ssl.SSLContext]) -> "_Latest":
        return super().__new__(cls, protocol)

    def __init__(self, protocol: int, current: Callable[[], ssl.SSLContext]) -> None:
        self._of_the_moment = current

    def wrap_bio(self, *bios: Any, **options: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio does it by this at each."""
        return self._of_the_moment().wrap_bio(*bios, **options)


def _identity(path: str | None) -> object:
    try:
        found = Path(path).stat() if path else None
    except OSError as error:
        return error.errno
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _load(settings: config.Tls) -> _Loaded:
    """Read all files into a context of their own. Raises `Unusable`."""
    certificate, key = str(settings.certificate), str(settings.key)
    begins, ends = _validity(certificate)
    if "PRIVATE KEY-----" not in _text(key, "key"):
        raise Unusable(f"{key} holds no private key in PEM form. Put one there (listen.tls.key).")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])

    def passphrase() -> str:  # without it OpenSSL would ask the terminal
        raise Unusable(
            f"{key} is protected by a passphrase, which nobody is there to type. Give the proxy a key "
            f"without one: openssl pkey -in {key} -out NEW (listen.tls.key)."
        )

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, OSError) as error:
        raise Unusable(_misfit(error, certificate, key)) from None
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(settings.client_ca)
        except (ssl.SSLError, OSError) as error:
            reason = f"{settings.client_ca} can't be used: {error.strerror or error}."
            raise Unusable(f"{reason} Put certificates in PEM form there (listen.tls.client_ca).") from None
    return _Loaded(context, begins, ends)


def _misfit(error: OSError, certificate: str, key: str) -> str:
    reason = getattr(error, "reason", None) or error.strerror or "no reason is known"
    if "MISMATCH" in reason:
        return (
            f"{certificate} and {key} do not belong together. Give the key that the certificate was made "
            "for; the proxy's own certificate is the first in its file (listen.tls)."
        )
    damaged = f"{certificate} or {key} is damaged, or weaker than OpenSSL allows: {reason}."
    return f"{damaged} Replace them (listen.tls)."


def _validity(path: str) -> tuple[datetime, datetime]:
    """Return when the first certificate of a file begins and ends. Raises `Unusable`."""
    found = _CERTIFICATE.search(_text(path, "certificate"))
    if found is None:
        raise Unusable(f"{path} holds no certificate in PEM form. Put one there (listen.tls.certificate).")
    with suppress(ValueError):  # no base64, no date
        if validity := _VALIDITY.search(ssl.PEM_cert_to_DER_cert(found[0])):
            return _time(validity[1]), _time(validity[2])
    raise Unusable(f"{path} holds a damaged certificate. Put a whole one there (listen.tls.certificate).")


def _text(path: str, setting: str) -> str:
    try:
        return Path(path).read_bytes().decode("latin-1")
    except OSError as error:
        advice = f"Put a PEM file there that the proxy's user may read (listen.tls.{setting})."
        raise Unusable(f"{path} can't be read: {error.strerror}. {advice}") from None


def _time(digits: bytes) -> datetime:
    """Read a time of DER, whose year may have two digits (RFC 5280 §4.1.2.5.1)."""
    text = digits.decode()
    if len(text) == 12:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
