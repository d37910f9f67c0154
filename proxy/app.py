"""The composition root: settings become objects, objects become running listeners; start and drain.

Nothing is decided here. Who gives whom what is read off `App._build`.
"""

import asyncio
import io
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from aiohttp import web

import proxy
from proxy import config
from proxy.adapters.guard import Guard
from proxy.adapters.upstream import Upstream
from proxy.admin.changes import Changes
from proxy.admin.handlers import Admin
from proxy.admission import Admission
from proxy.assembly import Assembly
from proxy.budget import Budget
from proxy.clock import LoopClock
from proxy.config_places import parse_place
from proxy.config_reload import changes, taken_over
from proxy.config_report import ConfigError
from proxy.errors import Refusal, UpstreamError
from proxy.events import BreakerChanged, LifecycleChanged
from proxy.listener import Listener
from proxy.material import StartError, admin_token, certificates, shown
from proxy.observability import Observability
from proxy.observation import Observation
from proxy.pacing import Pacing
from proxy.policy.groups import Groups
from proxy.policy.routes import RouteTable
from proxy.readiness import Readiness
from proxy.sockets import CannotListen, Sockets
from proxy.state import BreakerState, LaneUse, State, limit_states, pauses
from proxy.traffic import Retiring, Traffic

_LAST_WORDS = 1.0
"""Seconds that the answers to those who are cut off may take."""


