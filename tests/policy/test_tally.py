"""What is known of our own requests at the moment when one of them arrived."""

from proxy.policy.feedback import Quota
from proxy.policy.room import Slot
from proxy.policy.tally import Tally
from proxy.policy.window import SlidingWindow

PER, TRANSIT = 10.0, 1.0


def slot(left: float, counted: float) -> Slot:
    made = Slot(left)
    made.left, made.counted = left, counted
    return made


def tally(*slots: Slot) -> Tally:
    made = Tally()
    for one in slots:
        made.left(one)
        made.counted(one, PER)
    return made


def test_those_that_were_answered_before_are_counted_and_those_that_were_under_way_may_be() -> None:
    before, beside, after = slot(1.0, 1.5), slot(1.8, 2.5), slot(2.1, 2.6)
    one = slot(2.0, 2.4)
    known = tally(before, beside, one, after)
    assert known.when_arrived(one, 2.4, PER, TRANSIT) == (1, 4)
    assert repr(known) == "<Tally 4 left, 4 counted>"


def test_a_slow_answer_says_nothing_of_what_left_when_it_must_have_arrived() -> None:
    slow = slot(2.0, 3.0)
    known = tally(slow, *(slot(float(at), at + 0.5) for at in range(4, 9)))
    assert known.when_arrived(slow, 9.0, PER, TRANSIT) == (0, 1)


def test_those_that_left_the_window_are_not_counted_and_those_at_its_edge_may_be() -> None:
    gone, edge, one = slot(0.0, 0.5), slot(2.0, 3.1), slot(13.0, 13.2)
    assert tally(gone, edge, one).when_arrived(one, 13.2, PER, TRANSIT) == (0, 2)


def test_what_was_refused_was_never_counted() -> None:
    refused, one = slot(1.0, 1.5), slot(2.0, 2.4)
    known = tally(refused, one)
    known.refused(refused)
    known.refused(slot(99.0, 99.0))
    assert known.when_arrived(one, 2.4, PER, TRANSIT) == (0, 1)


def test_it_remembers_no_more_than_two_windows_and_says_so() -> None:
    slots = [slot(at / 10, at / 10 + 0.05) for at in range(3000)]
    known = tally(*slots)
    assert repr(known) in {f"<Tally {count} left, {count} counted>" for count in range(200, 420)}
    assert known.when_arrived(slots[5], 0.6, PER, TRANSIT) is None


def test_an_answer_that_took_longer_than_is_remembered_tells_no_count() -> None:
    window = SlidingWindow(1000, PER, TRANSIT, least=1, most=2000)

    def went(now: float) -> Slot:
        made = window.take(now)
        window.began(made, now)
        window.sent(made, now)
        return made

    slow = went(0.0)
    for at in range(300):
        window.settle(went(at / 5), at / 5)
    window.settle(slow, 60.0)
    window.learn(slow, Quota(1000, 0), 60.0)
    assert (window.capacity, window.foreign) == (1000, 0)


def test_who_is_quicker_than_our_note_of_it_is_not_taken_for_others() -> None:
    window = SlidingWindow(10, PER, TRANSIT)

    def went(at: float) -> Slot:
        made = window.take(at)
        window.began(made, at)
        window.sent(made, at + 0.002)
        window.settle(made, at + 0.005)
        return made

    went(0.0)  # it is counted at 0.0045, and the next one just before that is over
    window.learn(went(PER + 0.004), Quota(10, 8), PER + 0.009)
    assert window.foreign == 0


def test_an_upload_that_is_counted_while_it_is_under_way_is_ours() -> None:
    window = SlidingWindow(10, PER, TRANSIT)
    upload, one = window.take(0.0), window.take(0.0)
    window.began(upload, 0.0)
    window.began(one, 1.0)
    window.sent(one, 1.0)
    window.settle(one, 1.5)
    window.learn(one, Quota(10, 8), 1.5)
    assert window.foreign == 0
    window.take(1.5)  # of which nothing leaves
    after = window.take(2.0)
    window.began(after, 2.0)
    window.sent(after, 2.0)
    window.settle(after, 2.5)
    window.learn(after, Quota(10, 6), 2.5)
    assert window.foreign == 1
