"""Callers take turns by weight, urgency goes first, and nobody starves longer than is stated."""

import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.fair_queue import FairQueue
from proxy.policy.limits import Lane, Lanes
from proxy.policy.turns import Place, Rules

A, B = Lane("a", "k"), Lane("b", "k")
AGEING = 30.0


class Served:
    """A queue, who joins it, and who was served, in order; all at a time that stands unless moved on."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.rules = Rules(AGEING, weights or {})
        self.queue = FairQueue(self.rules)
        self.now = 0.0
        self.tickets = itertools.count(1)

    def join(
        self, caller: str = "me", urgency: int = 3, lanes: Lanes = (A,), ticket: int | None = None
    ) -> Place:
        place = Place(
            next(self.tickets) if ticket is None else ticket,
            lanes,
            caller=caller,
            urgency=urgency,
            arrived=self.now,
        )
        self.queue.join(place, self.now)
        return place

    def crowd(self, *callers: tuple[str, int]) -> None:
        """Let so many of each caller join, one after the other."""
        for caller, many in callers:
            for _ in range(many):
                self.join(caller)

    def leave(self, place: Place) -> None:
        place.gone = True
        self.queue.leave(place)

    def one(self) -> Place:
        place = self.queue.next(self.now)
        assert place is not None
        self.queue.took(place, self.now)
        return place

    def take(self, many: int) -> list[Place]:
        return [self.one() for _ in range(many)]

    def callers(self, many: int) -> str:
        return "".join(place.caller[0] for place in self.take(many))

    def urgencies(self, many: int) -> list[int]:
        return [place.urgency for place in self.take(many)]


def jain(shares: Iterable[float]) -> float:
    """Return Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    values = list(shares)
    return math.fsum(values) ** 2 / (len(values) * math.fsum(value * value for value in values))


def deficit_round_robin(weights: Mapping[str, float], work: Mapping[str, int], many: int) -> list[str]:
    """Serve as Shreedhar and Varghese 1995 do; each request costs 1, the smallest quantum is 1."""
    least = min(weights.values())
    left, deficits, served = dict(work), dict.fromkeys(weights, 0.0), list[str]()
    active = deque(weights)
    while active and len(served) < many:
        caller = active.popleft()
        deficits[caller] += weights[caller] / least
        while deficits[caller] >= 1 - 1e-9 and left[caller]:
            deficits[caller] -= 1
            left[caller] -= 1
            served.append(caller)
        if left[caller]:
            active.append(caller)
    return served[:many]


def longest_gap(served: Sequence[str], caller: str) -> int:
    """Return the most turns from one of a caller's to its next."""
    turns = [index for index, other in enumerate(served) if other == caller]
    return max(after - before for before, after in itertools.pairwise(turns))


# --- turns ---------------------------------------------------------------------------------------------


def test_eight_callers_have_equal_turns_though_one_wants_fifty_times_as_much() -> None:
    served, turns = Served(), Counter[str]()
    served.crowd(("greedy", 50 * 40), *((f"{number} modest", 40) for number in range(7)))
    for taken, place in enumerate(served.take(8 * 40), 1):
        turns[place.caller] += 1
        if taken >= 8 * 5:
            assert jain(turns.values()) >= 0.99
    assert set(turns.values()) == {40}
    assert {place.caller for place in served.take(1960)} == {"greedy"}


@given(st.permutations([caller for caller in "abcdefgh" for _ in range(12)]))
def test_in_whatever_order_they_came_nobody_is_two_turns_ahead_while_all_have_work(order: list[str]) -> None:
    served, turns = Served(), Counter(dict.fromkeys("abcdefgh", 0))
    for caller in order:
        served.join(caller)
    for _ in range(8 * 12):
        turns[served.one().caller] += 1
        assert max(turns.values()) - min(turns.values()) <= 1


