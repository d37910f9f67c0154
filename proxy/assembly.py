"""What serves clients, made out of settings: all that a reload replaces, around what outlives it.

Nothing is decided here. Who gives whom what is read off `Assembly.front`.
"""

import itertools
import random
import secrets
from dataclasses import dataclass, field

from proxy import config
from proxy.adapters.body import Spools
from proxy.adapters.upstream import Upstream
from proxy.admission import Admission
from proxy.alive import Alive
from proxy.clock import Clock
from proxy.coalescing import Coalescing
from proxy.config_values import authority
from proxy.events import Events
from proxy.forwarder import Forwarder
from proxy.front import Front
from proxy.links import Localiser
from proxy.material import SecretReader, access
from proxy.policy.alike import Alike
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.groups import Groups
from proxy.policy.limits import LimitTable
from proxy.policy.routes import RouteTable
from proxy.policy.said import Said
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.telemetry.untraced import Tracing
from proxy.traffic import Traffic


@dataclass(frozen=True)
class Assembly:
    """What outlives a reload; `secret` is what credentials are hashed with."""

    clock: Clock
    events: Events
    admission: Admission
    groups: Groups
    routes: RouteTable
    traffic: Traffic
    secret: bytes
    reader: SecretReader
    tracing: Tracing
    tickets: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def front(self, settings: config.Settings, upstream: Upstream) -> Front:
        """Make who answers clients. Raises `StartError`."""
        forwarder = Forwarder(
            self.admission,
            self.tracing.around(upstream, settings.upstream.base_url),
            LimitTable(settings.limits),
            self.groups,
            self._coalescing(settings),
            retry=settings.retry,
            replay=settings.body.replay,
            clock=self.clock,
            chance=random.random,
            events=self.events,
        )
        return Front(
            self._reception(settings),
            forwarder,
            Localiser(settings.links, settings.upstream.base_url),
            Alive(settings.queue.interim, self.events),
            headers=settings.headers,
            send_timeout=settings.listen.send_timeout,
            routes=self.routes,
            traffic=self.traffic,
            clock=self.clock,
            events=self.events,
        )

    def _coalescing(self, settings: config.Settings) -> Coalescing:
        rules = settings.coalescing
        if settings.queue.observe:
            rules = rules.model_copy(update={"enabled": False, "routes": ()})
        return Coalescing(Alike(rules, forwarded=settings.headers.forwarded), rules.gather, self.clock)

    def _reception(self, settings: config.Settings) -> Reception:
        public, upstream = settings.listen.public_url, settings.upstream
        urls = filter(None, (public, upstream.base_url))
        return Reception(
            settings,
            new_spool=Spools(settings.body).new,
            said=Said(
                upstream.credential_headers,
                is_secret=self.reader.redaction.cuts,
                new_id=lambda: secrets.token_hex(16),
            ),
            new_ticket=lambda: next(self.tickets),
            rules=RequestRules(settings.listen, map(authority, urls)),
            arrivals=Arrivals(public, settings.listen.trusted_peers),
            access=access(settings, self.reader),
            credentials=Credentials(upstream.credential_headers, self.secret),
            routes=self.routes,
            clock=self.clock,
        )
