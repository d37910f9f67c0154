"""What can be changed about a sandbox while it runs: its limits, and the faults that are drawn.

Here a change is checked and scaled, whole or not at all. It is used elsewhere: `throttle.py` counts by the
limits, `faults.py` draws by the plan.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.sandbox.faults import FaultChooser, FaultPlan
from proxy.sandbox.limits import DOCUMENTED_LIMITS, Limit, check_limits, scaled
from proxy.sandbox.settings import SandboxSettings
from proxy.sandbox.throttle import Throttles


class Tuning:
    """The sandbox's limits and drawn faults as they are now; they begin as the settings say."""

    def __init__(self, settings: SandboxSettings, throttles: Throttles, chooser: FaultChooser) -> None:
        self._limits: Mapping[str, Limit] = {**DOCUMENTED_LIMITS, **settings.limits}
        self._time_scale = settings.time_scale
        self._throttles = throttles
        self._chooser = chooser

    def __repr__(self) -> str:
        limits = ", ".join(f"{scope}={limit}" for scope, limit in self._limits.items())
        return f"<Tuning {limits}; {dict(self.plan.rates)}, retry_after={self.plan.retry_after}>"

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Every scope's limit as it was chosen, which is before `time_scale`."""
        return self._limits

    @property
    def plan(self) -> FaultPlan:
        """The faults that are drawn."""
        return self._chooser.plan

    def scaled_limits(self) -> dict[str, Limit]:
        """Give every scope's limit as it is enforced."""
        return scaled(self._limits, self._time_scale)

    def set_limits(self, limits: Mapping[str, Limit]) -> None:
        """Change limits by scope, the others stay; raises ValueError for what is no limit of its scope."""
        check_limits(limits)
        # Before anything is changed: a window may be too short or too long once it is scaled.
        self._throttles.resize(scaled(limits, self._time_scale))
        self._limits = {**self._limits, **limits}

    def set_faults(self, rates: Mapping[str, float], retry_after: float | None = None) -> None:
        """Draw other faults from now on; raises ValueError for what cannot be drawn."""
        self._chooser.plan = FaultPlan(dict(rates), retry_after)