class App:
    """One running proxy."""

    def __init__(self, settings: config.Settings, *, log_stream: TextIO | None = None) -> None:
        self.settings = settings
        self._clock = LoopClock()
        stream = log_stream or sys.stderr or io.StringIO()
        self.observability = Observability(settings, self._clock, stream)
        self._events = self.observability.events
        self._secrets = self.observability.secrets
        self._traffic = Traffic()
        self._doors: list[Sockets] = []
        self._hurry = asyncio.Event()
        self._retiring = Retiring(self._traffic)
        self.url = ""
        self.admin_url = ""

    async def start(self) -> None:
        """Listen in every place. Raises `StartError`."""
        tls = certificates(self.settings.listen, self._secrets)
        self._build()
        admin, listen = self._admin, self.settings.listen
        try:
            self.observability.start(lambda: len(self._admission.line))
            await self._budget.start()
            urls = await self._listen(
                Listener(self._handle, self._refuse, listen), listen.addresses, "--listen", tls
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
        self._readiness.watch()
        if self.settings.queue.observe:
            said = "Nothing is held back (queue.observe): the API's limits can be exceeded."
            self._events(LifecycleChanged("observing", said))

    def _build(self) -> None:
        settings, clock, upstream = self.settings, self._clock, self.settings.upstream
        self._groups = Groups(settings.breaker, settings.retry)
        self._budget = Budget(settings, self._secrets)
        self._ledger = self._budget.ledger
        self._guard = Guard(self._ledger, self._groups, clock, self._breaker_changed)
        self._admission = self._make_admission()
        self._upstream = Upstream(upstream, settings.headers)
        self._readiness = Readiness(
            lambda: self._upstream.resolve(),
            self._groups,
            self._traffic,
            clock,
            self._events,
            shared=self._budget.trouble,
        )
        self._assembly = Assembly(
            clock,
            self._events,
            self._admission,
            self._groups,
            RouteTable(is_secret=self.observability.redaction.cuts),
            self._traffic,
            self._budget.secret,
            self._secrets,
            self.observability.tracing,
        )
        self._front = self._assembly.front(settings, self._upstream)
        self._admin = Admin(
            render_metrics=self.observability.metrics_page,
            state=self.state,
            callers=self._admission.callers,
            recent=self.observability.recent,
            ready=self._readiness.now,
            changes=self._changes(),
            effective=shown(settings, self._secrets),
            version=proxy.__version__,
        )

    def _changes(self) -> Changes:
        return Changes(
            breakers=lambda: self.state().breakers,
            force=lambda group, opened: self._guard.force(group, opened=opened),
            level=self.observability.log_level,
            set_level=self.observability.set_log_level,
            token=admin_token(self.settings.listen, self._secrets),
        )

    def _make_admission(self) -> Admission:
        queue, pacing = self.settings.queue, Pacing(self.settings.limits)
        if queue.observe:
            return Observation(self._ledger, pacing, queue, self._clock, self._events)
        return Admission(self._guard, pacing, queue, self._clock)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        return await self._front.handle(http)

    def _refuse(self, http: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
        return self._front.refuse(http, refusal)

    def _breaker_changed(self, group: str, state: str) -> None:
        self._events(BreakerChanged(group, state))
        self._admission.review()

    def reload(self, load: Callable[[], config.Settings]) -> None:
        """Go by the settings that `load` reads, keeping what was spent; what is bad changes nothing.

        Requests that are under way end as they began.
        """
        try:
            settings, left = taken_over(self.settings, load())
            same = (settings.upstream, settings.headers) == (self.settings.upstream, self.settings.headers)
            upstream = self._upstream if same else Upstream(settings.upstream, settings.headers)
            front = self._assembly.front(settings, upstream)
            changed = changes(self.settings, settings)
        except (ConfigError, StartError) as error:
            self._events(LifecycleChanged("reload_failed", f"Nothing was changed. {error}"))
            return
        self.settings, self._front = settings, front
        self._configure()
        if not same:
            self._retiring.retire(self._upstream.close)
            self._upstream = upstream
        news = f"Changed: {', '.join(changed)}." if changed else "Nothing in it has changed."
        needs = f" A new start is needed for changes of: {', '.join(left)}." if left else ""
        self._events(LifecycleChanged("reloaded", f"The configuration was read again. {news}{needs}"))

    def _configure(self) -> None:
        """Let what outlives a reload go by the settings."""
        settings = self.settings
        self._budget.configure(settings)
        self._groups.configure(settings.breaker, settings.retry)
        self._admission.configure(settings.queue, Pacing(settings.limits))
        self.observability.configure(settings)
        self._admin.effective = shown(settings, self._secrets)

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

    def state(self) -> State:
        """Return what the proxy is doing now."""
        line = self._admission.line
        uses = [
            LaneUse(one.lane.limit, one.capacity, one.remaining, one.foreign, one.paused)
            for one in self._ledger.lanes()
        ]
        return State(
            limit_states(self.settings.limits, uses, [(lane.limit, count) for lane, count in line.depths()]),
            in_flight=len(self._traffic),
            queued=len(line),
            queue_size=self.settings.queue.size,
            draining=self._traffic.draining,
            pauses=pauses(uses),
            breakers=tuple(
                BreakerState(one.name, one.breaker.state, one.breaker.forced) for one in self._groups
            ),
            ledger_up=not self._budget.trouble(),
            replicas=self._budget.replicas,
            shared=self._budget.shared,
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
        traffic = self._traffic
        traffic.draining = True
        self._events(LifecycleChanged("draining", f"{len(traffic)} requests have {grace:g} s to finish"))
        self._doors[0].shut()  # whoever watches is answered to the end
        await self._idle_or_hurry(grace)
        unfinished = len(traffic)
        await self._admission.close()  # who waits, for a turn or for a retry, gets an answer
        await asyncio.sleep(0)
        traffic.cut_off()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await traffic.idle.wait()
        await self._close()
        self._events(LifecycleChanged("stopped", f"{unfinished} requests were cut off"))

    async def _idle_or_hurry(self, grace: float) -> None:
        waits = [asyncio.ensure_future(self._traffic.idle.wait()), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _close(self) -> None:
        self._admin.close()
        for doors in self._doors:
            await doors.close()
        await self._readiness.close()
        await self._retiring.end()
        await self._upstream.close()
        await self._budget.close()
        await self.observability.close()
