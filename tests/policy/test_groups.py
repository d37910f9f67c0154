"""Routes that fail apart from the rest have a breaker and a budget of their own."""

import pytest

from proxy.config import Breaker, Group, Retry
from proxy.policy.groups import Groups
from proxy.policy.limits import Lane
from tests.fakes import request

EXPORTS = Group(name="exports", methods=("POST",), paths=("/api/v1/exports/**",))
REST = Group(name="reads", paths=("/api/v1/**",))


def groups(*given: Group) -> Groups:
    return Groups(Breaker(groups=given), Retry())


def test_without_groups_all_is_the_upstreams() -> None:
    health = groups().of(request())
    assert (health.name, health.lane) == ("upstream", Lane("breaker", "upstream"))
    assert repr(health) == (
        "<Health of upstream: <Breaker closed: 0 of 10 failures in a row>"
        " <RetryBudget 0 retries, 0 requests in a minute>>"
    )


def test_the_first_that_matches_counts() -> None:
    both = groups(EXPORTS, REST)
    assert both.of(request("POST", "/api/v1/exports/")).name == "exports"
    assert both.of(request("GET", "/api/v1/exports/")).name == "reads"
    assert both.of(request("GET", "/elsewhere/")).name == "upstream"
    assert [health.name for health in both] == ["upstream", "exports", "reads"]


def test_a_group_that_stays_goes_on_from_where_it_is_under_other_rules() -> None:
    ours = groups(EXPORTS)
    ours.named("exports").breaker.force_open(0.0)
    assert ours.named("upstream").budget.left(0.0) == 10
    ours.configure(Breaker(groups=(EXPORTS, REST)), Retry(budget_floor=3))
    assert ours.named("exports").breaker.forced
    assert ours.named("upstream").budget.left(0.0) == 3
    ours.configure(Breaker(), Retry())
    assert [health.name for health in ours] == ["upstream"]
    assert ours.named("exports").breaker.forced, "who waits for it still does"


def test_a_group_that_there_never_was_is_an_error() -> None:
    with pytest.raises(KeyError):
        groups().named("exports")