@pytest.mark.parametrize(
    ("heavy", "light"), [(2.0, 1.0), (1.0, 0.5), (10.0, 1.0), (10.0, 0.5), (100.0, 0.01)]
)
@pytest.mark.parametrize("light_first", [True, False])
def test_weights_give_shares_within_one_turn_at_every_moment(
    heavy: float, light: float, light_first: bool
) -> None:
    served = Served({"heavy": heavy, "light": light})
    served.crowd(*sorted([("heavy", 500), ("light", 500)], reverse=light_first))
    turns = 0
    for taken in range(1, 501):
        turns += served.one().caller == "heavy"
        assert abs(turns - taken * heavy / (heavy + light)) <= 1


weights = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 10.0]), min_size=2
)


@given(weights, st.randoms(use_true_random=False))
def test_no_two_callers_with_work_are_further_apart_than_one_turn_each(
    weighs: dict[str, float], order: random.Random
) -> None:
    # Theorem 1 of Goyal, Vin and Cheng, for requests of length 1, over every interval from the start.
    served, turns = Served(weighs), Counter(dict.fromkeys(weighs, 0))
    joining = [caller for caller in weighs for _ in range(60)]
    order.shuffle(joining)
    for caller in joining:
        served.join(caller)
    for _ in range(60):
        turns[served.one().caller] += 1
        for one, other in itertools.combinations(weighs, 2):
            apart = abs(turns[one] / weighs[one] - turns[other] / weighs[other])
            assert apart <= 1 / weighs[one] + 1 / weighs[other] + 1e-9


RATIOS = [
    {"heavy": 2.0, "light": 1.0},
    {"heavy": 10.0, "light": 1.0},
    {"heavy": 1.0, "light": 0.5},
    {"heavy": 10.0, "middle": 5.0, "light": 1.0},
    {"heavy": 10.0, "other": 10.0, "light": 1.0},
    {"heavy": 7.0, "middle": 2.0, "light": 2.0},
]


@pytest.mark.parametrize("weighs", RATIOS)
def test_the_shares_are_those_of_deficit_round_robin(weighs: dict[str, float]) -> None:
    served = Served(weighs)
    served.crowd(*((caller, 500) for caller in weighs))
    two_rounds = round(2 * sum(weighs.values()) / min(weighs.values()))
    many = two_rounds * (420 // two_rounds)
    reference = deficit_round_robin(weighs, dict.fromkeys(weighs, 500), many)
    ours = Counter(place.caller for place in served.take(many))
    assert all(abs(turns - ours[caller]) <= 1 for caller, turns in Counter(reference).items())


@pytest.mark.parametrize("weighs", RATIOS)
def test_nobody_waits_longer_between_its_turns_than_under_deficit_round_robin(
    weighs: dict[str, float],
) -> None:
    served = Served(weighs)
    served.crowd(*((caller, 500) for caller in weighs))
    ours = [place.caller for place in served.take(420)]
    reference = deficit_round_robin(weighs, dict.fromkeys(weighs, 500), 420)
    # Ten tenths are a hair less than one: where floats cannot hold 1/weight, each other may slip in once.
    slips = 0 if all(math.log2(weight).is_integer() for weight in weighs.values()) else len(weighs) - 1
    for caller in weighs:
        assert longest_gap(ours, caller) <= longest_gap(reference, caller) + slips


@pytest.mark.parametrize(
    ("weighs", "caller", "ours", "reference"),
    [
        # The lightest one's gap is the sum of all weights, whatever the order: the mean cannot be beaten.
        ({"heavy": 8.0, "light": 1.0}, "light", 9, 9),
        ({"heavy": 8.0, "middle": 4.0, "light": 1.0}, "light", 13, 13),
        # From three on, a heavy caller's turns no longer come in a run, which is what the others wait for.
        ({"heavy": 8.0, "middle": 4.0, "light": 1.0}, "middle", 4, 10),
        ({"heavy": 10.0, "middle": 5.0, "light": 1.0}, "middle", 4, 12),
        ({"heavy": 10.0, "other": 10.0, "light": 1.0}, "other", 3, 12),
        # By rounding, see above.
        ({"heavy": 10.0, "light": 1.0}, "light", 12, 11),
    ],
)
def test_turns_come_spread_out_where_deficit_round_robin_gives_them_in_a_run(
    weighs: dict[str, float], caller: str, ours: int, reference: int
) -> None:
    served = Served(weighs)
    served.crowd(*((each, 500) for each in weighs))
    assert longest_gap([place.caller for place in served.take(420)], caller) == ours
    assert longest_gap(deficit_round_robin(weighs, dict.fromkeys(weighs, 500), 420), caller) == reference


@pytest.mark.parametrize("before", range(25))
def test_a_newcomer_is_not_held_up_by_the_run_of_a_heavy_caller(before: int) -> None:
    # Under deficit round robin, up to ten of the heavy one's requests go first: the rest of its run.
    served = Served({"heavy": 10.0})
    served.crowd(("heavy", 100))
    served.take(before)
    served.join("newcomer")
    assert "n" in served.callers(2)
    assert (
        deficit_round_robin({"heavy": 10.0, "newcomer": 1.0}, {"heavy": 100, "newcomer": 1}, 11)[-1]
        == "newcomer"
    )


def test_at_equal_urgency_a_callers_oldest_goes_first() -> None:
    served = Served()
    for ticket in (5, 6, 2, 9, 1):
        served.join(ticket=ticket)
    assert [place.ticket for place in served.take(5)] == [1, 2, 5, 6, 9]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(2, 4), st.sampled_from([(A,), (A, B)]))))
