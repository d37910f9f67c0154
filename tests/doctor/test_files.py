"""Files are looked at and left as they are: who can read them, what is in them, how much room there is."""

import os
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy import config
from proxy.doctor import files
from proxy.doctor.report import Finding, Result
from tests.doctor.fixtures import NOW, Standing, results

SECRET = "a-token-that-nobody-guesses"


def written(path: Path, content: str = SECRET, mode: int = 0o600) -> str:
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def secrets(uid: int | None = None, **settings: Any) -> list[Finding]:
    found = list(files.secrets(config.Settings(**settings), Standing(), os.geteuid() if uid is None else uid))
    assert all(SECRET not in finding.detail + finding.advice for finding in found)
    return found


# Secret files.


def test_where_no_file_holds_a_secret_there_is_nothing_to_see() -> None:
    assert results(secrets()) == [("secret files", "skipped")]


def test_all_that_are_as_they_should_be_are_one_line(tmp_path: Path) -> None:
    (found,) = secrets(
        credential={"file": written(tmp_path / "key")},
        clients=[{"name": "ci", "token_file": written(tmp_path / "ci")}],
        listen={"admin_token_file": written(tmp_path / "admin")},
        redis={"password_file": written(tmp_path / "p"), "secret_file": written(tmp_path / "s")},
    )
    assert found.result is Result.OK
    assert found.detail == (
        "Readable, and closed to others: credential.file, clients[0].token_file, listen.admin_token_file, "
        "redis.password_file, redis.secret_file."
    )


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o644, "its group and everybody"), (0o640, "its group"), (0o604, "everybody")],
)
def test_a_file_that_others_may_read_is_a_warning_with_the_command(
    tmp_path: Path, mode: int, who: str
) -> None:
    path = written(tmp_path / "key", mode=mode)
    (found,) = secrets(credential={"file": path})
    assert found.result is Result.WARNING
    assert found.detail == f"credential.file {path} is open to {who} (mode {mode:04o})."
    assert found.advice.startswith(f"chmod 600 {path} ")


def test_a_file_of_somebody_else_may_be_lent_to_a_group_but_not_to_everybody(tmp_path: Path) -> None:
    path, another = written(tmp_path / "key", mode=0o640), os.geteuid() + 1
    (found,) = secrets(another, credential={"file": path})
    assert found.result is Result.OK
    Path(path).chmod(0o644)
    (found,) = secrets(another, credential={"file": path})
    assert found.detail == f"credential.file {path} is open to everybody (mode 0644)."
    assert found.advice.startswith(f"chmod 640 {path} ")


def test_a_file_that_is_of_no_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    found = secrets(
        credential={"file": written(tmp_path / "key", " \n")},
        clients=[{"name": "ci", "token_file": written(tmp_path / "ci", "short")}],
        redis={"password_file": str(tmp_path / "missing")},
    )
    assert results(found) == [("secret files", "FAIL")] * 3
    assert [finding.detail.split(" ", 2)[2] for finding in found] == [
        "is empty.",
        "holds fewer than 16 characters.",
        "can't be read (No such file or directory).",
    ]
    assert found[0].advice == "Write the secret in it, on one line."


def test_the_key_of_the_certificate_is_a_secret_too(tmp_path: Path) -> None:
    key, certificate = written(tmp_path / "k.pem", mode=0o644), written(tmp_path / "c.pem")
    (found,) = secrets(listen={"tls": {"key": key, "certificate": certificate}})
    assert found.detail.startswith(f"listen.tls.key {key} is open to")
    settings = config.Settings(listen=config.Listen(tls=config.Tls(key=key, certificate=certificate)))
    (tmp_path / "k.pem").unlink()
    (found,) = files.secrets(settings, Standing(), os.geteuid())
    assert (found.result, found.advice) == (Result.FAIL, "Let the proxy's user read it.")


# The state file.


def test_without_a_state_file_nothing_is_remembered_and_that_is_said() -> None:
    assert files.state(config.State()).result is Result.SKIPPED


def test_a_state_file_that_can_be_made_or_replaced_is_fine_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert files.state(config.State(file=str(path))).detail == f"{path} can be made."
    assert list(tmp_path.iterdir()) == []
    written(path)
    assert files.state(config.State(file=str(path))).result is Result.OK
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_file_that_is_open_to_others_is_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path / "state.json", mode=0o644)
    found = files.state(config.State(file=path))
    assert (found.result, found.advice) == (Result.WARNING, f"chmod 600 {path}")


