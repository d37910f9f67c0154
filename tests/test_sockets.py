"""Places are bound, served and given back; a path that is somebody else's is left alone."""

import asyncio
import errno
import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from proxy import config, sockets
from proxy.config_places import Place, parse_place
from proxy.sockets import CannotListen, Sockets, try_place

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Make = Callable[..., Sockets]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Sockets] = []

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response(text="served")

    def make(**settings: object) -> Sockets:
        made.append(Sockets(web.Server(handle, access_log=None), config.Listen.model_validate(settings)))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def ask(url: str) -> bytes:
    """Send one request to a place, and return what it says."""
    if url.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(url.removeprefix("unix:"))
    else:
        host, _, port = url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(GET)
    said = await reader.readuntil(b"served")
    writer.close()
    await writer.wait_closed()
    return said


def at(path: Path) -> Place:
    return parse_place(f"unix:{path}")


def abandoned(path: Path) -> None:
    """Leave a socket that nobody answers, as a killed program does."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def refusal(doors: Sockets, place: Place) -> str:
    with pytest.raises(CannotListen) as refused:
        await doors.open(place)
    return str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_any_free_port_is_told_by_its_number(make: Make, host: str) -> None:
    (url,) = await make().open(parse_place(f"{host}:0"))
    assert url.startswith(f"http://{host}:")
    assert not url.endswith(":0")
    assert b"200 OK" in await ask(url)


async def test_all_addresses_of_a_name_get_the_same_port(make: Make) -> None:
    urls = await make().open(parse_place("localhost:0"))
    assert len({url.rpartition(":")[2] for url in urls}) == 1
    for url in urls:
        assert b"200 OK" in await ask(url)


async def test_one_server_is_in_several_places_at_once(make: Make, tmp_path: Path) -> None:
    doors = make()
    for place in (parse_place("127.0.0.1:0"), parse_place("127.0.0.1:0"), at(tmp_path / "s")):
        (url,) = await doors.open(place)
        assert b"200 OK" in await ask(url)


async def test_a_port_that_is_taken_is_refused_and_what_was_bound_is_given_back(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = parse_place(f"127.0.0.1:{taken.getsockname()[1]}")
        assert "another program uses this port" in await refusal(make(), place)
    (url,) = await make().open(place)
    assert b"200 OK" in await ask(url)


async def test_an_address_of_another_machine_is_refused(make: Make) -> None:
    assert "no such address" in await refusal(make(), parse_place("192.0.2.1:0"))


async def test_a_name_without_an_address_is_refused(make: Make) -> None:
    # An interface that does not exist: the resolver knows that without asking the network.
    assert "no address is known" in await refusal(make(), Place("http", "fe80::1%nowhere", 0))


def test_of_the_addresses_of_a_name_those_are_bound_that_this_machine_has() -> None:
    here, elsewhere = (socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("192.0.2.1", 0))
    (one,) = sockets._bind_all([elsewhere, here], 0)
    one.close()


def test_any_free_port_is_the_same_on_all_addresses_of_a_name() -> None:
    bound = sockets._bind_all([(socket.AF_INET, (host, 0)) for host in ("127.0.0.1", "127.0.0.2")], 0)
    names = [one.getsockname() for one in bound]
    for one in bound:
        one.close()
    assert [name[0] for name in names] == ["127.0.0.1", "127.0.0.2"]
    assert names[0][1] == names[1][1] != 0


def test_when_one_address_of_a_name_is_taken_the_others_are_given_back() -> None:
    addresses = [(socket.AF_INET, (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            sockets._bind_all(addresses, port)
        socket.create_server(("127.0.0.1", port)).close()


def test_a_path_that_is_taken_in_the_last_moment_is_no_ones_loss(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    umask = os.umask(0o022)
    with pytest.raises(OSError, match="in use"):
        sockets._bind_unix(tmp_path / "s", 0o600)
    assert os.umask(umask) == 0o022
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    ("place", "number", "said"),
    [
        (Place("http", "x", 80), errno.EACCES, "this user may not use this port"),
        (Place("unix", path="/x"), errno.EACCES, "may not make files in its directory"),
        (Place("unix", path="/x"), errno.EROFS, "Read-only file system. Choose another place"),
    ],
)
def test_what_the_system_refuses_is_told_in_words(place: Place, number: int, said: str) -> None:
    assert said in sockets._reason(OSError(number, os.strerror(number)), place)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("mode", ["0660", "600", "0777"])
async def test_the_mode_is_the_configured_one_whatever_the_umask(
    make: Make, tmp_path: Path, umask: int, mode: str
) -> None:
    before = os.umask(umask)
    try:
        await make(unix_mode=mode).open(at(tmp_path / "s"))
    finally:
        found = os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == int(mode, 8)
    assert found == umask


async def test_a_socket_that_nobody_answers_is_replaced(make: Make, tmp_path: Path) -> None:
    abandoned(tmp_path / "s")
    (url,) = await make().open(at(tmp_path / "s"))
    assert b"200 OK" in await ask(url)


async def test_a_socket_that_is_answered_is_left_alone(make: Make, tmp_path: Path) -> None:
    (url,) = await make().open(at(tmp_path / "s"))
    second = make()
    assert "another program listens there" in await refusal(second, at(tmp_path / "s"))
    await second.close()
    assert b"200 OK" in await ask(url)


async def test_a_socket_with_a_full_line_of_callers_is_answered(make: Make, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as caller:
        busy.bind(path)
        busy.listen(0)
        caller.connect(path)
        assert "another program listens there" in await refusal(make(), at(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()


async def test_a_socket_of_another_kind_is_left_alone(make: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "s"))
        assert "another program listens there" in await refusal(make(), at(tmp_path / "s"))


@pytest.mark.parametrize("kind", ["file", "directory", "link to nowhere", "link to a socket"])
async def test_what_is_no_socket_is_never_touched(make: Make, tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "s", tmp_path / "target"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        if kind == "link to a socket":
            abandoned(target)
        path.symlink_to(target)
    before = path.lstat(), names(tmp_path)
    assert "a file that is no socket is there" in await refusal(make(), at(path))
    assert (path.lstat(), names(tmp_path)) == before


@pytest.mark.parametrize(("parent", "said"), [("missing", "does not exist"), ("file", "is none")])
async def test_a_path_in_no_directory_is_refused(make: Make, tmp_path: Path, parent: str, said: str) -> None:
    (tmp_path / "file").write_text("")
    assert said in await refusal(make(), at(tmp_path / parent / "s"))


async def test_of_two_that_start_at_once_one_has_the_path(make: Make, tmp_path: Path) -> None:
    abandoned(tmp_path / "s")
    ends = await asyncio.gather(*(make().open(at(tmp_path / "s")) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(end, CannotListen) for end in ends) == 4
    assert b"200 OK" in await ask(f"unix:{tmp_path / 's'}")


async def test_a_proxy_that_is_starting_in_the_directory_is_waited_for(make: Make, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    opening = asyncio.create_task(make().open(at(tmp_path / "s")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not (tmp_path / "s").exists()
    os.close(descriptor)
    assert b"200 OK" in await ask((await opening)[0])


async def test_the_socket_goes_at_the_end_and_everything_else_in_its_directory_stays(
    make: Make, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("precious")
    doors = make()
    await doors.open(at(tmp_path / "s"))
    assert names(tmp_path) == ["other", "s"]
    doors.shut()
    assert names(tmp_path) == ["other"]


async def test_a_socket_that_somebody_put_in_place_of_ours_stays(make: Make, tmp_path: Path) -> None:
    ours = make()
    await ours.open(at(tmp_path / "s"))
    (tmp_path / "s").unlink()
    (url,) = await make().open(at(tmp_path / "s"))
    await ours.close()
    assert b"200 OK" in await ask(url)


async def test_a_socket_that_is_gone_is_no_reason_to_fail(make: Make, tmp_path: Path) -> None:
    doors = make()
    await doors.open(at(tmp_path / "s"))
    (tmp_path / "s").unlink()
    doors.shut()
    doors.shut()


async def test_hundreds_may_call_before_one_is_accepted(make: Make, tmp_path: Path) -> None:
    await make().open(at(tmp_path / "s"))
    callers = [socket.socket(socket.AF_UNIX) for _ in range(400)]
    for caller in callers:  # no turn of the event loop in here: nobody is accepted
        caller.setblocking(False)
    try:
        assert {caller.connect_ex(str(tmp_path / "s")) for caller in callers} == {0}
    finally:
        for caller in callers:
            caller.close()


async def test_who_is_connected_stays_when_nobody_is_accepted_any_more_and_leaves_at_the_end(
    make: Make,
) -> None:
    doors = make()
    (url,) = await doors.open(parse_place("127.0.0.1:0"))
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await reader.readuntil(b"served")
    doors.shut()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await reader.readuntil(b"served")
    await doors.close()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


# A place that is only looked at.


async def test_a_free_place_is_tried_and_left_as_it_was(make: Make, tmp_path: Path) -> None:
    (url,) = await make().open(parse_place("127.0.0.1:0"))
    abandoned(tmp_path / "dead")
    for place in (parse_place("127.0.0.1:0"), at(tmp_path / "new"), at(tmp_path / "dead")):
        await try_place(place)
    assert names(tmp_path) == ["dead"]
    assert b"200 OK" in await ask(url)


async def test_a_place_that_is_taken_is_told_from_one_that_is_of_no_use(make: Make, tmp_path: Path) -> None:
    doors = make()
    (url,) = await doors.open(parse_place("127.0.0.1:0"))
    await doors.open(at(tmp_path / "s"))
    (tmp_path / "file").touch()
    for place, taken in (
        (parse_place(url.removeprefix("http://")), True),
        (at(tmp_path / "s"), True),
        (at(tmp_path / "file"), False),
        (at(tmp_path / "file" / "s"), False),
        (at(tmp_path / "missing" / "s"), False),
        (parse_place("192.0.2.1:0"), False),
    ):
        with pytest.raises(CannotListen) as refused:
            await try_place(place)
        assert refused.value.taken is taken, place
    assert b"200 OK" in await ask(f"unix:{tmp_path / 's'}")