def test_of_one_caller_and_urgency_tickets_go_in_order_over_all_files(
    plan: list[tuple[str, int, Lanes]],
) -> None:
    served, last = Served({"a": 3.0}), Counter[tuple[str, int]]()
    for caller, urgency, lanes in plan:
        served.join(caller, urgency, lanes)
    for place in served.take(len(plan)):
        assert place.ticket > last[place.caller, place.urgency]
        last[place.caller, place.urgency] = place.ticket
    assert served.queue.next(0.0) is None


def test_who_was_away_gets_no_credit_for_it() -> None:
    served = Served()
    served.crowd(("away", 1), ("busy", 101))
    served.take(100)
    served.crowd(("away", 10))
    assert served.callers(4) in {"abab", "baba"}


def test_who_had_turns_while_alone_pays_nothing_for_them() -> None:
    served = Served()
    served.crowd(("early", 200))
    served.take(100)
    served.crowd(("late", 100))
    assert Counter(served.callers(20)) == {"e": 10, "l": 10}


def test_who_leaves_and_comes_back_at_once_gains_nothing() -> None:
    served = Served()
    served.crowd(("honest", 20))
    place, turns = served.join("restless"), Counter[str]()
    for _ in range(20):
        served.leave(place)
        place = served.join("restless")
        taken = served.one()
        turns[taken.caller] += 1
        if taken is place:
            place = served.join("restless")
    assert turns == {"honest": 10, "restless": 10}


def test_the_callers_that_are_remembered_are_bounded() -> None:
    served = Served()
    for number in range(3000):
        served.crowd(("here", 1), (f"once {number}", 1))
        served.take(2)
    assert all(len(turns._next) <= 1025 for turns in served.queue._turns)


def test_new_names_without_end_do_not_starve_who_keeps_its_name() -> None:
    served = Served()
    served.crowd(("named", 2), ("a", 1), ("b", 1))
    served.one()
    for number in range(5000):
        served.join(f"x{number}")
        if served.one().caller == "named":
            return
    pytest.fail("5000 were let by")


# --- urgency -------------------------------------------------------------------------------------------


def test_the_more_urgent_goes_first_whoever_asks() -> None:
    served = Served({"heavy": 100.0})
    for urgency in (7, 3, 5, 1, 6, 2, 4):
        served.join("heavy" if urgency > 3 else "light", urgency)
    assert served.urgencies(7) == [1, 2, 3, 4, 5, 6, 7]


