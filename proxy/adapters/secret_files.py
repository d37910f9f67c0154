"""The only place where files with secrets are read: the held key, the tokens of clients and of the admin.

A secret file is watched by looking, at most once a second, when somebody asks for its content. The look is a
`stat`, and the file is one page at most, so both are done on the event loop.
"""

import os
import re
import stat
from collections.abc import Callable

_LARGEST = 4096
_BETWEEN = 1.0
_SETTLED = 1.0
"""Seconds for which a changed file must have been left alone: before, it may be half written."""

_VISIBLE = re.compile(rb"[!-~]+")

Identity = tuple[int, ...]


class SecretFile:
    """Hold the content of a file, and read it again when it has changed.

    `now` is monotonic seconds, `wall` seconds since 1970 (as the file's own times). `told` hears of each
    change once: `credential_reloaded` or `credential_unreadable`, and a sentence; `known` of each content
    before it is used. Raises OSError or ValueError, whose sentence names the path and what to do; nothing
    here ever repeats the content.
    """

    def __init__(
        self,
        path: str,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        told: Callable[[str, str], None],
        known: Callable[[str], None],
        at_least: int = 1,
    ) -> None:
        self._path = path
        self._now = now
        self._wall = wall
        self._told = told
        self._known = known
        self._at_least = at_least
        self._looked = now()
        self._complained: Identity | None = ()
        self._seen: Identity
        self._seen, self._content = self._read()

    def __call__(self) -> str:
        """Return the last good content, without the whitespace around it."""
        now = self._now()
        if now - self._looked >= _BETWEEN:
            self._looked = now
            self._look()
        return self._content

    def _look(self) -> None:
        """Read the file if it is another than the last one seen, and is not being written."""
        try:
            # Through links: Kubernetes renews a secret by turning one to another directory.
            status = os.stat(self._path)  # noqa: PTH116 - the path is text, and nothing else is done with it
        except OSError:
            status = None
        identity = _identity(status) if status else None
        if identity == self._seen or (status and abs(self._wall() - status.st_ctime) < _SETTLED):
            return
        try:
            self._seen, self._content = self._read()
        except (OSError, ValueError) as error:
            # Read again at each look, since what was wrong may pass without a trace; told once.
            if identity != self._complained:
                self._complained = identity
                self._told("credential_unreadable", f"{error} Until then the last good content is used.")
        else:
            self._complained = ()
            self._told("credential_reloaded", f"{self._path} has changed and was read again.")

    def _read(self) -> tuple[Identity, str]:
        try:
            # Not blocking: else a pipe put in the file's place would stop the whole proxy.
            with open(self._path, "rb", opener=_without_blocking) as file:
                status = os.fstat(file.fileno())
                regular = stat.S_ISREG(status.st_mode)
                content = file.read(2 * _LARGEST).strip() if regular else b""
        except OSError as error:
            advice = "put a file there that the proxy's user may read."
            raise OSError(f"{self._path} can't be read ({error.strerror}): {advice}") from error
        if not regular:
            raise ValueError(f"{self._path} is no regular file: put the secret in a file.")
        self._check(content)
        self._known(content.decode("ascii"))
        return _identity(status), content.decode("ascii")

    def _check(self, content: bytes) -> None:
        if not content:
            raise ValueError(f"{self._path} is empty: write the secret in it, on one line.")
        if len(content) > _LARGEST:
            raise ValueError(f"{self._path} is too long: write nothing but the secret in it, on one line.")
        if _VISIBLE.fullmatch(content) is None:
            raise ValueError(
                f"{self._path} holds more than one line of visible ASCII without spaces: "
                "write nothing but the secret in it."
            )
        if len(content) < self._at_least:
            raise ValueError(
                f"{self._path} holds fewer than {self._at_least} characters: "
                "write a longer secret in it, such as `openssl rand -hex 16` prints."
            )

    def __repr__(self) -> str:
        return f"<SecretFile {self._path}>"


def _without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _identity(status: os.stat_result) -> Identity:
    """Return what changes when a file is written, replaced, or made readable."""
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
