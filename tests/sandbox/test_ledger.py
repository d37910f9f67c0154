"""The ledger tells what was really done, and forgets entries but never counts."""

from proxy.sandbox import Ledger


def test_counters_outlive_the_entries_that_made_them() -> None:
    ledger = Ledger(2)
    for _ in range(5):
        entry = ledger.arrive(1.0, "GET", "/x")
        entry.status, entry.executed = 200, True
        ledger.finish(entry)
    summary = ledger.summary()
    assert [entry["seq"] for entry in summary["entries"]] == [4, 5]
    assert summary["requests"] == 5
    assert summary["by_status"] == {"200": 5}
    assert summary["executed"] == {"GET": 5}


def test_an_exchange_without_a_head_counts_as_none() -> None:
    ledger = Ledger(10)
    ledger.finish(ledger.arrive(1.0, "POST", "/x"))
    assert ledger.summary(entries=False) == {
        "requests": 1,
        "in_flight": 0,
        "by_status": {"none": 1},
        "executed": {},
        "throttled": {},
        "peak": {},
    }


def test_refusals_and_peaks_are_counted_by_scope() -> None:
    ledger = Ledger(10)
    entry = ledger.arrive(1.0, "GET", "/x")
    entry.throttled_by = "burst"
    ledger.finish(entry)
    for count in (1, 3, 2):
        ledger.saw("standard", count)
    assert ledger.summary()["throttled"] == {"burst": 1}
    assert ledger.summary()["peak"] == {"standard": 3}


def test_a_request_that_was_open_when_the_ledger_was_emptied_counts_nowhere() -> None:
    ledger = Ledger(10)
    entry = ledger.arrive(1.0, "GET", "/x")
    ledger.clear()
    ledger.finish(entry)
    assert ledger.summary()["requests"] == 0
    assert ledger.summary()["by_status"] == {}
    assert repr(ledger) == "<Ledger 0 requests, 0 in flight, {}>"