def test_turns_at_one_urgency_are_none_of_the_others_business() -> None:
    served = Served()
    for _ in range(5):
        served.join("a", 2)
    served.take(5)
    for caller in "ab" * 3:
        served.join(caller)
    assert served.callers(6) == "ababab"


def test_urgency_zero_goes_before_all_others_but_not_twice_in_a_row_past_somebody_at_one() -> None:
    served = Served()
    for urgency in (0, 0, 0, 0, 1, 1, 2):
        served.join(urgency=urgency)
    assert served.urgencies(7) == [0, 1, 0, 1, 0, 0, 2]


@given(st.lists(st.sampled_from([0, 0, 1, 2, "take", "take"]), max_size=60))
def test_an_urgent_request_that_is_the_first_of_its_kind_waits_at_most_one_slot(
    plan: list[int | str],
) -> None:
    served, waiting, passed, urgent_last = Served(), Counter[int](), 0, False
    for step in plan:
        if isinstance(step, int):
            served.join(urgency=step)
            waiting[step] += 1
        elif waiting.total():
            urgency = served.one().urgency
            passed = passed + 1 if waiting[0] and urgency else 0
            assert passed <= 1
            assert not (urgency == 0 and urgent_last and waiting[1])
            assert urgency == min(waiting) or (min(waiting) == 0 and urgency == 1)
            urgent_last = urgency == 0
            waiting[urgency] -= 1
            waiting = +waiting


def test_urgent_ones_take_turns_too() -> None:
    served = Served()
    for caller in "aaabbb":
        served.join(caller, 0)
    assert served.callers(6) == "ababab"


@pytest.mark.parametrize("urgency", range(2, 8))
def test_waiting_makes_more_urgent_by_one_each_time_and_not_before(urgency: int) -> None:
    served = Served()
    served.join("patient", urgency)
    aged = (urgency - 1) * AGEING
    for served.now in (0.0, aged / 2, aged - 0.001):
        served.join("flood", 1)
        assert served.callers(1) == "f"
    served.now = aged
    served.join("flood", 1)
    assert served.callers(1) == "p"


def test_the_least_urgent_is_as_good_as_any_at_one_after_six_times_ageing() -> None:
    served = Served()
    served.join("patient", 7)
    served.now = 6 * AGEING - 0.001
    for _ in range(3):
        served.join("urgent", 0)
        served.join("soon", 1)
    assert served.callers(2) == "us"
    served.now = 6 * AGEING
    assert served.callers(2) == "up"


def test_ageing_never_leads_past_one() -> None:
    served = Served()
    served.join("patient", 7)
    served.now = 1000 * AGEING
    served.join("urgent", 0)
    assert served.callers(2) == "up"


callers = st.sampled_from(["me", "b", "c", "heavy"])
arrivals = st.lists(
    st.tuples(st.integers(0, 6), callers, st.integers(1, 7)), min_size=1, max_size=40
)  # slots until the next one comes, whose it is, its urgency


