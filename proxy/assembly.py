"""What serves clients, made out of settings: all that a reload replaces, around what outlives it.

Nothing is decided here. Who gives whom what is read off `Assembly.front`.
"""

import importlib.util
import itertools
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from proxy import config
from proxy.adapters.body import Spools
from proxy.adapters.local_ledger import LocalLedger
from proxy.adapters.secret_files import SecretFile
from proxy.adapters.state_file import InUse, Saved, StateFile, Unwritable
from proxy.adapters.state_keeper import StateKeeper
from proxy.adapters.upstream import Upstream
from proxy.admission import Admission
from proxy.alive import Alive
from proxy.clock import Clock
from proxy.coalescing import Coalescing
from proxy.config_values import SHORTEST_TOKEN, authority
from proxy.events import Events, LedgerChanged, LedgerFailed, LifecycleChanged
from proxy.forwarder import Forwarder
from proxy.front import Front
from proxy.links import Localiser
from proxy.policy.access import Access
from proxy.policy.alike import Alike
from proxy.policy.arrival import Arrivals
from proxy.policy.credentials import Credentials
from proxy.policy.groups import Groups
from proxy.policy.limits import LimitTable
from proxy.policy.routes import RouteTable
from proxy.policy.wire import RequestRules
from proxy.reception import Reception
from proxy.telemetry.untraced import Tracing, Untraced
from proxy.traffic import Traffic

if TYPE_CHECKING:
    from proxy.adapters.replica import Replica
    from proxy.adapters.store_check import Pulse


class StartError(Exception):
    """The proxy cannot start, or not go by other settings; the message says why and what to do."""


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
            new_id=lambda: secrets.token_hex(16),
            new_ticket=lambda: next(self.tickets),
            rules=RequestRules(settings.listen, map(authority, urls)),
            arrivals=Arrivals(public, settings.listen.trusted_peers),
            access=access(settings, self.clock, self.events),
            credentials=Credentials(upstream.credential_headers, self.secret),
            routes=self.routes,
            clock=self.clock,
        )


def access(settings: config.Settings, clock: Clock, events: Events) -> Access:
    """Make who knows clients and the key that the proxy holds. Raises `StartError`."""
    held = settings.credential
    return Access(
        settings.upstream.credential_headers,
        key=secret(held.value, held.file, clock, events) if settings.holds_key else lambda: None,
        clients=[
            (client.name, secret(client.token, client.token_file, clock, events, at_least=SHORTEST_TOKEN))
            for client in settings.clients
        ],
    )


def secret(
    value: SecretStr | None, path: str | None, clock: Clock, events: Events, *, at_least: int = 1
) -> Callable[[], str]:
    """Return who knows a secret that stands in the settings or in a file. Raises `StartError`."""
    if path is None:
        assert value is not None, "the settings have one or the other"
        return value.get_secret_value
    try:
        return SecretFile(
            path,
            now=clock.now,
            wall=clock.wall,
            told=lambda state, sentence: events(LifecycleChanged(state, sentence)),
            at_least=at_least,
        )
    except (OSError, ValueError) as error:
        raise StartError(str(error)) from error


def store_password(redis: config.Redis, clock: Clock, events: Events) -> Callable[[], str] | None:
    """Return who knows the password of the shared store. Raises `StartError`."""
    if redis.password is None and redis.password_file is None:
        return None
    return secret(redis.password, redis.password_file, clock, events)


def shared_secret(redis: config.Redis, clock: Clock, events: Events) -> bytes:
    """Return what all replicas hash credentials with. Raises `StartError`."""
    return secret(redis.secret, redis.secret_file, clock, events, at_least=SHORTEST_TOKEN)().encode()


def _client_is_there() -> None:
    """Raise `StartError` where the client of the shared store is not installed: it comes with an extra."""
    if importlib.util.find_spec("redis") is None:
        raise StartError("redis.url needs redis-py: install avala-proxy with its extra, avala-proxy[redis].")


async def examine_store(redis: config.Redis, clock: Clock, events: Events) -> None:
    """Try whether the shared store does what is needed. Raises `StartError`, which says all that is wrong."""
    _client_is_there()
    from proxy.adapters.store_check import examine

    if wrong := await examine(redis, password=store_password(redis, clock, events)):
        raise StartError("\n".join(wrong))


async def measure_store(redis: config.Redis, clock: Clock, events: Events) -> "Pulse | None":
    """Tell how a store answers that does what is needed. Raises `StartError`."""
    _client_is_there()
    from proxy.adapters.store_check import measure

    return await measure(redis, password=store_password(redis, clock, events), clock=clock)


def replica(
    settings: config.Settings, limits: LimitTable, clock: Clock, events: Events, *, probe: bool
) -> "Replica":
    """Make one of several that share a budget. Raises `StartError`."""
    _client_is_there()
    from proxy.adapters.replica import Replica

    redis = settings.redis
    return Replica(
        redis,
        limits,
        clock,
        upstream=settings.upstream,
        probe=probe,
        password=store_password(redis, clock, events),
        changed=lambda up, detail: events(LedgerChanged(up, detail)),
        failed=lambda reason: events(LedgerFailed(reason)),
    )


def tracing(settings: config.Settings, clock: Clock, *, version: str) -> Tracing:
    """Make who sees what happens to requests, if anybody is to. Raises `StartError`."""
    if not settings.tracing.enabled:
        return Untraced()
    try:
        from proxy.telemetry.collector import Collector
        from proxy.telemetry.tracing import Tracing
    except ModuleNotFoundError as error:
        raise StartError(
            "tracing.enabled needs OpenTelemetry: install avala-proxy with its extra, avala-proxy[otel]."
        ) from error
    return Tracing(Collector(settings.tracing, version=version), settings.listen, clock)


def remembered(
    settings: config.State, ledger: LocalLedger, clock: Clock, events: Events
) -> tuple[bytes, StateKeeper | None]:
    """Let a ledger know what the state file does; return what credentials are hashed with, and who keeps it.

    Raises `StartError`.
    """
    hashed_with = secrets.token_bytes(32)
    if settings.file is None:
        return hashed_with, None
    file = StateFile(
        settings.file,
        wall=clock.wall,
        told=lambda state, sentence: events(LifecycleChanged(state, sentence)),
    )
    try:
        saved = file.open()
    except (InUse, Unwritable) as error:
        raise StartError(str(error)) from error
    if saved is not None:
        hashed_with = saved.secret
        ledger.remember(saved.lanes)
    keeper = StateKeeper(file, lambda: Saved(hashed_with, ledger.memories()), clock)
    ledger.on_changed(keeper.changed, keeper.taken)
    return hashed_with, keeper
