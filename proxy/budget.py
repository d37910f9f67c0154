"""The budget that the settings' limits are: who counts what is spent of it, here or with other replicas."""

import importlib.util
import secrets
from typing import TYPE_CHECKING

from proxy import config
from proxy.adapters.local_ledger import LocalLedger
from proxy.adapters.redis_ledger import RedisLedger
from proxy.adapters.state_file import InUse, Saved, StateFile, Unwritable
from proxy.adapters.state_keeper import StateKeeper
from proxy.events import LedgerChanged, LedgerFailed
from proxy.material import SecretReader, StartError, shared_secret, store_password
from proxy.policy.limits import LimitTable

if TYPE_CHECKING:
    from proxy.adapters.replica import Replica
    from proxy.adapters.store_check import Pulse


class Budget:
    """Who counts (`ledger`), and what credentials are hashed with (`secret`). Raises `StartError`."""

    ledger: LocalLedger | RedisLedger

    def __init__(self, settings: config.Settings, reader: SecretReader) -> None:
        limits, probe = LimitTable(settings.limits), not settings.queue.observe
        self._redaction = reader.redaction
        self._replica: Replica | None = None
        self._keeper: StateKeeper | None = None
        if settings.redis.shared:
            self._replica = _replica(settings, limits, reader, probe=probe)
            self.ledger = self._replica.ledger
            self.secret = shared_secret(settings.redis, reader)
            return
        self.ledger = LocalLedger(
            limits,
            reader.clock,
            transit=settings.upstream.transit,
            clock_drift=settings.upstream.clock_drift,
            probe=probe,
        )
        self.secret, self._keeper = _remembered(settings.state, self.ledger, reader)

    @property
    def shared(self) -> bool:
        """Whether there may be other replicas."""
        return self._replica is not None

    @property
    def replicas(self) -> int:
        """How many share it, as far as is known."""
        return 1 if self._replica is None else self._replica.ledger.replicas

    def trouble(self) -> str:
        """Return what is wrong with the shared store; "": nothing."""
        # A store may quote its password.
        return "" if self._replica is None else self._redaction.without_known(self._replica.ledger.trouble)

    def configure(self, settings: config.Settings) -> None:
        """Go by other limits, and keep what was spent."""
        self.ledger.configure(
            LimitTable(settings.limits),
            transit=settings.upstream.transit,
            clock_drift=settings.upstream.clock_drift,
        )

    async def start(self) -> None:
        """Join the others, if it is shared."""
        if self._replica is not None:
            await self._replica.start()

    async def close(self) -> None:
        """Leave the others, or save what was spent."""
        if self._replica is not None:
            await self._replica.close()
        if self._keeper is not None:
            await self._keeper.close()


def _client_is_there() -> None:
    """Raise `StartError` where the client of the shared store is not installed: it comes with an extra."""
    if importlib.util.find_spec("redis") is None:
        raise StartError("redis.url needs redis-py: install avala-proxy with its extra, avala-proxy[redis].")


async def examine_store(redis: config.Redis, reader: SecretReader) -> None:
    """Try whether the shared store does what is needed. Raises `StartError`, which says all that is wrong."""
    _client_is_there()
    from proxy.adapters.store_check import examine

    if wrong := await examine(redis, password=store_password(redis, reader)):
        raise StartError(reader.redaction.without_known("\n".join(wrong)))


async def measure_store(redis: config.Redis, reader: SecretReader) -> "Pulse | None":
    """Tell how a store answers that does what is needed. Raises `StartError`."""
    _client_is_there()
    from proxy.adapters.store_check import measure

    return await measure(redis, password=store_password(redis, reader), clock=reader.clock)


def _replica(
    settings: config.Settings, limits: LimitTable, reader: SecretReader, *, probe: bool
) -> "Replica":
    """Make one of several that share a budget. Raises `StartError`."""
    _client_is_there()
    from proxy.adapters.replica import Replica

    redis, events = settings.redis, reader.events
    return Replica(
        redis,
        limits,
        reader.clock,
        upstream=settings.upstream,
        probe=probe,
        password=store_password(redis, reader),
        changed=lambda up, detail: events(LedgerChanged(up, detail)),
        failed=lambda reason: events(LedgerFailed(reason)),
    )


def _remembered(
    settings: config.State, ledger: LocalLedger, reader: SecretReader
) -> tuple[bytes, StateKeeper | None]:
    """Let a ledger know what the state file does; return what credentials are hashed with, and who keeps it.

    Raises `StartError`.
    """
    hashed_with = secrets.token_bytes(32)
    if settings.file is None:
        return hashed_with, None
    file = StateFile(settings.file, wall=reader.clock.wall, told=reader.told)
    try:
        saved = file.open()
    except (InUse, Unwritable) as error:
        raise StartError(str(error)) from error
    if saved is not None:
        hashed_with = saved.secret
        ledger.remember(saved.lanes)
    keeper = StateKeeper(file, lambda: Saved(hashed_with, ledger.memories()), reader.clock)
    ledger.on_changed(keeper.changed, keeper.taken)
    return hashed_with, keeper
