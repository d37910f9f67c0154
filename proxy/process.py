"""The proxy as a process: what it asks of the system, and the signals that it obeys."""

import asyncio
import io
import resource
import signal
from collections.abc import Callable
from contextlib import suppress

from proxy import config
from proxy.app import App
from proxy.budget import examine_store
from proxy.clock import LoopClock
from proxy.material import read_all, shown
from proxy.observability import Observability


def open_files(settings: config.Settings) -> int:
    """Return how many files the proxy may have open at the most, connections included."""
    upward = 2 * settings.upstream.max_connections
    return settings.listen.max_connections + upward + settings.queue.size + 64


def allow_open_files(settings: config.Settings) -> str | None:
    """Raise this process's own limit on open files, which shells set to 1024; say if it is not enough."""
    wanted = open_files(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    with suppress(OSError, ValueError):
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    if soft >= wanted:
        return None
    advice = "Raise the limit (ulimit -n, LimitNOFILE), or lower listen.max_connections."
    return f"The system allows {soft} open files, and up to {wanted} may be needed. {advice}"


async def verify(settings: config.Settings) -> str:
    """Read the files that the settings name, as `serve` would, and try the store. Raises `StartError`.

    Return the settings as TOML, without the secrets that were read, wherever they stand.
    """
    reader = Observability(settings, LoopClock(), io.StringIO()).secrets
    read_all(settings, reader)
    if settings.redis.shared:
        await examine_store(settings.redis, reader)
    return shown(settings, reader)


async def serve(load: Callable[[], config.Settings]) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends the draining. SIGHUP loads settings anew.

    Raises `StartError`, and what `load` raises the first time.
    """
    settings = load()
    shortage = allow_open_files(settings)
    app = App(settings)
    await app.start()
    if shortage is not None:
        app.warn_of_files(shortage)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.reload, load)
    probe = asyncio.create_task(app.warn_if_unreachable())
    await signalled()
    draining = asyncio.create_task(app.stop(grace=app.settings.listen.grace))
    impatient = asyncio.create_task(signalled())
    await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
    app.hurry()
    impatient.cancel()
    probe.cancel()
    await asyncio.gather(draining, impatient, probe, return_exceptions=True)


async def signalled() -> None:
    """Return at the next SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived.set)
    await arrived.wait()
