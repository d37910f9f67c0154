"""The only place where it is known how what was spent is kept beyond the life of a process.

The file is replaced as a whole, so it is whole however the process ends; what is taken between two savings is
added to it, a line each. Nothing is synced to the disk: the end of the process is to be survived, not that of
the machine, and a file that a power cut left half is ignored like any other that makes no sense. No
credential is in it, but the secret that hashes them is.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from proxy.policy.feedback import LONGEST
from proxy.policy.limits import Lane
from proxy.policy.memory import Memory

_SCHEMA = 1
_LARGEST = 64 * 2**20
_LINKS_AND_PIPES = os.O_NOFOLLOW | os.O_NONBLOCK
"""Flags against what others may have put there: the former is not followed, the latter not waited for."""

_Whole = Annotated[int, Field(ge=0, le=10**18)]
_Moment = _Whole
"""Milliseconds since 1970: whole numbers are written three times as fast as fractions."""
_Moments = Annotated[list[_Moment], Field(fail_fast=True)]


@dataclass(frozen=True, slots=True)
class _KeptLane:
    limit: str
    key: str
    own: _Moments
    foreign: _Moments
    capacity: _Whole | None
    paused_until: _Moment | None


@dataclass(frozen=True, slots=True)
class _Versioned:
    """What can be read of any version; what is not known is left alone."""

    schema: _Whole


@dataclass(frozen=True, slots=True)
class _Kept(_Versioned):
    """What the file holds."""

    saved_at: _Moment
    secret: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    lanes: Annotated[list[_KeptLane], Field(fail_fast=True)]


_ANY_VERSION = TypeAdapter(_Versioned)
_THIS_VERSION = TypeAdapter(_Kept)
_ADDED = TypeAdapter(tuple[str, str, _Moment])
"""What was taken since: the limit, the key, and when it has been counted."""


class InUse(Exception):
    """Another process holds the file."""


class Unwritable(Exception):
    """The file can't be read or replaced where it is to be."""


class _Unusable(Exception):
    """The content makes no sense: says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What is kept: the secret (32 bytes) under which credentials are hashed, and what each lane knows."""

    secret: bytes
    lanes: Mapping[Lane, Memory]

    def __repr__(self) -> str:
        return f"<Saved {len(self.lanes)} lanes>"


