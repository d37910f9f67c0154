"""The store that a budget is shared through: all that `check` finds, and how near it is."""

from typing import TYPE_CHECKING

from proxy import config
from proxy.budget import examine_store, measure_store
from proxy.clock import Clock
from proxy.doctor.report import Finding, failed, milliseconds, ok, skipped, warning
from proxy.events import Events
from proxy.material import SecretReader, StartError
from proxy.telemetry.redaction import Redaction

if TYPE_CHECKING:
    from proxy.adapters.store_check import Pulse

CHECK = "store"

_NEAR = 0.25
"""The share of redis.timeout that a round trip may take: a busy moment takes a few times as long."""


async def examine(settings: config.Redis, clock: Clock) -> list[Finding]:
    """Try the store, and take its pulse if nothing is wrong."""
    if not settings.shared:
        return [skipped(CHECK, "redis.url is not set: this proxy shares its budget with no other.")]
    reader = SecretReader(clock, Events(), Redaction())
    try:
        await examine_store(settings, reader)
        pulse = await measure_store(settings, reader)
    except StartError as error:
        return [failed(CHECK, sentence, ": ") for sentence in str(error).splitlines()]
    return [judged(settings, pulse)]


def judged(settings: config.Redis, pulse: "Pulse | None") -> Finding:
    """Say how near a store is that does all that is needed; None is one that went away meanwhile."""
    said = f"The store at {settings.url} does all that is needed"
    if pulse is None:
        return ok(CHECK, f"{said}.")
    said += f", and answers in {milliseconds(pulse.round_trip)}"
    if pulse.round_trip > _NEAR * settings.timeout:
        advice = "Use a store that is nearer; or raise redis.timeout, which each request may then wait for."
        return warning(CHECK, f"{said}: redis.timeout is {milliseconds(settings.timeout)}.", advice)
    # All replicas go by the store's clock, so nothing depends on how it differs from this machine's.
    clocks = f"its clock differs from this machine's by {abs(pulse.ahead):.1f} s, which is fine"
    return ok(CHECK, f"{said}; {clocks}.")
