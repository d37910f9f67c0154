"""One call to the store, and what is done when both sides do not agree: by answers that are written here."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.adapters.book import Book
from proxy.adapters.calls import Asked, Calls, Terms, Unsteady
from proxy.adapters.rooms import Rooms
from proxy.adapters.store_gone import StoreGone
from proxy.adapters.wire import Entry, Writing
from proxy.config import Limit, Match
from proxy.policy.limits import LimitTable
from proxy.virtual import VirtualClock, run_virtual

STANDARD = Limit(name="standard", requests=10, per=6.0, match=Match(anonymous=False))
EPOCH = VirtualClock.epoch


class Store:
    """Answer as it is told, and keep what was asked; `now` is its clock."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def run(self, keys: Sequence[str], args: Sequence[bytes | str]) -> bytes:
        self.asked.append(json.loads(args[0]))
        await asyncio.sleep(0.01)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        said = {"status": "ok", "at": "0", "n": 1, "v": "b:1", "crit": 0, "skew": "0", "lane": -1} | answer
        now = f"{EPOCH + VirtualClock().now():.6f}"
        listed = [said["status"], said["at"], now, said["n"], said["v"], said["crit"], said["skew"], 2]
        return json.dumps([*listed, said["lane"], said.get("entries", [])]).encode()


def calls(store: Store) -> Calls:
    numbers = iter(range(1, 1000))

    def rooms() -> Rooms:
        return Rooms(LimitTable([STANDARD]), transit=1.0, clock_drift=0.0, probe=False, shared=True)

    book = Book("team", "a", rooms, horizon=17.0, transit=1.0)
    terms = Terms("a", "test", ("standard",), 17.0, 0.2, 4)
    return Calls(book, terms, store.run, VirtualClock(), lambda: f"a:{next(numbers)}")


def asked(number: int) -> Asked:
    return Asked("a:take", ("standard",), (10,), strict=False, number=number)


def run(store: Store, *, twice: bool = False, **how: Any) -> Calls:
    async def main() -> Calls:
        made = calls(store)
        how.get("before", lambda made: None)(made)
        for _ in range(2 if twice else 1):
            await made.call(how.get("asked"), bye=how.get("bye", False), quiet=how.get("quiet", False))
        return made

    return run_virtual(main())


def noted(made: Calls) -> None:
    made.book.apply(Entry("a:0", "p", EPOCH, ("standard", 4.0)))
    made.book.write(Writing(Entry("a:0", "p", EPOCH, ("standard", 4.0)), critical=True))


def test_what_waits_is_written_and_what_others_wrote_is_heard() -> None:
    store = Store({"entries": ['["b:1","l",1790000000.0]'], "n": 7, "v": "a:0"})
    made = run(store, before=noted)
    ((id_, payload, critical, changes, number),) = store.asked[0]["e"]
    assert (id_, json.loads(payload)[:2], critical, changes, number) == ("a:0", ["a:0", "p"], True, [], 1)
    assert made.book.knows("b:1")
    assert made.book.pending == []
    assert (made.book.position, made.book.last, made.book.synced) == (7, "a:0", True)


def test_what_was_granted_is_held_and_who_is_busy_stands_in_line() -> None:
    granted = run(Store(), asked=asked(1))
    assert list(granted.book.held) == ["a:take"]
    store = Store({"status": "busy", "lane": 1, "at": "9.0"}, {"status": "busy", "lane": 1, "at": "9.0"})
    busy = run(store, asked=asked(1), twice=True)
    assert not busy.book.held
    assert busy.book.ahead("standard") == 0
    assert [len(call["t"]["w"]) for call in store.asked] == [1, 0], "it is in line by then"


def test_a_store_that_forgot_is_told_everything_and_who_else_there_is() -> None:
    store = Store({"entries": ['["b:1","t",1790000000.0,["standard"]]']}, {"status": "forgot", "n": 0})
    made = run(store, before=noted, twice=True)
    again = store.asked[2]
    assert {entry[0] for entry in again["e"]} == {"a:0", "b:1"}
    assert all(critical for _, _, critical, _, _ in again["e"])
    assert again["o"] == ["b"]
    assert made.book.pending == []


def test_a_clock_that_jumped_is_taken_back_by_who_was_told_so() -> None:
    store = Store({}, {"status": "jumped", "skew": "0"}, {"skew": "-3600.0"})
    made = run(store, twice=True)
    assert ["j" in call for call in store.asked] == [False, False, True]
    assert store.asked[1]["f"] < EPOCH + 0.01 < store.asked[1]["u"]
    assert made.book.skew == "-3600.0"


def test_who_was_taken_for_lost_says_that_it_is_back_and_what_it_holds() -> None:
    store = Store({}, {"status": "lost"})
    made = run(store, asked=asked(1), twice=True)
    back = store.asked[2]
    assert back["b"] is True
    ((_, payload, critical, changes, _),) = back["e"]
    assert (json.loads(payload)[1], critical, changes) == ("b", True, [[1, "a:take", "inf"]])
    assert made.book.pending == []


def test_a_call_that_fails_leaves_everything_to_be_said_again() -> None:
    async def main() -> None:
        store = Store({}, StoreGone("lost", "gone"))
        made = calls(store)
        await made.call()
        noted(made)
        heard = made.presence.promised
        with pytest.raises(StoreGone):
            await made.call()
        assert [one.entry.id for one in made.book.pending] == ["a:0"]
        assert made.presence.promised == heard
        assert made.presence.until > heard + 0.2, "others may have heard it all the same"

    run_virtual(main())


def test_quiet_calls_promise_nothing_and_good_byes_end_what_was_promised() -> None:
    store = Store()
    quiet = run(store, quiet=True)
    assert store.asked[0]["z"] is True
    assert quiet.presence.until < 0
    goodbye = run(store, bye=True)
    assert store.asked[1]["y"] is True
    assert goodbye.presence.until == pytest.approx(0.2)


def test_a_store_that_never_agrees_is_given_up() -> None:
    store = Store(*({"status": "forgot", "n": 0} for _ in range(10)))
    with pytest.raises(Unsteady):
        run(store)
    assert len(store.asked) == 6


def test_replicas_are_counted_when_it_was_long_enough_and_supposed_until_then() -> None:
    async def main() -> None:
        made = calls(Store())
        await made.call()
        assert made.book.replicas == 4
        await asyncio.sleep(18.0)
        await made.call()
        assert made.book.replicas == 2

    run_virtual(main())