class StateFile:
    """Read the file once, at the start, and replace it often; a lock keeps other processes out meanwhile.

    `wall` is seconds since 1970. `told` hears, with a sentence, of `state_file_ignored` or
    `state_file_exposed` at the opening; of `state_file_unwritable` and `state_file_writable` at each change.
    """

    def __init__(self, path: str, *, wall: Callable[[], float], told: Callable[[str, str], None]) -> None:
        self._path = path
        self._temporary = path + ".tmp"
        self._wall = wall
        self._told = told
        self._lock: int | None = None
        self._added_to: int | None = None
        self._spoiled = False
        self._failing = False

    def __repr__(self) -> str:
        return f"<StateFile {self._path}{' failing' if self._failing else ''}>"

    def open(self) -> Saved | None:
        """Lock the file, see that it can be replaced, and read it; None if there is nothing usable.

        Raises InUse or Unwritable, whose sentence names the path and what to do.
        """
        try:
            self._take()
            os.close(_create(self._temporary))
            os.unlink(self._temporary)  # noqa: PTH108 - the path is text, here and below
            content, mode = self._read()
        except BlockingIOError as error:
            holder = self._holder()
            self.close()
            advice = "give each its own state file."
            raise InUse(f"{self._path} is used by another avala-proxy{holder}: {advice}") from error
        except OSError as error:
            self.close()
            advice = "name a file in a directory where the proxy's user may write."
            raise Unwritable(f"{self._path} can't be used ({error.strerror}): {advice}") from error
        return None if content is None else self._understood(content, mode)

    def _take(self) -> None:
        self._lock = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT | _LINKS_AND_PIPES, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # the lock holds all the same, only its holder's number is not known
            os.ftruncate(self._lock, 0)
            os.write(self._lock, str(os.getpid()).encode())

    def _holder(self) -> str:
        number = os.read(self._lock, 20) if self._lock is not None else b""
        return f" (pid {number.decode()})" if number.isdigit() else ""

    def _read(self) -> tuple[bytes | None, int]:
        """Return content and mode. A link is not followed: what it points at was not meant to be replaced."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            return None, 0
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        with open(self._path, "rb", opener=_as_it_is) as file:
            # The room for as much as is asked for is taken beforehand, so no more is asked for than is there.
            return file.read(min(status.st_size, _LARGEST + 1)), stat.S_IMODE(status.st_mode)

    def _understood(self, content: bytes, mode: int) -> Saved | None:
        try:
            saved = _decode(content, self._wall() * 1000)
        except _Unusable as why:
            self._spoiled = True
            self._told(
                "state_file_ignored",
                f"{self._path} is ignored: {why}. What was spent before is not known; the first request of "
                f"each key goes alone. It is kept as {self._path}.ignored when the state is saved.",
            )
            return None
        if mode & 0o077:
            self._told(
                "state_file_exposed",
                f"{self._path} holds a secret and is open to others than its owner (mode {mode:04o}): "
                "when the state is saved, it gets mode 0600.",
            )
        return saved

    def save(self, saved: Saved) -> None:
        """Replace the file; that it can't be, and that it can again, is told and not raised."""
        try:
            with open(self._temporary, "wb", opener=lambda path, _: _create(path)) as file:
                file.write(_encode(saved, self._wall() * 1000))
            self._keep_spoiled()
            os.replace(self._temporary, self._path)  # noqa: PTH105
            self._leave()
            self._added_to = os.open(self._path, os.O_WRONLY | os.O_APPEND | _LINKS_AND_PIPES)
        except OSError as error:
            with suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108 - half of it may fill the disk
            if not self._failing:
                self._failing = True
                self._told(
                    "state_file_unwritable",
                    f"{self._path} can't be written ({error.strerror}), so a restart would spend again what "
                    "is spent now: see to the room on its disk, and to its directory.",
                )
        else:
            if self._failing:
                self._failing = False
                self._told("state_file_writable", f"{self._path} is written again.")

    def add(self, lanes: Iterable[Lane], counted_in: float) -> None:
        """Add what was just taken to what was saved; it has been counted in so many seconds.

        What can't be written is left to the next saving, which tells of it.
        """
        if self._added_to is not None:
            at = _moments((-counted_in,), self._wall() * 1000)[0]
            lines = "".join(f"\n{json.dumps((lane.limit, lane.key, at))}" for lane in lanes)
            with suppress(OSError):
                os.write(self._added_to, lines.encode())

    def _leave(self) -> None:
        if self._added_to is not None:
            os.close(self._added_to)
            self._added_to = None

    def _keep_spoiled(self) -> None:
        """Put aside what was ignored, once: it may be of a later version, to which one goes back."""
        if self._spoiled:
            self._spoiled = False
            with suppress(OSError):
                os.chmod(self._path, 0o600)  # noqa: PTH101
                os.replace(self._path, self._path + ".ignored")  # noqa: PTH105

    def close(self) -> None:
        """Let others have the file."""
        self._leave()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _create(path: str) -> int:
    """Open a new file, so that neither a planted link is followed nor another's mode and owner kept."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)  # noqa: PTH108
        return os.open(path, flags, 0o600)


def _as_it_is(path: str, flags: int) -> int:
    return os.open(path, flags | _LINKS_AND_PIPES)


def _encode(saved: Saved, now: float) -> bytes:
    lanes = [
        _KeptLane(
            lane.limit,
            lane.key,
            _moments(memory.own, now),
            _moments(memory.foreign, now),
            memory.capacity,
            ceil(now + memory.paused * 1000) if memory.paused > 0 else None,
        )
        for lane, memory in saved.lanes.items()
    ]
    return _THIS_VERSION.dump_json(_Kept(_SCHEMA, int(now), saved.secret.hex(), lanes))


def _moments(ages: Iterable[float], now: float) -> list[int]:
    """Round up: what became older than it is would come free too early."""
    return [at if (at := ceil(now - age * 1000)) > 0 else 0 for age in ages]


def _decode(content: bytes, now: float) -> Saved:
    if len(content) > _LARGEST:
        raise _Unusable("it is larger than 64 MiB")
    content, *added = content.split(b"\n")
    try:
        schema = _ANY_VERSION.validate_json(content, strict=True).schema
        if schema != _SCHEMA:
            raise _Unusable(f"it is of schema {schema}, which this version does not know")
        kept = _THIS_VERSION.validate_json(content, strict=True)
    except ValidationError as error:
        raise _Unusable(_why(error)) from None
    # Whatever the clock says, it is not before the saving: one that went back makes nothing younger.
    now = max(now, kept.saved_at)
    lanes = {Lane(lane.limit, lane.key): _memory(lane, now) for lane in kept.lanes}
    if len(lanes) != len(kept.lanes):
        raise _Unusable('its "lanes" has one twice')
    _add(lanes, added, now)
    return Saved(bytes.fromhex(kept.secret), lanes)


def _add(lanes: dict[Lane, Memory], added: list[bytes], now: float) -> None:
    for number, line in enumerate(added, 1):
        try:
            limit, key, at = _ADDED.validate_json(line, strict=True)
        except ValidationError:
            if number == len(added):
                return  # the disk was full in the middle of it
            raise _Unusable("a line that was added makes no sense") from None
        before = lanes.get(Lane(limit, key), Memory())
        lanes[Lane(limit, key)] = replace(before, own=(*before.own, (now - at) / 1000))


def _why(error: ValidationError) -> str:
    wrong = error.errors(include_url=False, include_input=False)[0]
    if wrong["type"] == "json_invalid":
        return "it is not JSON"
    where = ".".join(str(part) for part in wrong["loc"])
    return f'its "{where}" makes no sense ({wrong["msg"]})' if where else "it is no JSON object"


def _memory(lane: _KeptLane, now: float) -> Memory:
    resumes = now if lane.paused_until is None else lane.paused_until
    return Memory(
        tuple((now - at) / 1000 for at in lane.own),
        tuple(max(0.0, (now - at) / 1000) for at in lane.foreign),
        lane.capacity,
        min(max(0.0, (resumes - now) / 1000), LONGEST),
    )
