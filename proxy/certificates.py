"""Certificates for trying TLS out, as `avala-proxy cert` makes them.

The only place that makes any. What that takes is imported when something is made.
"""

import ipaddress
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from proxy.config_values import parse_address

if TYPE_CHECKING:
    import trustme

_OURS = "avala-proxy"
"""The organization in what is made here."""

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})

_ADVICE = """\
A certificate for {names}, good until {ends}:
  {certificate}
  {key}
signed by ({trusted}):
  {authority}

Serve with it:
  avala-proxy serve --listen {listen} \\
    --tls-certificate {certificate} --tls-key {key}
or, in the configuration file:
  [listen]
  addresses = ["{listen}"]
  [listen.tls]
  certificate = "{certificate}"
  key = "{key}"

Let clients trust it; they need ca.pem, and nothing else of this directory:
  export AVALA_BASE_URL={url}
  export SSL_CERT_FILE={authority}            # the Avala SDK, httpx
  export REQUESTS_CA_BUNDLE={authority}       # requests
  export NODE_EXTRA_CA_CERTS={authority}      # Node.js
  curl --cacert {authority} {url}/datasets/
The first two make a client trust this authority alone.

This is for trying out and for internal use. Whoever has {authority_key}
can sign for any name, and every client that trusts ca.pem will believe it: guard it, or delete it."""


class CannotMake(Exception):
    """Nothing was made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made, and for whom."""

    directory: Path
    names: tuple[str, ...]
    ends: datetime
    new_authority: bool


def make(directory: Path, names: Sequence[str], *, days: int, force: bool, now: datetime) -> Made:
    """Make a certificate for these names, and an authority if the directory has none of ours.

    Files: ca.pem, ca-key.pem, proxy.pem, proxy-key.pem. Raises `CannotMake`.
    """
    wanted = tuple(dict.fromkeys(map(_name, names)))
    there = [name for name in ("proxy.pem", "proxy-key.pem") if os.path.lexists(directory / name)]
    if there and not force:
        advice = "Replace it with --force, or choose another --directory."
        raise CannotMake(f"{directory / there[0]} exists already. {advice}")
    ends = now + timedelta(days=days)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        authority, new = _authority(directory)
        # A little earlier than now, for clients whose clocks are slow.
        leaf = authority.issue_cert(
            *wanted,
            organization_name=_OURS,
            organization_unit_name="listener",
            not_before=now - timedelta(hours=1),
            not_after=ends,
        )
        if new:
            _write(directory / "ca-key.pem", authority.private_key_pem.bytes(), 0o600)
            _write(directory / "ca.pem", authority.cert_pem.bytes(), 0o644)
        _write(directory / "proxy-key.pem", leaf.private_key_pem.bytes(), 0o600)
        _write(directory / "proxy.pem", b"".join(pem.bytes() for pem in leaf.cert_chain_pems), 0o644)
    except OSError as error:
        reason = f"Cannot write to {directory}: {error.strerror or error}."
        raise CannotMake(f"{reason} Choose a directory of your own, with --directory DIR.") from error
    except UnicodeError as error:  # of the rules for international names
        raise CannotMake(f"No certificate can be made for one of these names: {error}.") from error
    return Made(directory.absolute(), wanted, ends, new)


def _name(text: str) -> str:
    """Check a host's name or address, and put it into its normal form. Raises `CannotMake`."""
    plain = text.removeprefix("*.").removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        host, _ = parse_address(f"[{plain}]:1" if ":" in plain else f"{plain}:1")
    except ValueError:
        allowed = "a name such as proxy.example, or an address such as 10.0.0.7, without scheme and port"
        raise CannotMake(f"{text!r} can't stand in a certificate; allowed: {allowed}.") from None
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified or address.is_multicast or text.startswith("*.") or "%" in host:
            raise CannotMake(
                f"{text!r} is no address that clients connect to; give those by which they reach the proxy."
            )
        return host
    if not text.startswith("*."):
        return host
    if "." not in host:
        raise CannotMake(f"{text!r} is too wide, and clients refuse it; allowed: *.internal.example.")
    return f"*.{host}"


def _authority(directory: Path) -> tuple["trustme.CA", bool]:
    """Return the authority of a directory, or a new one. Raises `CannotMake`."""
    import trustme

    certificate, key = directory / "ca.pem", directory / "ca-key.pem"
    there = [os.path.lexists(path) for path in (certificate, key)]
    if not any(there):
        unit = f"local authority {os.urandom(4).hex()}"
        return trustme.CA(path_length=0, organization_name=_OURS, organization_unit_name=unit), True
    fault = "the two are no authority that avala-proxy made"
    if not all(there):
        fault = f"{(key if there[0] else certificate).name} is missing beside the other of the two"
    else:
        with suppress(ValueError, TypeError):  # garbled; protected by a passphrase
            authority = trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
            if _is_ours(authority, certificate):
                return authority, False
    advice = (
        "Put the right ones there, or choose another --directory: clients then have a new ca.pem to trust."
    )
    raise CannotMake(f"{directory} has ca.pem or ca-key.pem, but {fault}. {advice}")


def _is_ours(authority: "trustme.CA", path: Path) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    made_by = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return certificate.public_key() == key.public_key() and [one.value for one in made_by] == [_OURS]


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step; nobody else can read a key at any moment."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # its mode is 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def advice(made: Made) -> str:
    """Tell what was made, and what to do with it."""
    first = made.names[0].replace("*", "proxy", 1)
    host = f"[{first}]" if ":" in first else first
    files, authority = made.directory, made.directory / "ca.pem"
    everywhere = "0.0.0.0" if set(made.names) - _HERE else "127.0.0.1"
    return _ADVICE.format(
        names=", ".join(made.names),
        ends=f"{made.ends:%Y-%m-%d %H:%M} UTC",
        authority=authority,
        trusted="new: clients must be made to trust it" if made.new_authority else "as before",
        certificate=files / "proxy.pem",
        key=files / "proxy-key.pem",
        authority_key=files / "ca-key.pem",
        listen=f"https://{everywhere}:8443",
        url=f"https://{host}:8443/api/v1",
    )
