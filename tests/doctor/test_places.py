"""Each place is free, or it is told who has it; nothing that is there is touched."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy import config
from proxy.config_places import Place, parse_place
from proxy.doctor import places
from proxy.doctor.report import Finding, Result
from proxy.doctor.running import Running


class Asked:
    """Answer as this proxy, or as nobody, and count the questions."""

    def __init__(self, running: Running | None = None) -> None:
        self.running = running
        self.places: list[Place] = []

    async def __call__(self, admin: Place) -> Running | None:
        self.places.append(admin)
        return self.running


async def found(*addresses: str, admin: str = "127.0.0.1:0", asked: Asked | None = None) -> list[Finding]:
    listen = config.Listen(addresses=addresses or ("127.0.0.1:0",), admin_address=admin)
    return await places.examine(listen, asked or Asked())


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def proxy_at(*addresses: str, ready: bool = True) -> Running:
    return Running("0.1.0", ready, "serving" if ready else "draining", tuple(map(parse_place, addresses)))


async def test_a_free_place_is_left_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    asked = Asked()
    findings = await found(free, f"unix:{tmp_path / 's'}", asked=asked)
    assert [finding.detail for finding in findings] == [
        f"{free} is free.",
        f"unix:{tmp_path / 's'} is free.",
        "127.0.0.1:0 is any free port.",
    ]
    assert [finding.check for finding in findings] == ["listen", "listen", "admin"]
    assert asked.places == []
    assert list(tmp_path.iterdir()) == []
    socket.create_server(("127.0.0.1", int(free.partition(":")[2]))).close()


async def test_what_runs_already_is_fine_and_is_asked_once(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        admin = f"127.0.0.1:{server.getsockname()[1]}"
        asked = Asked(proxy_at(taken))
        findings = await found(taken, admin=admin, asked=asked)
    assert [finding.detail for finding in findings] == [
        f"{taken} is in use by a running avala-proxy 0.1.0, ready.",
        f"{admin} is in use by a running avala-proxy 0.1.0, ready.",
    ]
    assert {finding.result for finding in findings} == {Result.OK}
    assert asked.places == [parse_place(admin)]


async def test_what_runs_and_is_not_ready_is_a_warning(taken: str) -> None:
    finding = (await found(taken, asked=Asked(proxy_at(taken, ready=False))))[0]
    assert finding.result is Result.WARNING
    assert finding.detail.endswith("not ready (draining).")


@pytest.mark.parametrize("running", [None, proxy_at("127.0.0.1:1")])
async def test_what_somebody_else_has_is_a_fail(taken: str, running: Running | None) -> None:
    finding = (await found(taken, asked=Asked(running)))[0]
    assert (finding.result, finding.detail) == (Result.FAIL, f"{taken} is in use by another program.")
    assert "with --listen." in finding.advice


async def test_the_admin_address_has_an_option_of_its_own(taken: str) -> None:
    finding = (await found(admin=taken))[1]
    assert finding.result is Result.FAIL
    assert "with --admin-listen." in finding.advice


async def test_an_address_that_this_machine_has_not_got_is_told() -> None:
    finding = (await found("192.0.2.1:8080"))[0]
    assert finding.detail == "192.0.2.1:8080: this machine has no such address."
    assert finding.advice == "Choose one of its own."


async def test_a_path_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = await found(
        f"unix:{tmp_path / 'file'}", f"unix:{tmp_path / 'file' / 's'}", f"unix:{tmp_path / 'no' / 's'}"
    )
    assert [finding.detail.partition(": ")[2] for finding in findings[:3]] == [
        "a file that is no socket is there.",
        "its directory is none.",
        "its directory does not exist.",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


async def test_a_socket_is_looked_at_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        finding = (await found(f"unix:{path}", asked=Asked(proxy_at(f"unix:{path}"))))[0]
        assert finding.detail == f"unix:{path} is in use by a running avala-proxy 0.1.0, ready."
        assert (await found(f"unix:{path}"))[0].result is Result.FAIL
    assert (await found(f"unix:{path}"))[0].detail == f"unix:{path} is free.", "`serve` replaces it"
    assert path.is_socket()
