"""What `avala-proxy cert` makes can be shown and believed, and nothing that is there comes to harm."""

import os
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy import certificates, config
from proxy.certificates import CannotMake, advice, make
from proxy.tls import Certificates

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def protect(path: Path) -> None:
    """Encrypt a key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )


def made(directory: Path, *names: str, force: bool = False, days: int = 30) -> certificates.Made:
    return make(directory, names or ("localhost",), days=days, force=force, now=NOW)


def leaf_of(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "proxy.pem").read_bytes())


def test_what_is_made_is_what_a_listener_can_show_and_its_clients_believe(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "tls"
    what = made(directory, "Proxy.Example.", "10.0.0.7", "[::1]", "*.internal.example", "10.0.0.7")
    assert what.names == ("proxy.example", "10.0.0.7", "::1", "*.internal.example")
    tls = config.Tls(certificate=str(directory / "proxy.pem"), key=str(directory / "proxy-key.pem"))
    watched = Certificates(
        tls, now=lambda: 0.0, wall=NOW.timestamp, told=lambda *told: pytest.fail(str(told))
    )
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VerifyFlags(0x200000)
    client.load_verify_locations(directory / "ca.pem")
    for name in ("proxy.example", "10.0.0.7", "::1", "any.internal.example"):
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = watched.context.wrap_bio(up, down, server_side=True)
        theirs = client.wrap_bio(down, up, server_hostname=name)
        for end in (theirs, ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
        assert theirs.version() == "TLSv1.3"
    assert leaf_of(directory).not_valid_after_utc == NOW + timedelta(days=30) == what.ends


def test_keys_are_their_owners_alone_and_the_rest_is_everybodys(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        made(tmp_path)
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca-key.pem": 0o600, "proxy.pem": 0o644, "proxy-key.pem": 0o600}


def test_an_authority_that_is_there_signs_again_so_that_clients_need_nothing_new(tmp_path: Path) -> None:
    assert made(tmp_path).new_authority
    authority = (tmp_path / "ca.pem").read_bytes(), (tmp_path / "ca-key.pem").read_bytes()
    first = leaf_of(tmp_path)
    assert not made(tmp_path, "other.example", force=True).new_authority
    assert ((tmp_path / "ca.pem").read_bytes(), (tmp_path / "ca-key.pem").read_bytes()) == authority
    second = leaf_of(tmp_path)
    assert second.serial_number != first.serial_number
    second.verify_directly_issued_by(x509.load_pem_x509_certificate(authority[0]))


@pytest.mark.parametrize("name", ["proxy.pem", "proxy-key.pem"])
def test_a_certificate_that_is_there_is_replaced_by_force_only(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(CannotMake, match=f"{name} exists already. Replace it with --force, or choose"):
        made(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
    made(tmp_path, force=True)
    assert "PEM" not in (tmp_path / name).read_text()
    assert "precious" not in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "can't stand in a certificate"),
        ("https://proxy.example", "without scheme and port"),
        ("proxy.example:8443", "without scheme and port"),
        ("me@example.com", "can't stand in a certificate"),
        ("10.0.0.0/8", "can't stand in a certificate"),
        ("256.1.1.1", "can't stand in a certificate"),
        ("bad_name", "No certificate can be made"),
        ("*", "can't stand in a certificate"),
        ("*.*.example", "can't stand in a certificate"),
        ("*.example", "is too wide"),
        ("*.10.0.0.1", "no address that clients connect to"),
        ("0.0.0.0", "no address that clients connect to"),
        ("::", "no address that clients connect to"),
        ("224.0.0.1", "no address that clients connect to"),
        ("fe80::1%eth0", "no address that clients connect to"),
    ],
)
def test_a_name_that_no_client_would_accept_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(CannotMake) as refused:
        made(tmp_path / "tls", "localhost", name)
    assert said in str(refused.value)
    assert not list(tmp_path.glob("tls/*"))


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem"])
def test_half_an_authority_is_not_replaced(tmp_path: Path, lost: str) -> None:
    made(tmp_path)
    (tmp_path / lost).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CannotMake, match=f"{lost} is missing beside the other of the two. Put the right"):
        made(tmp_path, force=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", ["of others", "mixed", "garbled", "protected"])
def test_an_authority_that_is_not_ours_signs_nothing(tmp_path: Path, kind: str) -> None:
    other = trustme.CA(organization_name="avala-proxy" if kind == "mixed" else "Bank")
    made(tmp_path)
    if kind == "of others":
        other.cert_pem.write_to_path(tmp_path / "ca.pem")
    if kind in ("of others", "mixed"):
        other.private_key_pem.write_to_path(tmp_path / "ca-key.pem")
    elif kind == "garbled":
        (tmp_path / "ca.pem").write_text("garbled")
    else:
        protect(tmp_path / "ca-key.pem")
    with pytest.raises(CannotMake, match="no authority that avala-proxy made"):
        made(tmp_path, force=True)


def test_a_directory_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            CannotMake, match=r"Cannot write to .* Choose a directory of your own, with --dir"
        ):
            made(directory)


def test_what_fails_in_the_middle_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "proxy.pem").mkdir()
    with pytest.raises(CannotMake, match="Is a directory"):
        made(tmp_path, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        "ca.pem",
        "ca-key.pem",
        "proxy-key.pem",
        "proxy.pem",
    }
    shutil.rmtree(tmp_path / "proxy.pem")
    assert not made(tmp_path, force=True).new_authority


@pytest.mark.parametrize(
    ("names", "listen", "url"),
    [
        (("localhost", "::1"), "https://127.0.0.1:8443", "https://localhost:8443/api/v1"),
        (("10.0.0.7",), "https://0.0.0.0:8443", "https://10.0.0.7:8443/api/v1"),
        (("fd00::7", "localhost"), "https://0.0.0.0:8443", "https://[fd00::7]:8443/api/v1"),
        (("*.in.example",), "https://0.0.0.0:8443", "https://proxy.in.example:8443/api/v1"),
    ],
)
def test_the_advice_names_the_files_where_to_listen_and_how_clients_trust_it(
    tmp_path: Path, names: tuple[str, ...], listen: str, url: str
) -> None:
    said = advice(made(tmp_path, *names))
    ca, pem, key = tmp_path / "ca.pem", tmp_path / "proxy.pem", tmp_path / "proxy-key.pem"
    for line in (
        f"--listen {listen}",
        f"--tls-certificate {pem} --tls-key {key}",
        f'addresses = ["{listen}"]',
        f'certificate = "{pem}"',
        f'key = "{key}"',
        f"export AVALA_BASE_URL={url}",
        f"SSL_CERT_FILE={ca}",
        f"REQUESTS_CA_BUNDLE={ca}",
        f"NODE_EXTRA_CA_CERTS={ca}",
        f"curl --cacert {ca} {url}/datasets/",
        "trying out and for internal use",
        f"Whoever has {tmp_path / 'ca-key.pem'}",
        "guard it, or delete it",
    ):
        assert line in said
    assert "clients must be made to trust it" in said
    assert "as before" in advice(made(tmp_path, *names, force=True))