def test_a_state_file_that_can_not_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path, what in (
        (tmp_path / "no" / "state", "is no directory that"),
        (tmp_path / "link", "no regular file that"),
    ):
        found = files.state(config.State(file=str(path)))
        assert found.result is Result.FAIL
        assert what in found.detail


# Bodies.


def test_where_bodies_are_put_aside_there_is_room(tmp_path: Path) -> None:
    for body in (config.Body(), config.Body(directory=str(tmp_path), max_size=10)):
        found = files.bodies(body)
        assert found.result is Result.OK
        assert found.detail.endswith(" free.")
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_for_one_body_is_a_warning(tmp_path: Path) -> None:
    found = files.bodies(config.Body(directory=str(tmp_path), max_size=2**60))
    assert found.result is Result.WARNING
    assert "one body may have 1073741824 GiB." in found.detail


def test_a_place_where_no_file_can_be_made_is_told(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    body = config.Body(directory=str(place))
    place.rmdir()
    found = files.bodies(body)
    assert (found.result, found.detail) == (
        Result.FAIL,
        "No temporary file can be made (No such file or directory).",
    )


@pytest.mark.parametrize(
    ("count", "shown"), [(7, "7 bytes"), (2048, "2 KiB"), (100 * 2**20, "100 MiB"), (3 * 2**40, "3072 GiB")]
)
def test_sizes_are_rounded_down(count: int, shown: str) -> None:
    assert files._size(count) == shown


# The certificate.


def certified(tmp_path: Path, *, begins: float, ends: float) -> config.Listen:
    """Make a certificate that is good between these days from now, and settings that show it."""
    now = datetime.fromtimestamp(NOW, UTC)
    leaf = trustme.CA().issue_cert(
        "localhost", not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
    )
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "c.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "k.pem")
    tls = config.Tls(certificate=str(tmp_path / "c.pem"), key=str(tmp_path / "k.pem"))
    return config.Listen(addresses=("https://127.0.0.1:0",), tls=tls)


def test_without_tls_there_is_no_certificate_to_look_at() -> None:
    assert files.certificate(config.Listen(), Standing()).result is Result.SKIPPED


@pytest.mark.parametrize(
    ("begins", "ends", "result", "said"),
    [
        (-1, 100.5, "ok", "fits its key, and is good until 2027-04-25 (100 days)."),
        (-1, 13.5, "warning", "(13 days)"),
        (-10, -1, "FAIL", "expired on 2027-01-14, and clients refuse it."),
        (1, 10, "FAIL", "is good from 2027-01-16 on"),
    ],
)
def test_a_certificate_is_spoken_of_in_time(
    tmp_path: Path, begins: float, ends: float, result: str, said: str
) -> None:
    found = files.certificate(certified(tmp_path, begins=begins, ends=ends), Standing())
    assert found.result == result
    assert said in found.detail
    assert "avala-proxy cert" in found.advice or result == "ok"


def test_a_certificate_without_its_key_is_told(tmp_path: Path) -> None:
    listen = certified(tmp_path, begins=-1, ends=100)
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "k.pem")
    found = files.certificate(listen, Standing())
    assert found.result is Result.FAIL
    assert found.detail.endswith("do not belong together.")
    assert found.advice.startswith("Give the key that the certificate was made for")


# Open files.


def test_enough_open_files_are_fine_and_too_few_a_warning() -> None:
    few = config.Settings(
        listen=config.Listen(max_connections=1),
        upstream=config.Upstream(max_connections=1),
        queue=config.Queue(size=1),
    )
    found = files.descriptors(few)
    assert found.result is Result.OK
    assert found.detail.endswith("up to 68 may be needed.")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] != resource.RLIM_INFINITY:
        many = config.Settings(listen=config.Listen(max_connections=2**40))
        found = files.descriptors(many)
        assert found.result is Result.WARNING
        assert found.advice.startswith("Raise the limit (ulimit -n, LimitNOFILE)")


def test_all_of_them_are_looked_at_in_order() -> None:
    checks = [finding.check for finding in files.examine(config.Settings(), Standing(), 0)]
    assert checks == ["secret files", "state file", "body directory", "certificate", "open files"]
