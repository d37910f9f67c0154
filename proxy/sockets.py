"""The sockets on which the proxy listens: bound, served, and given back.

The only place that binds. A socket in the file system may be somebody's: one that is answered is left alone,
one that nobody answers is replaced, and what is no socket is never touched.
"""

import asyncio
import errno
import fcntl
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy import config
from proxy.config_places import Place

_BACKLOG = 1024
"""Connections that may wait to be accepted; the system may have a lower limit of its own."""

_GOODBYE = 1.0
"""Seconds that handlers may take at the end, and a client of TLS to confirm it."""

_PATIENCE = 100, 0.02
"""How often, and after how many seconds, a place in the file system is asked for that somebody else takes."""

_TCP = {
    errno.EADDRINUSE: "another program uses this port. Stop it, or choose another",
    errno.EACCES: "this user may not use this port. Choose one above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address. Choose one of its own",
}
_UNIX = {
    errno.ENOENT: "its directory does not exist. Make it, or choose another path",
    errno.ENOTDIR: "its directory is none. Choose another path",
    errno.EACCES: "this user may not make files in its directory. Choose another path",
    errno.EADDRINUSE: "something came there just now. Choose another path",
}

Identity = tuple[int, int, int]


class CannotListen(Exception):
    """A place can't be listened on; the message is the reason, and what to do.

    `taken` says that somebody listens there.
    """

    def __init__(self, reason: str, *, taken: bool = False) -> None:
        super().__init__(reason)
        self.taken = taken


class Sockets:
    """The listening sockets of one server, which may be in many places."""

    def __init__(
        self, server: web.Server, settings: config.Listen, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._server = server
        self._settings = settings
        self._tls = tls
        self._accepting: list[asyncio.Server] = []
        self._files: list[tuple[Path, Identity]] = []

    async def open(self, place: Place) -> list[str]:
        """Listen, and return the URLs: one for each address that a host's name stands for.

        Raises `CannotListen`. A place of the scheme `https` needs `tls`.
        """
        try:
            bound = await self._bind(place)
        except OSError as error:
            raise _refusal(error, place) from error
        for one in bound:
            await self._serve(one, self._tls if place.scheme == "https" else None)
        return [_url(place, one.getsockname()) for one in bound]

    def shut(self) -> None:
        """Accept nobody any more; who is connected stays. A socket's file goes, if it is still ours."""
        for path, identity in self._files:
            # Before the socket is closed: nobody takes a path while it is answered, so it can't be theirs.
            with suppress(OSError):
                if _identity(path) == identity:
                    path.unlink()
        for server in self._accepting:
            server.close()
        self._files, self._accepting = [], []

    async def close(self) -> None:
        """Accept nobody any more, and end every connection."""
        self.shut()
        await asyncio.sleep(0)  # a connection that was accepted just now is known after that
        self._server.pre_shutdown()
        await self._server.shutdown(_GOODBYE)

    async def _bind(self, place: Place) -> list[socket.socket]:
        if place.scheme != "unix":
            return await _bind_tcp(place.host, place.port)
        path = Path(place.path)
        async with _alone_in(path.parent):
            _make_way(path)
            bound = _bind_unix(path, int(self._settings.unix_mode, 8))
            self._files.append((path, _identity(path)))
        return [bound]

    async def _serve(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        patience = self._settings.head_timeout
        self._accepting.append(
            await loop.create_server(
                self._server,
                sock=bound,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=patience if tls else None,
                ssl_shutdown_timeout=_GOODBYE if tls else None,
            )
        )


async def try_place(place: Place) -> None:
    """See whether a place could be listened on now, and leave it as it was. Raises `CannotListen`."""
    try:
        if place.scheme == "unix":
            _try_path(Path(place.path))
            return
        for one in await _bind_tcp(place.host, place.port):
            one.close()
    except OSError as error:
        raise _refusal(error, place) from error


def _try_path(path: Path) -> None:
    if not stat.S_ISDIR(path.parent.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _abandoned(path)


async def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that a host stands for."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return _bind_all([(family, address) for family, *_, address in found], port)


def _bind_all(addresses: Sequence[tuple[int, Any]], port: int) -> list[socket.socket]:
    """Listen on these addresses, as far as this machine has them; port 0 becomes one free port for all."""
    bound: list[socket.socket] = []
    missing = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    with ExitStack() as undo:
        for family, (host, _, *rest) in addresses:
            try:
                one = socket.create_server((host, port, *rest), family=family, backlog=_BACKLOG)
            except OSError as error:
                # `localhost` stands for ::1 on machines without IPv6, too.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
                continue
            bound.append(undo.enter_context(one))
            port = one.getsockname()[1]
        if not bound:
            raise missing
        undo.pop_all()
    return bound


@asynccontextmanager
async def _alone_in(directory: Path) -> AsyncIterator[None]:
    """Keep other proxies from the paths of a directory: two that start at once would each replace the other.

    The lock is the directory's own (flock), so it leaves no file. Whoever holds it for long is no
    proxy, and is not waited for.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(_PATIENCE[0]):
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await asyncio.sleep(_PATIENCE[1])
        yield
    finally:
        os.close(descriptor)


def _make_way(path: Path) -> None:
    """Remove a socket that nobody answers; raises `CannotListen` at anything else."""
    if _abandoned(path):
        path.unlink()


def _abandoned(path: Path) -> bool:
    """Tell whether a socket is there that nobody answers. Anything else but nothing is `CannotListen`."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise CannotListen("a file that is no socket is there. Remove it, or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        refusal = probe.connect_ex(str(path))
    if refusal == errno.ECONNREFUSED:
        return True
    if refusal == errno.EACCES:
        raise CannotListen("a socket of another user is there. Remove it, or choose another path")
    # EAGAIN too: so many wait to be accepted that there is no room
    raise CannotListen("another program listens there. Stop it, or choose another path", taken=True)


def _bind_unix(path: Path, mode: int) -> socket.socket:
    """Listen on a path, where nothing is; its file has this mode from its first moment."""
    bound = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o777 & ~mode)
    try:
        bound.bind(str(path))
        bound.listen(_BACKLOG)
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(umask)
    return bound


def _identity(path: Path) -> Identity:
    """Tell a file from another that gets its path, and its inode's number too."""
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _url(place: Place, name: tuple[str, int] | str) -> str:
    if isinstance(name, str):
        return f"unix:{name}"
    host, port = name[:2]
    return f"{place.scheme}://[{host}]:{port}" if ":" in host else f"{place.scheme}://{host}:{port}"


def _refusal(error: OSError, place: Place) -> CannotListen:
    return CannotListen(_reason(error, place), taken=error.errno == errno.EADDRINUSE)


def _reason(error: OSError, place: Place) -> str:
    if isinstance(error, socket.gaierror):
        return "no address is known for this name. Choose one of this machine's"
    known = _UNIX if place.scheme == "unix" else _TCP
    return known.get(error.errno or 0, f"{error.strerror or error}. Choose another place")
