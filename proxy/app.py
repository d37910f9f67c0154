"""The composition root: settings become objects, objects become running listeners; start and drain.

Nothing is decided here. Who gives whom what is read off `App._build`.
"""

import asyncio
import errno
import io
import random
import secrets
import signal
import sys
from contextlib import suppress
from typing import TextIO

from aiohttp import web

import proxy
from proxy import config
from proxy.adapters.body import Spools
from proxy.adapters.local_ledger import LocalLedger
from proxy.adapters.upstream import Upstream
from proxy.admin.handlers import Admin
from proxy.admission import Admission
from proxy.clock import LoopClock
from proxy.config_report import effective
from proxy.config_values import parse_address
from proxy.errors import UpstreamError
from proxy.events import Events, LifecycleChanged
from proxy.forwarder import Forwarder
from proxy.front import Front
from proxy.listener import Handler, Listener, Refusing
from proxy.pacing import Pacing
from proxy.policy.credentials import Credentials
from proxy.policy.limits import LimitTable
from proxy.policy.routes import RouteTable
from proxy.state import LimitState, State
from proxy.telemetry.logs import Logs, configure, quiet_stdlib
from proxy.telemetry.metrics import Metrics

_LAST_WORDS = 1.0
"""Seconds that the answers to those who are cut off may take."""


class StartError(Exception):
    """The proxy cannot start; the message says why and what to do."""


class App:
    """One running proxy."""

    def __init__(self, settings: config.Settings, *, log_stream: TextIO | None = None) -> None:
        self.settings = settings
        self._clock = LoopClock()
        self._limits = LimitTable(settings.limits)
        self._metrics = Metrics(settings, version=proxy.__version__)
        self._logger = configure(settings.log, stream=log_stream or sys.stderr or io.StringIO())
        self._events = Events(self._metrics, Logs(self._logger))
        self._runners: list[web.ServerRunner] = []
        self._hurry = asyncio.Event()
        self.url = ""
        self.admin_url = ""

    async def start(self) -> None:
        """Bind both listeners. Raises `StartError`."""
        self._build()
        self._restore_stdlib = quiet_stdlib(self._logger)
        front, admin, listen = self._front, self._admin, self.settings.listen
        try:
            self.url = await self._listen(front.handle, front.malformed, listen.addresses[0], "--listen")
            self.admin_url = await self._listen(
                admin.handle, admin.malformed, listen.admin_address, "--admin-listen"
            )
        except BaseException:
            await self._close()
            raise
        self._events(LifecycleChanged("listening", f"{self.url} (metrics and status: {self.admin_url})"))

    def _build(self) -> None:
        settings, clock = self.settings, self._clock
        self._ledger = LocalLedger(
            self._limits, clock, transit=settings.upstream.transit, clock_drift=settings.upstream.clock_drift
        )
        self._admission = Admission(self._ledger, Pacing(settings.limits), settings.queue, clock)
        self._upstream = Upstream(settings.upstream, settings.headers)
        forwarder = Forwarder(
            self._admission,
            self._upstream,
            self._limits,
            retry=settings.retry,
            replay=settings.body.replay,
            clock=clock,
            chance=random.random,
            events=self._events,
        )
        self._front = Front(
            forwarder,
            new_spool=Spools(settings.body).new,
            new_id=lambda: secrets.token_hex(16),
            credentials=Credentials(settings.upstream.credential_headers, secrets.token_bytes(32)),
            routes=RouteTable(settings.metrics.routes),
            max_body=settings.body.max_size,
            longest_wait=settings.queue.longest_wait,
            clock=clock,
            events=self._events,
        )
        self._admin = Admin(
            render_metrics=self._metrics.render,
            state=self.state,
            ready=self.ready,
            effective=effective(settings),
            version=proxy.__version__,
        )

    async def _listen(self, handler: Handler, refuse: Refusing, address: str, option: str) -> str:
        host, port = parse_address(address)
        server = Listener(handler, refuse)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise StartError(_cannot_listen(error, address, option)) from error
        bound = runner.addresses[0]
        return f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"

    def ready(self) -> tuple[bool, str]:
        """Tell whether new requests are welcome, and why not."""
        return (False, "draining") if self._front.draining else (True, "serving")

    def state(self) -> State:
        """Return what the proxy is doing now."""
        left: dict[str, int] = {}
        paused: dict[str, float] = {}
        for lane, remaining, pause in self._ledger.lanes():
            left[lane.limit] = min(remaining, left.get(lane.limit, remaining))
            paused[lane.limit] = max(pause, paused.get(lane.limit, 0.0))
        queued: dict[str, int] = {}
        for lane, count in self._admission.line.depths():
            queued[lane.limit] = queued.get(lane.limit, 0) + count
        limits = tuple(
            LimitState(
                name=limit.name,
                capacity=limit.size,
                remaining=left.get(limit.name, limit.size),
                queued=queued.get(limit.name, 0),
                paused=paused.get(limit.name, 0.0) > 0,
            )
            for limit in self.settings.limits
        )
        return State(
            limits=limits,
            in_flight=self._front.in_flight,
            queued=len(self._admission.line),
            draining=self._front.draining,
            pauses={name: round(seconds, 3) for name, seconds in paused.items() if seconds > 0},
        )

    async def warn_if_unreachable(self) -> None:
        """Say so in the log when the upstream cannot be connected to; it may come later, so nothing stops."""
        try:
            await self._upstream.reach()
        except UpstreamError as error:
            advice = (
                "Check upstream.base_url (--upstream) and the network; meanwhile requests get a 502 or 504."
            )
            self._events(LifecycleChanged("upstream_unreachable", f"{error.detail} {advice}"))

    def hurry(self) -> None:
        """End a draining that is under way at once."""
        self._hurry.set()

    async def stop(self, *, grace: float) -> None:
        """Stop accepting, let what is under way finish within `grace` seconds, then leave."""
        front = self._front
        front.draining = True
        self._events(LifecycleChanged("draining", f"{front.in_flight} requests have {grace:g} s to finish"))
        for runner in self._runners[:1]:
            for site in list(runner.sites):
                await site.stop()
        await self._idle_or_hurry(grace)
        unfinished = front.in_flight
        await self._admission.close()  # who waits, for a turn or for a retry, gets an answer
        await asyncio.sleep(0)
        front.cut_off()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await front.idle.wait()
        await self._close()
        self._events(LifecycleChanged("stopped", f"{unfinished} requests were cut off"))

    async def _idle_or_hurry(self, grace: float) -> None:
        waits = [asyncio.ensure_future(self._front.idle.wait()), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        await self._upstream.close()
        self._restore_stdlib()


def _cannot_listen(error: OSError, address: str, option: str) -> str:
    reasons = {
        errno.EADDRINUSE: "another program uses this port. Stop it, or choose another",
        errno.EACCES: "this user may not use this port. Choose one above 1023",
        errno.EADDRNOTAVAIL: "this machine has no such address. Choose one of its own",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}. Choose another address")
    return f"Cannot listen on {address}: {reason}, with {option} HOST:PORT."


async def serve(settings: config.Settings) -> None:
    """Run until SIGTERM or SIGINT, then drain; a second signal ends the draining. Raises `StartError`."""
    app = App(settings)
    await app.start()
    probe = asyncio.create_task(app.warn_if_unreachable())
    await signalled()
    draining = asyncio.create_task(app.stop(grace=settings.listen.grace))
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