@given(arrivals=arrivals, slots_per_step=st.integers(1, 4), heavy=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_longest_starvation_is_as_stated_under_a_flood_of_urgent_ones(
    arrivals: list[tuple[int, str, int]], slots_per_step: int, heavy: float
) -> None:
    """Check the module's bound for each request, from the moment when it has come to urgency 1.

    Of the slots that follow, every second one at least is for urgency 1; of these, each other caller has at
    most its weight's part for each of the own caller's requests before it, and for it, and one more.
    """
    served, waiting = Served({"heavy": heavy}), dict[Place, None]()
    slot = AGEING / slots_per_step
    budgets: dict[Place, int] = {}
    passed: dict[Place, Counter[str]] = {}
    slots_since: Counter[Place] = Counter()
    plan = deque(arrivals)
    until = 0
    for step in range(2000):
        served.now = step * slot
        while plan and until <= step:
            gap, caller, urgency = plan.popleft()
            waiting[served.join(caller, urgency)] = None
            until = step + gap
        if not waiting and not plan:
            break
        served.join("flood", 0)
        served.join("flood", 0)
        for place in waiting:
            if place not in budgets and served.rules.level(place, served.now) == 1:
                own = [other for other in waiting if other.caller == place.caller]
                budgets[place] = sum(other.ticket < place.ticket for other in own)
                passed[place] = Counter()
        taken = served.one()
        for place, counts in passed.items():
            slots_since[place] += 1
            if place is not taken and taken.urgency:
                counts[taken.caller] += 1
        if taken.urgency:
            del waiting[taken]
            if taken in passed:
                counts, before = passed.pop(taken), budgets[taken]
                assert slots_since[taken] <= 2 * (counts.total() + 1)
                assert counts[taken.caller] <= before
                for other, turns in counts.items() - {(taken.caller, counts[taken.caller])}:
                    ratio = served.rules.weights.get(other, 1.0) / served.rules.weights.get(taken.caller, 1.0)
                    assert turns <= (before + 1) * ratio + 1 + 1e-9
        assert step < 1990
    assert not waiting


def test_urgency_zero_does_not_go_twice_in_a_row_past_somebody_at_one_in_a_lane() -> None:
    # Lane B is narrow: after each of its turns, only those who need A alone are asked.
    served = Served()
    for _ in range(10):
        served.join("urgent", 0, (A, B))
        served.join("usual", 3, (A,))
    served.join("soon", 1, (A, B))
    in_b = []
    for _ in range(4):
        in_b.append(served.one().caller)
        narrow = served.queue.file((A, B))
        narrow.parked_at = B
        assert served.one().caller == "usual"
        narrow.parked_at = None
    assert "soon" in in_b[:2]


# --- files ---------------------------------------------------------------------------------------------


def test_who_is_parked_is_not_asked() -> None:
    served = Served()
    first, second = served.join(lanes=(A, B)), served.join(lanes=(A,))
    file = served.queue.file((A, B))
    file.parked_at = B
    assert served.one() is second
    assert served.queue.next(0.0) is None
    file.parked_at = None
    assert served.one() is first


def test_a_queue_goes_through_its_files_and_forgets_those_that_empty() -> None:
    served = Served()
    first, second = served.join(lanes=(A, B)), served.join(lanes=(A,))
    assert [file.lanes for file in served.queue] == [(A, B), (A,)]
    assert len(served.queue) == 2
    served.leave(first)
    assert [file.lanes for file in served.queue] == [(A,)]
    assert not served.queue.took(second, 0.0)
    assert list(served.queue) == []
    assert len(served.queue) == 0


def test_who_is_passed_over_has_had_no_turn() -> None:
    served = Served()
    first = served.join("a")
    served.crowd(("b", 1), ("a", 1))
    served.queue.passed_over(first, 0.0)
    assert served.callers(2) == "ba"


def test_a_copy_goes_on_as_the_queue_would_and_by_itself() -> None:
    served = Served({"heavy": 3.0})
    for number in range(40):
        served.join(("heavy", "b", "c")[number % 3], number % 5, ((A,), (A, B))[number % 2])
    served.take(7)
    served.queue.file((A, B)).parked_at = B
    copy = served.queue.copy(0.0)
    served.queue.file((A, B)).parked_at = None
    foreseen = []
    while (place := copy.next(0.0)) is not None:
        copy.took(place, 0.0)
        foreseen.append(place)
    assert len(served.queue) == 33
    assert served.take(33) == foreseen


def test_those_of_one_ticket_may_need_different_lanes() -> None:
    served = Served()
    places = [served.join(lanes=lanes, ticket=1) for lanes in ((A,), (B,))]
    assert set(served.take(2)) == set(places)
