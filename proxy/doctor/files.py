"""The files that the settings name, and what the system allows: looked at, and left as they are."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

from proxy import config
from proxy.adapters.secret_files import SecretFile
from proxy.clock import Clock
from proxy.config_values import SHORTEST_TOKEN
from proxy.doctor.report import Finding, fail, failed, ok, skipped, warning
from proxy.process import allow_open_files, open_files
from proxy.tls import Certificates, Unusable

SECRETS, STATE, BODIES, CERTIFICATE, OPEN = (
    "secret files",
    "state file",
    "body directory",
    "certificate",
    "open files",
)

_SOON = 14.0
"""Days before its end at which a certificate is spoken of."""


def examine(settings: config.Settings, clock: Clock, uid: int) -> Iterator[Finding]:
    """Look at all of them; `uid` is the number of the user as whom the proxy runs."""
    yield from secrets(settings, clock, uid)
    yield state(settings.state)
    yield bodies(settings.body)
    yield certificate(settings.listen, clock)
    yield descriptors(settings)


def secrets(settings: config.Settings, clock: Clock, uid: int) -> Iterator[Finding]:
    """See that each secret file can be read, holds something fit, and is its owner's alone."""
    named = [(setting, path, least) for setting, path, least in _named(settings) if path is not None]
    if not named:
        yield skipped(SECRETS, "The settings name none.")
        return
    good = []
    for setting, path, least in named:
        found = _unreadable(setting, path, least, clock) or _exposed(setting, path, uid)
        if found is None:
            good.append(setting)
        else:
            yield found
    if good:
        yield ok(SECRETS, f"Readable, and closed to others: {', '.join(good)}.")


def _named(settings: config.Settings) -> Iterator[tuple[str, str | None, int | None]]:
    """Give each setting, its path, and the least length of the secret; None where PEM is held."""
    yield "credential.file", settings.credential.file, 1
    for number, client in enumerate(settings.clients):
        yield f"clients[{number}].token_file", client.token_file, SHORTEST_TOKEN
    yield "listen.admin_token_file", settings.listen.admin_token_file, SHORTEST_TOKEN
    yield "redis.password_file", settings.redis.password_file, 1
    yield "redis.secret_file", settings.redis.secret_file, SHORTEST_TOKEN
    yield "listen.tls.key", settings.listen.tls.key, None


def _unreadable(setting: str, path: str, least: int | None, clock: Clock) -> Finding | None:
    try:
        if least is None:
            Path(path).read_bytes()
        else:
            SecretFile(path, now=clock.now, wall=clock.wall, told=lambda *_: None, at_least=least)
    except (OSError, ValueError) as error:
        if least is not None:
            return failed(SECRETS, f"{setting} {error}", ": ")
        return fail(SECRETS, f"{setting} {path} can't be read.", "Let the proxy's user read it.")
    return None


def _exposed(setting: str, path: str, uid: int) -> Finding | None:
    """Warn of a file that others may read.

    A group may, where it is not the owner who runs this: a file of root's is lent to the proxy so.
    """
    status = Path(path).stat()
    lent = uid not in (status.st_uid, 0)
    open_to = stat.S_IMODE(status.st_mode) & (0o007 if lent else 0o077)
    if not open_to:
        return None
    who = " and ".join(["its group"] * bool(open_to & 0o070) + ["everybody"] * bool(open_to & 0o007))
    mode = stat.S_IMODE(status.st_mode)
    advice = f"chmod {'640' if lent else '600'} {path} (where it is mounted: its mode there, 0400)."
    return warning(SECRETS, f"{setting} {path} is open to {who} (mode {mode:04o}).", advice)


def state(settings: config.State) -> Finding:
    """See that the state file can be replaced, and is its owner's alone."""
    if settings.file is None:
        return skipped(STATE, "state.file is not set: after a restart, one request goes alone to find out.")
    path = Path(settings.file)
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)):
        advice = "Make it, and let the proxy's user write there; or change state.file."
        return fail(STATE, f"{path.parent} is no directory that this user may write to.", advice)
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ok(STATE, f"{path} can be made.")
    if not (stat.S_ISREG(mode) and os.access(path, os.R_OK)):
        advice = "Remove it, or give it to the proxy's user; or change state.file."
        return fail(STATE, f"{path} is no regular file that this user may read.", advice)
    if stat.S_IMODE(mode) & 0o077:
        detail = f"{path} holds a secret and is open to others (mode {stat.S_IMODE(mode):04o})."
        return warning(STATE, detail, f"chmod 600 {path}")
    return ok(STATE, f"{path} can be read and replaced, and is closed to others.")


def bodies(settings: config.Body) -> Finding:
    """See that a large request body can be put aside."""
    try:
        place = settings.directory or tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0")
        free = shutil.disk_usage(place).free
    except OSError as error:
        detail = f"No temporary file can be made ({error.strerror})."
        advice = "Set body.directory to a place where the proxy's user may write, with room."
        return fail(BODIES, detail, advice)
    if free < settings.max_size:
        detail = f"{place} has {_size(free)} free, and one body may have {_size(settings.max_size)}."
        return warning(
            BODIES,
            detail,
            "Make room there, or set body.directory to another place: such requests get a 507.",
        )
    return ok(BODIES, f"{place} has {_size(free)} free.")


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"


def certificate(settings: config.Listen, clock: Clock) -> Finding:
    """See that the proxy's own certificate can be shown, with its key, for a while to come."""
    if not any(place.scheme == "https" for place in settings.places):
        return skipped(CERTIFICATE, "No address begins with https://.")
    try:
        loaded = Certificates(settings.tls, now=clock.now, wall=clock.wall, told=lambda *_: None)
    except Unusable as error:
        return failed(CERTIFICATE, str(error), ". ")
    begins, ends = loaded.validity
    at, path = datetime.fromtimestamp(clock.wall(), UTC), settings.tls.certificate
    advice = "Put a new one there (`avala-proxy cert` makes one to try with); it is read without a restart."
    if at > ends:
        return fail(CERTIFICATE, f"{path} expired on {ends:%Y-%m-%d}, and clients refuse it.", advice)
    if at < begins:
        detail = f"{path} is good from {begins:%Y-%m-%d} on, and clients refuse it until then."
        return fail(CERTIFICATE, detail, f"If this machine's clock is right: {advice[0].lower()}{advice[1:]}")
    days = (ends - at).days
    detail = f"{path} fits its key, and is good until {ends:%Y-%m-%d} ({days} days)."
    return warning(CERTIFICATE, detail, advice) if days < _SOON else ok(CERTIFICATE, detail)


def descriptors(settings: config.Settings) -> Finding:
    """See that the system allows as many open files as connections may come; raises this process's limit."""
    shortage = allow_open_files(settings)
    if shortage is not None:
        detail, _, advice = shortage.partition(". ")
        return warning(OPEN, f"{detail}.", advice)
    soft, _ = getrlimit(RLIMIT_NOFILE)
    allowed = "any number" if soft == RLIM_INFINITY else str(soft)
    return ok(OPEN, f"The system allows {allowed}, and up to {open_files(settings)} may be needed.")
