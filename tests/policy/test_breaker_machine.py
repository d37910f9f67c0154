"""Whatever happens, in whatever order: nothing goes before its time, and a breaker can always be closed.

The model knows no interval in force and no time of reopening. It has a list of what speaks against a probe,
and each of that until when, and counts the probes that came to nothing.
"""

import math
from dataclasses import dataclass
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy import config
from proxy.policy.breaker import Breaker, Permit, State

How = Literal["succeeded", "failed", "abandoned"]


def seconds(low: int, high: int) -> st.SearchStrategy[float]:
    """Draw whole ones: their sums are exact, and often the same."""
    return st.integers(low, high).map(float)


HOWS: st.SearchStrategy[How] = st.sampled_from(["succeeded", "failed", "failed", "abandoned", "abandoned"])
DEMANDS = st.none() | seconds(0, 10) | seconds(0, 60)


@dataclass
class Sent:
    """One request that was let go, and how it ended; a probe also with the interval in force when it went."""

    permit: Permit
    at: float
    era: int
    interval: float
    how: How | None = None


class Breaking(RuleBasedStateMachine):
    """An upstream of any health, clients that leave, and an operator."""

    @initialize(
        failures=st.integers(1, 4),
        interval=seconds(1, 8),
        longest=seconds(1, 40),
        maintenance=seconds(1, 10),
        longest_maintenance=seconds(1, 40),
        enabled=st.sampled_from([True, True, True, False]),
    )
    def begin(
        self,
        failures: int,
        interval: float,
        longest: float,
        maintenance: float,
        longest_maintenance: float,
        enabled: bool,
    ) -> None:
        self.config = config.Breaker(
            enabled=enabled,
            failures=failures,
            interval=interval,
            longest_interval=longest,
            maintenance=maintenance,
            longest_maintenance=longest_maintenance,
        )
        self.breaker = Breaker(self.config)
        self.now = 0.0
        self.sent: list[Sent] = []
        self.era = 0
        self.enters("closed")

    def enters(self, state: State, *, until: float = -math.inf) -> None:
        self.state = state
        self.era += 1
        self.in_a_row = 0
        self.not_before = [until]
        self.probes: list[Sent] = []
        self.fruitless = 0

    def interval(self) -> float:
        first = self.config.interval
        return max(first, min(first * 2.0**self.fruitless, self.config.longest_interval))

    def earliest(self) -> float:
        """Return when the next may go: the youngest probe speaks against it unless it was abandoned."""
        hangs = [sent.at + sent.interval for sent in self.probes[-1:] if sent.how != "abandoned"]
        return max([self.now, *self.not_before, *hangs])

    def under_way(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.how is None]

    @rule(many=st.integers(1, 3))
    def request(self, many: int) -> None:
        """Clients come; some find it open."""
        for _ in range(many):
            if self.breaker.ready_at(self.now) <= self.now:
                self.goes()

    def goes(self) -> None:
        assert self.earliest() == self.now, "no grant before its time"
        permit = self.breaker.take(self.now)
        assert permit.probe == (self.state != "closed")
        assert all(permit is not sent.permit for sent in self.sent)
        if permit.probe:
            self.state = "half_open"
            self.fruitless += bool(self.probes) and self.probes[-1].how is None
            if self.probes and self.probes[-1].how != "abandoned":
                assert self.now - self.probes[-1].at >= self.probes[-1].interval
        sent = Sent(permit, self.now, self.era, self.interval())
        self.sent.append(sent)
        if permit.probe:
            self.probes.append(sent)
            assert self.breaker.ready_at(self.now) > self.now, "one probe at a time"

    @precondition(lambda self: self.under_way())
    @rule(number=st.integers(0, 1000), how=HOWS, demand=DEMANDS)
    def ends(self, number: int, how: How, demand: float | None) -> None:
        under_way = self.under_way()
        self.end(under_way[number % len(under_way)], how, demand)

    @precondition(lambda self: self.of_old_eras())
    @rule(number=st.integers(0, 1000), how=HOWS, demand=DEMANDS)
    def ends_late(self, number: int, how: How, demand: float | None) -> None:
        """An answer comes to what was sent long ago; that of a probe as often as others."""
        late = sorted(self.of_old_eras(), key=lambda sent: sent.permit.probe)
        self.end(late[-1 if number % 2 else number % len(late)], how, demand)

    @precondition(lambda self: self.state == "closed")
    @rule(short=st.sampled_from([0, 0, 1]))
    def is_down(self, short: int) -> None:
        """Requests fail, until it opens or just not yet."""
        while self.state == "closed" and self.in_a_row < self.config.failures - short:
            self.goes()
            self.end(self.sent[-1], "failed", None)
            if not self.config.enabled:
                break

    @precondition(lambda self: self.state == "closed" and self.in_a_row)
    @rule(how=st.sampled_from(["succeeded", "abandoned"]))
    def one_does_not_fail(self, how: How) -> None:
        self.goes()
        self.end(self.sent[-1], how, None)

    @precondition(lambda self: self.state != "closed" and not self.breaker.forced)
    @rule(many=st.integers(1, 3))
    def probes_hang(self, many: int) -> None:
        for _ in range(many):
            self.now = self.breaker.ready_at(self.now)
            self.goes()

    @precondition(lambda self: any(sent.how is None for sent in self.probes))
    @rule(youngest=st.booleans(), how=HOWS, demand=DEMANDS)
    def probe_ends(self, youngest: bool, how: How, demand: float | None) -> None:
        under_way = [sent for sent in self.probes if sent.how is None]
        self.end(under_way[-1 if youngest else 0], how, demand)

    def of_old_eras(self) -> list[Sent]:
        return [sent for sent in self.under_way() if sent.era != self.era]

    def end(self, sent: Sent, how: How, demand: float | None) -> None:
        before = (self.breaker.state, self.breaker.ready_at(self.now))
        self.tell(sent, how, demand)
        sent.how = how
        if sent.era != self.era:
            assert before[0] == self.breaker.state, "an old era neither opens nor closes it"
            assert before[1] <= self.breaker.ready_at(self.now), "nor makes it try earlier"
        self.learn(sent, demand)

    def tell(self, sent: Sent, how: How, demand: float | None) -> None:
        if how == "succeeded":
            self.breaker.succeeded(sent.permit, self.now)
        elif how == "failed":
            self.breaker.failed(sent.permit, self.now, retry_after=demand)
        else:
            self.breaker.abandon(sent.permit, self.now)

    def learn(self, sent: Sent, demand: float | None) -> None:
        maintenance = demand is not None and demand >= self.config.maintenance and sent.how == "failed"
        until = self.now + min(demand or 0.0, self.config.longest_maintenance) if maintenance else -math.inf
        if sent.era == self.era:
            if sent.permit.probe:
                self.learn_from_probe(sent, until)
            elif self.config.enabled:
                self.learn_from_request(sent, until)
        elif sent.era == self.era - 1 and self.state == "open":
            self.not_before.append(until)

    def learn_from_request(self, sent: Sent, until: float) -> None:
        if sent.how == "succeeded":
            self.in_a_row = 0
        elif sent.how == "failed":
            self.in_a_row += 1
            if until > self.now:
                self.enters("open", until=until)
            elif self.in_a_row == self.config.failures:
                self.enters("open", until=self.now + self.config.interval)

    def learn_from_probe(self, sent: Sent, until: float) -> None:
        if sent.how == "succeeded":
            self.enters("closed")
        elif sent.how == "failed":
            youngest = self.probes[-1]
            self.fruitless += sent is youngest
            if sent is youngest or (youngest.how == "abandoned" and self.state == "half_open"):
                until = max(until, self.now + self.interval())
            if until > self.now:
                self.state = "open"
                self.not_before.append(until)

    @precondition(lambda self: len(self.under_way()) < len(self.sent))
    @rule(number=st.integers(0, 1000), how=HOWS, demand=DEMANDS)
    def ends_again(self, number: int, how: How, demand: float | None) -> None:
        """Somebody is told twice, which changes nothing."""
        ended = [sent for sent in self.sent if sent.how is not None]
        before = repr(self.breaker)
        self.tell(ended[number % len(ended)], how, demand)
        assert repr(self.breaker) == before

    @rule(passed=seconds(1, 20))
    def time_passes(self, passed: float) -> None:
        self.now += passed

    @precondition(lambda self: self.now < self.breaker.ready_at(self.now) < math.inf)
    @rule(short=st.sampled_from([0.0, 0.0, 0.125]))
    def its_time_comes(self, short: float) -> None:
        """It comes exactly, or just not yet."""
        self.now = self.breaker.ready_at(self.now) - short

    @precondition(lambda self: len(self.sent) % 8 == 7)  # seldom, or nothing else would come about
    @rule()
    def is_opened_by_hand(self) -> None:
        self.breaker.force_open(self.now)
        self.enters("open", until=math.inf)

    @precondition(lambda self: self.breaker.forced or self.in_a_row or len(self.sent) % 8 == 3)
    @rule()
    def is_closed_by_hand(self) -> None:
        self.breaker.force_close(self.now)
        if self.state == "closed":
            self.in_a_row = 0
        else:
            self.enters("closed")

    @invariant()
    def it_is_where_it_should_be(self) -> None:
        assert self.breaker.state == self.state
        assert self.breaker.forced == (math.inf in self.not_before)
        assert self.breaker.ready_at(self.now) == self.earliest()

    @invariant()
    def nobody_waits_without_end(self) -> None:
        """It has a time unless it was opened by hand, and that is near."""
        rules = self.config
        longest = max(rules.interval, rules.longest_interval, rules.longest_maintenance)
        assert self.breaker.forced or self.breaker.ready_at(self.now) <= self.now + longest

    def teardown(self) -> None:
        """Let the upstream recover: then one probe is enough."""
        if not hasattr(self, "breaker"):
            return
        if self.breaker.forced:
            self.breaker.force_close(self.now)
        self.now = self.breaker.ready_at(self.now)
        self.breaker.succeeded(self.breaker.take(self.now), self.now)
        assert (self.breaker.state, self.breaker.ready_at(self.now)) == ("closed", self.now)


TestBreaking = Breaking.TestCase
TestBreaking.settings = settings(max_examples=300, stateful_step_count=50)
