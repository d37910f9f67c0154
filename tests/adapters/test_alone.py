"""What one replica spends while the others cannot be asked."""

import pytest

from proxy.adapters.alone import Alone
from proxy.adapters.wire import Entry
from tests.adapters.test_book import LANE, book, left, settled, take


@pytest.mark.parametrize(("replicas", "share"), [(1, 10), (2, 5), (3, 3), (4, 2), (10, 1)])
def test_alone_one_in_so_many_of_what_is_free_is_ours(replicas: int, share: int) -> None:
    made = book(replicas=replicas)
    alone = Alone(made)
    made.rooms.room(LANE, 100.0)
    made.hear([take("a:0", 100.0), Entry("a:00", "f", 100.0, ("a:0",))])
    alone.begins(100.0, stale=False)
    taken = 0
    while alone.due((LANE,), 100.0, cautious=False)[0] <= 100.0:
        taken += 1
        alone.take(take(f"a:{taken}", 100.0))
    assert taken == share


def test_what_we_held_before_counts_towards_our_share() -> None:
    made = book(replicas=2)
    alone = Alone(made)
    made.hear([take(f"a:{number}", 100.0) for number in range(5)])
    alone.begins(100.0, stale=False)
    assert alone.due((LANE,), 100.0, cautious=False)[0] > 100.0


def test_where_somebody_waits_what_came_free_is_taken() -> None:
    made = book(replicas=2)
    alone = Alone(made)
    made.hear([take(f"b:{number}", 100.0) for number in range(10)])
    made.hear([settled(f"b:{number}s", f"b:{number}", 100.1) for number in range(10)])
    made.hear([Entry("b:w", "w", 101.0, ("standard",))])
    alone.begins(107.5, stale=False)
    assert left(made, 107.5) == 10
    assert alone.due((LANE,), 107.5, cautious=False)[0] > 107.5
