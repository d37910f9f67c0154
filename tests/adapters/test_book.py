"""What one replica knows of all: the same for the same entries, in whatever order they came."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.adapters.book import Book
from proxy.adapters.rooms import Rooms
from proxy.adapters.wire import Entry, Writing, write_news
from proxy.config import Limit, Match
from proxy.policy.limits import Lane, LimitTable
from proxy.turn import News

STANDARD = Limit(name="standard", requests=10, per=6.0, match=Match(anonymous=False))
UPLOADS = Limit(name="uploads", concurrent=3, match=Match(paths=("/api/v1/uploads/",)))
LANE, AT_ONCE = Lane("standard", "team"), Lane("uploads", "team")
LIMITS = LimitTable([STANDARD, UPLOADS])
NOTHING = write_news(News())


def book(me: str = "a", *, replicas: int = 2) -> Book:
    def rooms() -> Rooms:
        return Rooms(LIMITS, transit=1.0, clock_drift=0.0, probe=False, shared=True)

    made = Book("team", me, rooms, horizon=17.0, transit=1.0)
    made.replicas, made.synced = replicas, True
    return made


def take(id_: str, at: float, *limits: str) -> Entry:
    return Entry(id_, "t", at, (list(limits or ("standard",)),))


def settled(id_: str, of: str, at: float) -> Entry:
    return Entry(id_, "s", at, (of, at - 0.1, at - 0.1, NOTHING))


def left(made: Book, at: float, lane: Lane = LANE) -> int:
    return made.rooms.room(lane, at).remaining(at)


@settings(max_examples=200)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_the_order_in_which_it_is_heard_makes_no_difference(seed: int, count: int) -> None:
    chance = random.Random(seed)
    entries = []
    for number in range(count):
        at = 100.0 + 0.25 * number
        entries.append(take(f"b:{number}", at))
        match chance.randrange(4):
            case 0:
                entries.append(settled(f"b:{number}s", f"b:{number}", at + 0.2))
            case 1:
                entries.append(Entry(f"b:{number}f", "f", at, (f"b:{number}",)))
            case 2:
                entries.append(Entry(f"b:{number}n", "n", at + 2.0, (f"b:{number}", at, at)))
    one, other = book(), book()
    one.hear(entries)
    chance.shuffle(entries)
    while entries:
        some, entries = entries[: (size := chance.randrange(1, 4))], entries[size:]
        other.hear(some)
        other.hear(some)
    for later in range(8, 56):
        at = 100.0 + 0.25 * (count + later)
        assert left(one, at) == left(other, at)


def test_what_became_of_a_slot_is_kept_until_the_slot_is_heard_of() -> None:
    made = book()
    made.hear([Entry("b:2", "f", 100.0, ("b:1",))])
    made.hear([take("b:1", 100.0)])
    assert left(made, 100.0) == 10


def test_one_that_fell_silent_has_its_share_withheld_for_a_window_or_until_it_is_back() -> None:
    made = book(replicas=2)
    made.hear([take("b:1", 100.0), settled("b:2", "b:1", 100.2), Entry("c!1", "x", 102.0, ("b", 2))])
    assert left(made, 102.0) == 5, "five are its share, and one of them it has"
    assert left(made, 108.9) == 6
    assert left(made, 109.1) == 10
    again = book(replicas=2)
    again.hear([take("b:1", 100.0), settled("b:2", "b:1", 100.2), Entry("c!1", "x", 102.0, ("b", 2))])
    again.hear([Entry("b:3", "b", 103.0)])
    assert left(again, 103.0) == 9


def test_its_own_silence_a_replica_knows_better() -> None:
    made = book("b")
    made.rooms.room(LANE, 100.0)
    made.hear([Entry("c!1", "x", 100.0, ("b", 2))])
    assert left(made, 100.0) == 10


def test_slots_that_a_silent_one_held_at_once_come_back_later() -> None:
    made = book()
    made.hear([take("b:1", 100.0, "uploads"), Entry("c!1", "x", 102.0, ("b", 2))])
    assert left(made, 102.0, AT_ONCE) == 2
    assert left(made, 133.0, AT_ONCE) == 2, "it may be under way for long: whoever takes it has to say so"


def test_a_pause_that_others_were_told_holds_here_too() -> None:
    made = book()
    made.hear([Entry("b:1", "p", 100.0, ("standard", 4.0))])
    assert made.due((LANE,), 100.0, cautious=False) == (104.0, LANE)


def test_those_ahead_who_have_room_and_do_not_go_hold_nobody_up() -> None:
    made = book()
    made.hear([take(f"c:{number}", 100.0) for number in range(9)])
    made.hear([Entry("b:1", "w", 100.0, ("standard",)), Entry("a:1", "w", 100.1, ("standard",))])
    first, _ = made.due((LANE,), 100.2, cautious=False)
    assert first == pytest.approx(100.2 + 2.0 + 0.01)
    assert made.due((LANE,), 102.3, cautious=False)[0] <= 102.3
    made.asks()
    assert made.due((LANE,), 102.3, cautious=False)[0] > 104.0, "and once only"


def test_what_is_older_than_any_window_is_forgotten() -> None:
    made = book()
    made.hear([take("b:1", 100.0), settled("b:2", "b:1", 100.1)])
    made.hear([take("b:3", 130.0)])
    assert not made.knows("b:1")
    assert list(made.held) == ["b:3"]


@pytest.mark.parametrize("fresh", [False, True])
def test_what_others_write_anew_of_longer_ago_is_left_out(fresh: bool) -> None:
    """Of a slot that was given back they may have forgotten when, but not yet the slot."""
    made, old, now = book(), take("b:1", 100.0), take("c:1", 118.0)
    if not fresh:
        made.hear([now])
    made.hear([settled("b:2", "b:1", 100.1), now, old])
    made.hear([old])
    assert list(made.held) == ["c:1"]
    assert left(made, 130.0) == 9
    made.hear([take("c:2", 102.0)])
    made.hear([take("c:3", 120.0)])
    assert [entry.id for entry in made.everything()] == ["c:1", "c:3"]


def test_writings_are_numbered_in_the_order_in_which_they_are_to_be_carried_out() -> None:
    made = book()
    made.write(Writing(take("a:1", 1.0)))
    made.write(Writing(take("a:2", 2.0)))
    made.write_anew([Writing(take("a:0", 0.5))])
    assert [(one.entry.id, one.number) for one in made.pending] == [("a:0", 3), ("a:1", 4), ("a:2", 5)]
