"""Settings and the texts that a command line gives for them."""

import pytest

from proxy.sandbox import (
    DOCUMENTED_LIMITS,
    Concurrent,
    Rate,
    SandboxSettings,
    parse_fault_rates,
    parse_limits,
)


def test_the_documented_limits_are_those_of_the_api() -> None:
    assert {scope: str(limit) for scope, limit in DOCUMENTED_LIMITS.items()} == {
        "standard": "100/60",
        "burst": "20/1",
        "anonymous": "30/60",
        "signup": "5/60",
        "inference": "10/60",
        "uploads": "10",
        "exports": "5",
        "streams": "20",
    }


def test_limits_are_read_singly_and_the_rest_stay_documented() -> None:
    limits = parse_limits(["standard=100/6", "burst=7", " exports = 2 "])
    expected = {"standard": Rate(100, 6.0), "burst": Rate(7, 1.0), "exports": Concurrent(2)}
    assert limits == {**DOCUMENTED_LIMITS, **expected}
    assert parse_limits([]) == DOCUMENTED_LIMITS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("minute=5/60", "there is no limit 'minute'; there are standard, burst"),
        ("standard=fast", "standard is requests/seconds, both above 0, such as standard=100/60"),
        ("standard=0/60", "both above 0"),
        ("standard=5/0", "both above 0"),
        ("standard=5/inf", "both above 0"),
        ("exports=5/60", "exports is a whole number at once, at least 1, such as exports=5"),
        ("exports=0", "at least 1"),
        ("exports", "at least 1"),
    ],
)
def test_a_limit_that_cannot_be_read_is_told_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"limit|requests|whole") as refused:
        parse_limits([text])
    assert sentence in str(refused.value)
    assert repr(text) in str(refused.value)


def test_fault_rates_are_read_by_name() -> None:
    assert parse_fault_rates(["500=0.2", "reset = 0.05"]) == {"500": 0.2, "reset": 0.05}
    assert parse_fault_rates(f"{name}=0.1" for name in ["500", "502", "503", "504", "429", "reset", "slow"])


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["501=0.1"], "Unknown fault '501'. Allowed are 500, 502"),
        (["500"], "a fault is NAME=SHARE with a share from 0 to 1"),
        (["500=often"], "a fault is NAME=SHARE"),
        (["500=1.5"], "The share of '500' must lie between 0 and 1, not 1.5."),
        (["500=nan"], "must lie between 0 and 1"),
        (["500=0.6", "503=0.6"], "must not pass 1, and these make 1.2."),
    ],
)
def test_a_fault_rate_that_cannot_be_read_is_told_what_is_allowed(texts: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"fault|share") as refused:
        parse_fault_rates(texts)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"time_scale": 0.0},
        {"after_share": 1.1},
        {"retry_after": -1.0},
        {"retry_after": float("inf")},
        {"slow_seconds": -1.0},
        {"transit": (0.2, 0.1)},
        {"export_seconds": -1.0},
        {"page_size": 0},
        {"upload_quota": -1},
        {"faults": {"nonsense": 0.1}},
        {"limits": {"standard": Concurrent(5)}},
        {"limits": {"nonsense": Rate(1, 1.0)}},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        SandboxSettings(**changes)  # type: ignore[arg-type]  # the point is what is not allowed


def test_time_runs_faster_by_the_scale_and_concurrent_limits_do_not_change() -> None:
    settings = SandboxSettings(limits={"burst": Rate(5, 2.0)}, time_scale=10.0, export_seconds=3.0)
    scaled = settings.scaled_limits()
    assert scaled["burst"] == Rate(5, 0.2)
    assert scaled["standard"] == Rate(100, 6.0)
    assert scaled["exports"] == Concurrent(5)
    assert settings.scaled_export_seconds == 0.3
