"""Whether the proxy should get traffic is told without asking the API for anything."""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.config import Breaker, Group, Retry
from proxy.errors import ErrorClass, UpstreamError
from proxy.events import Event, Events, LifecycleChanged
from proxy.policy.groups import Groups
from proxy.readiness import Readiness
from proxy.traffic import Traffic
from proxy.virtual import VirtualClock, run_virtual

GROUP = Group(name="exports", paths=("/api/v1/exports/**",))


class Watched:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.looks = 0
        self.events: list[Event] = []
        self.groups = Groups(Breaker(interval=5.0, groups=(GROUP,)), Retry())
        self.traffic = Traffic()
        self.trouble = ""
        self.readiness = Readiness(
            self.resolve,
            self.groups,
            self.traffic,
            VirtualClock(),
            Events(self.events.append),
            shared=lambda: self.trouble,
        )

    async def resolve(self) -> None:
        self.looks += 1
        if self.answers and not self.answers.pop(0):
            raise UpstreamError(ErrorClass.DNS_ERROR, "The name x cannot be resolved.", written=False)

    @property
    def told(self) -> list[str]:
        return [event.state for event in self.events if isinstance(event, LifecycleChanged)]

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            await main()
            await self.readiness.close()

        run_virtual(all_of_it())


def test_at_first_it_is_ready() -> None:
    watched = Watched()

    async def main() -> None:
        assert watched.readiness.now() == (True, "serving")

    watched.run(main)


def test_without_the_shared_store_it_is_degraded_and_ready() -> None:
    watched = Watched()

    async def main() -> None:
        watched.trouble = "the store refuses"
        assert watched.readiness.now() == (True, "degraded: the store refuses")
        watched.trouble = ""
        assert watched.readiness.now() == (True, "serving")

    watched.run(main)


def test_while_it_drains_it_is_not() -> None:
    watched = Watched()

    async def main() -> None:
        watched.traffic.draining = True
        assert watched.readiness.now() == (False, "draining")

    watched.run(main)


def test_while_the_breaker_lets_nothing_go_it_is_not_but_it_is_for_the_next_probe() -> None:
    watched = Watched()

    async def main() -> None:
        breaker = watched.groups.named("upstream").breaker
        for _ in range(10):
            breaker.failed(breaker.take(0.0), 0.0)
        assert watched.readiness.now()[0] is False
        await asyncio.sleep(5.0)
        assert watched.readiness.now() == (True, "serving")
        breaker.take(5.0)
        assert watched.readiness.now()[1].startswith("circuit_open")
        breaker.force_open(5.0)
        await asyncio.sleep(1000.0)
        assert watched.readiness.now()[0] is False

    watched.run(main)


def test_a_group_that_fails_does_not_matter() -> None:
    watched = Watched()

    async def main() -> None:
        watched.groups.named("exports").breaker.force_open(0.0)
        assert watched.readiness.now() == (True, "serving")

    watched.run(main)


def test_while_the_name_cannot_be_resolved_it_is_not_and_each_change_is_told_once() -> None:
    watched = Watched(True, False, False, True, True)

    async def main() -> None:
        watched.readiness.watch()
        await asyncio.sleep(20.0)
        assert watched.readiness.now() == (False, "dns_error: The name x cannot be resolved.")
        await asyncio.sleep(41.0)
        assert watched.readiness.now() == (True, "serving")
        assert watched.told == ["upstream_unresolved", "upstream_resolved"]
        assert watched.looks == 5

    watched.run(main)
