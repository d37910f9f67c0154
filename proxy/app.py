"""The composition root: settings become objects, objects become running listeners; start and drain.

Nothing is decided here. Who gives whom what is read off `App._build`.
"""

import asyncio
import io
import random
import secrets
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from pydantic import SecretStr

import proxy
from proxy import config
from proxy.adapters.body import Spools
from proxy.adapters.local_ledger import LocalLedger
from proxy.adapters.secret_files import SecretFile
from proxy.adapters.upstream import Upstream
from proxy.admin.handlers import Admin
from proxy.admission import Admission
from proxy.alive import Alive
from proxy.clock import LoopClock
from proxy.coalescing import Coalescing
from proxy.config_places import parse_place
from proxy.config_report import effective
from proxy.config_values import SHORTEST_TOKEN, authority
from proxy.errors import UpstreamError
from proxy.events import Events, LifecycleChanged
from proxy.forwarder import Forwarder
from proxy.front import Front
from proxy.links import Localiser
from proxy.listener import Listener
from proxy.observation import Observation
from proxy.pacing import Pacing
from proxy.policy.access import Access
from proxy.policy.alike import Alike
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.limits import LimitTable
from proxy.policy.routes import RouteTable
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.sockets import CannotListen, Sockets
from proxy.state import State
from proxy.telemetry.logs import Logs, configure, quiet_stdlib
from proxy.telemetry.metrics import Metrics
from proxy.tls import Certificates, Unusable

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
        self._doors: list[Sockets] = []
        self._hurry = asyncio.Event()
        self.url = ""
        self.admin_url = ""

    async def start(self) -> None:
        """Listen in every place. Raises `StartError`."""
        tls = self._tls()
        self._build()
        self._restore_stdlib = quiet_stdlib(self._logger)
        front, admin, listen = self._front, self._admin, self.settings.listen
        try:
            urls = await self._listen(
                Listener(front.handle, front.refuse, listen), listen.addresses, "--listen", tls
            )
            (self.admin_url, *_) = await self._listen(
                Listener(admin.handle, admin.refuse, listen), [listen.admin_address], "--admin-listen"
            )
        except BaseException:
            await self._close()
            raise
        self.url = urls[0]
        where = f"{', '.join(urls)} (metrics and status: {self.admin_url})"
        self._events(LifecycleChanged("listening", where))
        if self.settings.queue.observe:
            said = "Nothing is held back (queue.observe): the API's limits can be exceeded."
            self._events(LifecycleChanged("observing", said))

    def read_files(self) -> None:
        """Read certificates, keys and tokens; raises `StartError`."""
        self._tls()
        self._access()

    def _tls(self) -> ssl.SSLContext | None:
        settings, clock = self.settings.listen, self._clock
        if not any(place.scheme == "https" for place in settings.places):
            return None
        try:
            return Certificates(
                settings.tls,
                now=clock.now,
                wall=clock.wall,
                told=lambda state, detail: self._events(LifecycleChanged(state, detail)),
            ).context
        except Unusable as error:
            raise StartError(f"Cannot serve TLS: {error}") from error

    def _build(self) -> None:
        settings, clock = self.settings, self._clock
        self._ledger = LocalLedger(
            self._limits, clock, transit=settings.upstream.transit, clock_drift=settings.upstream.clock_drift
        )
        self._admission = self._make_admission()
        self._upstream = Upstream(settings.upstream, settings.headers)
        forwarder = Forwarder(
            self._admission,
            self._upstream,
            self._limits,
            self._make_coalescing(),
            retry=settings.retry,
            replay=settings.body.replay,
            clock=clock,
            chance=random.random,
            events=self._events,
        )
        routes = RouteTable(settings.metrics.routes)
        self._front = Front(
            self._reception(routes),
            forwarder,
            Localiser(settings.links, settings.upstream.base_url),
            Alive(settings.queue.interim, self._events),
            headers=settings.headers,
            send_timeout=settings.listen.send_timeout,
            routes=routes,
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

    def _make_admission(self) -> Admission:
        queue, pacing = self.settings.queue, Pacing(self.settings.limits)
        if queue.observe:
            return Observation(self._ledger, pacing, queue, self._clock, self._events)
        return Admission(self._ledger, pacing, queue, self._clock)

    def _make_coalescing(self) -> Coalescing:
        settings = self.settings.coalescing
        if self.settings.queue.observe:
            settings = settings.model_copy(update={"enabled": False, "routes": ()})
        alike = Alike(settings, forwarded=self.settings.headers.forwarded)
        return Coalescing(alike, settings.gather, self._clock)

    def _reception(self, routes: RouteTable) -> Reception:
        settings = self.settings
        public, upstream = settings.listen.public_url, settings.upstream
        urls = filter(None, (public, upstream.base_url))
        return Reception(
            settings,
            new_spool=Spools(settings.body).new,
            new_id=lambda: secrets.token_hex(16),
            rules=RequestRules(settings.listen, map(authority, urls)),
            arrivals=Arrivals(public, settings.listen.trusted_peers),
            access=self._access(),
            credentials=Credentials(upstream.credential_headers, secrets.token_bytes(32)),
            routes=routes,
            clock=self._clock,
        )

    def _access(self) -> Access:
        held = self.settings.credential
        return Access(
            self.settings.upstream.credential_headers,
            key=self._secret(held.value, held.file) if self.settings.holds_key else lambda: None,
            clients=[
                (client.name, self._secret(client.token, client.token_file, at_least=SHORTEST_TOKEN))
                for client in self.settings.clients
            ],
        )

    def _secret(self, value: SecretStr | None, path: str | None, *, at_least: int = 1) -> Callable[[], str]:
        if path is None:
            assert value is not None, "the settings have one or the other"
            return value.get_secret_value
        try:
            return SecretFile(
                path,
                now=self._clock.now,
                wall=self._clock.wall,
                told=lambda state, sentence: self._events(LifecycleChanged(state, sentence)),
                at_least=at_least,
            )
        except (OSError, ValueError) as error:
            raise StartError(str(error)) from error

    async def _listen(
        self, server: Listener, addresses: Sequence[str], option: str, tls: ssl.SSLContext | None = None
    ) -> list[str]:
        doors = Sockets(server, self.settings.listen, tls=tls)
        self._doors.append(doors)
        urls = []
        for address in addresses:
            place = parse_place(address)
            try:
                urls += await doors.open(place)
            except CannotListen as error:
                form = {"http": "HOST:PORT", "https": "https://HOST:PORT", "unix": "unix:/path"}[place.scheme]
                raise StartError(f"Cannot listen on {address}: {error}, with {option} {form}.") from error
        return urls

    def ready(self) -> tuple[bool, str]:
        """Tell whether new requests are welcome, and why not."""
        return (False, "draining") if self._front.draining else (True, "serving")

    def state(self) -> State:
        """Return what the proxy is doing now."""
        line = self._admission.line
        return State.of(
            self.settings.limits,
            [(lane.limit, left, pause) for lane, left, pause in self._ledger.lanes()],
            [(lane.limit, count) for lane, count in line.depths()],
            in_flight=self._front.in_flight,
            queued=len(line),
            draining=self._front.draining,
        )

    def warn_of_files(self, shortage: str) -> None:
        """Say in the log that the system allows too few open files."""
        self._events(LifecycleChanged("few_open_files", shortage))

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
        self._doors[0].shut()  # whoever watches is answered to the end
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
        for doors in self._doors:
            await doors.close()
        await self._upstream.close()
        self._restore_stdlib()
