"""What may change while a sandbox runs is changed whole or not at all."""

import random

import pytest

from proxy.sandbox import DOCUMENTED_LIMITS, Concurrent, Limit, Rate, Sandbox
from proxy.sandbox.faults import FaultChooser, FaultPlan
from proxy.sandbox.throttle import Throttles
from proxy.sandbox.tuning import Tuning
from tests.sandbox.conftest import Serve
from tests.sandbox.running import Running, settings


def made(**changes: object) -> tuple[Tuning, Throttles]:
    chosen = settings(**changes)
    throttles = Throttles(chosen.scaled_limits(), lambda scope, count: None)
    chooser = FaultChooser(FaultPlan(chosen.faults, chosen.retry_after), 0.5, random.Random(1))
    return Tuning(chosen, throttles, chooser), throttles


def test_it_begins_as_the_settings_say() -> None:
    tuning, _ = made(limits={"exports": Concurrent(2)}, faults={"500": 0.1}, retry_after=3.0)
    assert tuning.limits == {**DOCUMENTED_LIMITS, "exports": Concurrent(2)}
    assert tuning.plan == FaultPlan({"500": 0.1}, 3.0)


def test_limits_are_kept_as_they_were_chosen_and_enforced_scaled() -> None:
    tuning, throttles = made(limits={"burst": Rate(7, 1.0)}, time_scale=10.0)
    tuning.set_limits({"standard": Rate(40, 30.0), "exports": Concurrent(3)})
    changed = {"burst": Rate(7, 1.0), "standard": Rate(40, 30.0), "exports": Concurrent(3)}
    assert tuning.limits == {**DOCUMENTED_LIMITS, **changed}
    assert tuning.scaled_limits()["standard"] == Rate(40, 3.0)
    assert throttles.window("standard", "u", 0.0).resets_in == 3.0
    assert throttles.window("exports", "u", 0.0).limit == 3
    assert throttles.window("burst", "u", 0.0).limit == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonsense": Rate(1, 1.0)},
        {"burst": Concurrent(1)},
        {"exports": Rate(1, 1.0)},
        {"burst": Rate(1, 1e-323)},
    ],
)
def test_one_wrong_limit_keeps_all_from_being_changed(wrong: dict[str, Limit]) -> None:
    tuning, throttles = made(time_scale=100.0)
    with pytest.raises(ValueError, match=r"\.$"):
        tuning.set_limits({"standard": Rate(40, 60.0), **wrong})
    assert tuning.limits == DOCUMENTED_LIMITS
    assert throttles.window("standard", "u", 0.0).limit == 100


def test_faults_are_exchanged_as_a_whole() -> None:
    tuning, _ = made(faults={"500": 0.1}, retry_after=3.0)
    rates = {"503": 1.0}
    tuning.set_faults(rates, 120)
    rates.clear()
    assert tuning.plan == FaultPlan({"503": 1.0}, 120)
    tuning.set_faults({})
    assert tuning.plan == FaultPlan()


@pytest.mark.parametrize(
    ("rates", "retry_after"),
    [({"501": 0.1}, None), ({"500": 2.0}, None), ({"500": 0.6, "503": 0.6}, None), ({"503": 1.0}, -1.0)],
)
def test_faults_that_cannot_be_drawn_leave_the_former(
    rates: dict[str, float], retry_after: float | None
) -> None:
    tuning, _ = made(faults={"500": 0.1})
    with pytest.raises(ValueError, match=r"\.$"):
        tuning.set_faults(rates, retry_after)
    assert tuning.plan == FaultPlan({"500": 0.1})


def test_it_shows_how_things_are() -> None:
    tuning, _ = made()
    tuning.set_limits({"standard": Rate(40, 60.0)})
    tuning.set_faults({"503": 1.0}, 120.0)
    assert repr(tuning) == (
        "<Tuning standard=40/60, burst=20/1, anonymous=30/60, signup=5/60, inference=10/60, uploads=10, "
        "exports=5, streams=20; {'503': 1.0}, retry_after=120.0>"
    )


async def test_a_running_sandbox_is_changed_in_process_and_its_settings_stay(running: Running) -> None:
    sandbox = running.sandbox
    before = sandbox.settings
    sandbox.set_limits({"standard": Rate(1, 60.0)})
    sandbox.set_faults({"503": 1.0}, retry_after=120)
    outage = await running.get("/users/me/")
    assert (outage.status, outage.headers["Retry-After"]) == (503, "120")
    assert outage.headers["X-RateLimit-Limit"] == "1"
    assert (await running.get("/users/me/")).status == 429
    sandbox.set_limits({"standard": Rate(2, 60.0)})
    sandbox.set_faults({})
    assert (await running.get("/users/me/")).status == 200
    assert sandbox.settings == before == settings()


async def test_an_outage_keeps_no_retry_after_that_it_does_not_name(serve: Serve) -> None:
    running = await serve(retry_after=3.0)
    assert (await running.get("/users/me/", fault="503")).headers["Retry-After"] == "3"
    running.sandbox.set_faults({"503": 1.0})
    assert "Retry-After" not in (await running.get("/users/me/")).headers


@pytest.mark.parametrize("scope", DOCUMENTED_LIMITS)
def test_every_documented_limit_can_be_set_to_what_it_is(scope: str) -> None:
    Sandbox().set_limits({scope: DOCUMENTED_LIMITS[scope]})
