"""Which routes fail together, and how they fare: each group has a breaker and a retry budget.

What is in no group of the configuration is in one called `upstream`. A group's breaker is a lane, as a limit
is, so that who is held by it waits in line like everybody else.
"""

from collections.abc import Iterator

from proxy import config
from proxy.messages import Request
from proxy.policy.breaker import Breaker
from proxy.policy.budget import RetryBudget
from proxy.policy.limits import Lane
from proxy.policy.paths import compile_paths

BREAKER = "breaker"
"""The name under which waiting for a breaker is told; no limit has it."""

REST = "upstream"


class Health:
    """How the routes of one group fare."""

    def __init__(self, name: str, breaker: config.Breaker, retry: config.Retry) -> None:
        self.name = name
        self.lane = Lane(BREAKER, name)
        self.breaker = Breaker(breaker)
        self.budget = RetryBudget(retry.budget, retry.budget_floor)

    def __repr__(self) -> str:
        return f"<Health of {self.name}: {self.breaker!r} {self.budget!r}>"

    def configure(self, breaker: config.Breaker, retry: config.Retry) -> None:
        """Go by other rules from now on."""
        self.breaker.configure(breaker)
        self.budget.configure(retry.budget, retry.budget_floor)


class Groups:
    """Know all groups; tell that of a request."""

    def __init__(self, breaker: config.Breaker, retry: config.Retry) -> None:
        self._by_name: dict[str, Health] = {}
        self.configure(breaker, retry)

    def configure(self, breaker: config.Breaker, retry: config.Retry) -> None:
        """Go by other settings; a group that stays goes on from where it is."""
        self._rules = [
            (group.name, frozenset(group.methods), compile_paths(group.paths)) for group in breaker.groups
        ]
        for name in (REST, *(name for name, *_ in self._rules)):
            if (health := self._by_name.get(name)) is None:
                self._by_name[name] = Health(name, breaker, retry)
            else:
                health.configure(breaker, retry)

    def __iter__(self) -> Iterator[Health]:
        return (self._by_name[name] for name in (REST, *(name for name, *_ in self._rules)))

    def of(self, request: Request) -> Health:
        """Return the group of a request: the first that matches."""
        for name, methods, path_matches in self._rules:
            if (not methods or request.method in methods) and path_matches(request.path):
                return self._by_name[name]
        return self._by_name[REST]

    def named(self, name: str) -> Health:
        """Return a group by its name, also one that is no longer configured. Raises KeyError."""
        return self._by_name[name]
