"""Files become what a TLS listener shows and demands, whatever happens to them."""

import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy import config, tls
from proxy.tls import Certificates, Unusable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TELLS = ("certificate_reloaded", "certificate_unusable")


class Files:
    """A certificate, its key, and the clients' authority, in a directory; and who watches them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ours = trustme.CA()
        self.theirs = trustme.CA()
        self.told: list[tuple[str, str]] = []
        self.now = 0.0
        self.put()

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def put(
        self, *, days: float = 30, begins: float = -1, certificate: bool = True, key: bool = True
    ) -> trustme.LeafCert:
        """Issue a new certificate, and put it or its key or both in place."""
        leaf = self.ours.issue_cert(
            "localhost", not_before=NOW + timedelta(days=begins), not_after=NOW + timedelta(days=days)
        )
        if certificate:
            leaf.cert_chain_pems[0].write_to_path(self.path("cert.pem"))
        if key:
            leaf.private_key_pem.write_to_path(self.path("key.pem"))
        return leaf

    def trust(self, authority: trustme.CA) -> None:
        authority.cert_pem.write_to_path(self.path("clients.pem"))

    def watched(self, *, client_ca: bool = False) -> Certificates:
        return Certificates(
            config.Tls(
                certificate=self.path("cert.pem"),
                key=self.path("key.pem"),
                client_ca=self.path("clients.pem") if client_ca else None,
            ),
            now=lambda: self.now,
            wall=NOW.timestamp,
            told=lambda state, sentence: self.told.append((state, sentence)),
        )

    def client(self, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """Make a client that believes us, and shows a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME: it is always noon here
        self.ours.configure_trust(context)
        if authority:
            authority.issue_cert("me@example.com").configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def shake(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let a client and a server shake hands in memory, exchange a byte each way, and return both ends."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname="localhost", session=session)
    steps: list[list[Callable[[], object]]] = [
        [theirs.do_handshake, lambda: theirs.read(1)],
        [ours.do_handshake, lambda: ours.write(b"x")],
    ]
    for _ in range(10):
        for end in steps:
            with suppress(ssl.SSLWantReadError):
                while end:
                    end[0]()
                    del end[0]
    assert steps == [[], []]
    return ours, theirs


def serial(server: ssl.SSLContext, client: ssl.SSLContext) -> object:
    shown = shake(server, client)[1].getpeercert()
    assert shown is not None
    return shown["serialNumber"]


def test_connections_are_modern_and_speak_http_1(files: Files) -> None:
    context = files.watched().context
    client = files.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    ours, _ = shake(context, client)
    assert (ours.version(), ours.selected_alpn_protocol(), ours.compression()) == (
        "TLSv1.3",
        "http/1.1",
        None,
    )
    assert ours.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert ours.context.options & ssl.OP_NO_RENEGOTIATION
    assert ours.context.verify_mode == ssl.CERT_NONE


def test_a_new_certificate_is_shown_after_a_second_and_not_looked_for_before(files: Files) -> None:
    context, client = files.watched().context, files.client()
    first = serial(context, client)
    files.put(days=60)
    files.now = 0.9
    assert serial(context, client) == first
    files.now = 1.1
    assert serial(context, client) != first
    assert files.told == [
        (
            "certificate_reloaded",
            f"{files.path('cert.pem')} is in force, and good until 2027-01-23 12:00 UTC.",
        )
    ]


def test_a_connection_that_has_begun_keeps_what_it_began_with(files: Files) -> None:
    context, client = files.watched().context, files.client()
    ours, theirs = shake(context, client)
    files.put()
    files.now = 2.0
    shake(context, client)
    theirs.write(b"still here")
    assert ours.read(100) == b"still here"


def test_links_that_lead_elsewhere_now_are_seen(files: Files, tmp_path: Path) -> None:
    """As Kubernetes does it: `..data` is a link to a directory, and is replaced by another in one step."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        files.put()
        for name in ("cert.pem", "key.pem"):
            (tmp_path / name).rename(tmp_path / version / name)
    (tmp_path / "..data").symlink_to("one")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    context, client = files.watched().context, files.client()
    first = serial(context, client)
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    files.now = 2.0
    assert serial(context, client) != first
    assert [state for state, _ in files.told] == ["certificate_reloaded"]


@pytest.mark.parametrize("fault", ["half-written", "mismatched", "missing", "empty", "clients.pem"])
def test_what_can_not_be_used_changes_nothing_and_is_told_once(files: Files, fault: str) -> None:
    files.trust(files.theirs)
    context, client = files.watched(client_ca=True).context, files.client(files.theirs)
    first = serial(context, client)
    path = Path(files.path("cert.pem"))
    if fault == "half-written":
        path.write_bytes(path.read_bytes()[:300])
    elif fault == "mismatched":
        files.put(key=False)
    elif fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    else:
        path = path.with_name(fault)
        path.write_text("no PEM")
    for files.now in (2.0, 4.0, 6.0):
        assert serial(context, client) == first
    ((state, sentence),) = files.told
    assert state == "certificate_unusable"
    assert str(path) in sentence
    assert "in force, until 2026-12-24 12:00 UTC, stays so" in sentence
    files.put()
    files.trust(files.theirs)
    files.now = 8.0
    assert serial(context, client) != first
    assert files.told[1][0] == "certificate_reloaded"


def test_files_that_change_while_they_are_read_are_read_again_at_the_next_look(files: Files) -> None:
    class Written(config.Tls):
        """Somebody writes the certificate while we read it."""

        def __getattribute__(self, name: str) -> object:
            if name == "client_ca" and writing:
                writing.pop()()
            return super().__getattribute__(name)

    writing: list[Callable[[], object]] = []
    watched = Certificates(
        Written(certificate=files.path("cert.pem"), key=files.path("key.pem")),
        now=lambda: files.now,
        wall=NOW.timestamp,
        told=lambda state, sentence: files.told.append((state, sentence)),
    )
    client = files.client()
    first = serial(watched.context, client)
    writing += [files.put, lambda: None]  # the first asks for it when it looks, the second when it has read
    Path(files.path("cert.pem")).touch()
    files.now = 2.0
    assert (serial(watched.context, client), files.told) == (first, [])
    files.now = 4.0
    assert serial(watched.context, client) != first
    assert [state for state, _ in files.told] == ["certificate_reloaded"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_does_not_outlive_the_authority_that_it_was_made_under(
    files: Files, version: ssl.TLSVersion
) -> None:
    files.trust(files.theirs)
    context, client = files.watched(client_ca=True).context, files.client(files.theirs)
    client.maximum_version = version
    session = shake(context, client)[1].session
    assert shake(context, client, session)[1].session_reused
    others = trustme.CA()
    files.trust(others)
    files.now = 2.0
    for old in (session, None):
        with pytest.raises(ssl.SSLError):
            shake(context, client, old)
    shake(context, files.client(others))


def test_a_client_without_a_certificate_is_refused_when_one_is_demanded(files: Files) -> None:
    files.trust(files.theirs)
    context = files.watched(client_ca=True).context
    shake(context, files.client(files.theirs))
    for stranger in (files.client(), files.client(trustme.CA())):
        with pytest.raises(ssl.SSLError):
            shake(context, stranger)


def damage(path: Path) -> None:
    """Leave the armour and break what is in it."""
    first, *inside, last = path.read_text().splitlines()
    path.write_text("\n".join([first, *("A" * len(line) for line in inside), last]))


def protect(path: Path) -> None:
    """Encrypt a key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("cert.pem", Path.unlink, "can't be read: No such file or directory"),
        ("key.pem", Path.unlink, "can't be read: No such file or directory"),
        ("clients.pem", Path.unlink, "can't be used: No such file or directory"),
        ("cert.pem", lambda path: path.write_text(""), "holds no certificate in PEM form"),
        ("key.pem", lambda path: path.write_bytes(b"\x30\x82\xff"), "holds no private key in PEM form"),
        ("clients.pem", lambda path: path.write_text("x"), "can't be used"),
        ("cert.pem", damage, "holds a damaged certificate"),
        ("key.pem", damage, "is damaged"),
        ("key.pem", protect, "is protected by a passphrase"),
        (
            "key.pem",
            lambda path: trustme.CA().private_key_pem.write_to_path(path),
            "do not belong together",
        ),
    ],
)
def test_a_file_that_can_not_be_used_at_the_start_is_named_with_what_to_do(
    files: Files, name: str, spoil: Callable[[Path], object], said: str
) -> None:
    files.trust(files.theirs)
    tls = config.Tls(
        certificate=files.path("cert.pem"), key=files.path("key.pem"), client_ca=files.path("clients.pem")
    )
    path = Path(files.path(name))
    secret = Path(files.path("key.pem")).read_text().splitlines()[1]
    spoil(path)
    with pytest.raises(Unusable) as unusable:
        Certificates(tls, now=lambda: 0.0, wall=NOW.timestamp, told=lambda *_: None)
    sentence = str(unusable.value)
    assert str(path) in sentence
    assert said in sentence
    assert "(listen.tls" in sentence
    assert secret not in sentence


@pytest.mark.parametrize(
    ("begins", "days", "said"),
    [(-9, -1, "expired on 2026-11-23 12:00 UTC"), (1, 9, "begins on 2026-11-25 12:00 UTC")],
)
def test_a_certificate_out_of_its_time_is_shown_but_told_of(
    files: Files, begins: int, days: int, said: str
) -> None:
    files.put(begins=begins, days=days)
    context = files.watched().context
    shake(context, files.client())
    ((state, sentence),) = files.told
    assert (state, said in sentence) == ("certificate_unusable", True)
    files.put(begins=begins, days=days)
    files.now = 2.0
    shake(context, files.client())
    assert [state for state, _ in files.told[1:]] == list(TELLS)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    begins=st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)),
    lasts=st.timedeltas(timedelta(seconds=1), timedelta(days=365 * 2000)),
)
def test_the_dates_of_a_certificate_are_those_that_it_was_given(
    files: Files, begins: datetime, lasts: timedelta
) -> None:
    leaf = files.ours.issue_cert("localhost", not_before=begins, not_after=begins + lasts)
    leaf.cert_chain_pems[0].write_to_path(files.path("cert.pem"))
    whole = [moment.replace(microsecond=0, tzinfo=UTC) for moment in (begins, begins + lasts)]
    assert list(tls._validity(files.path("cert.pem"))) == whole


def test_serving_does_not_load_what_makes_certificates() -> None:
    heavy = "{'cryptography', 'trustme'}"
    source = f"import sys, proxy.app; print({heavy} & {{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_from_when_to_when_a_certificate_is_good_is_told(files: Files) -> None:
    files.put(days=30, begins=-1)
    assert files.watched().validity == (NOW - timedelta(days=1), NOW + timedelta(days=30))
