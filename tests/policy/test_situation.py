"""What is judged by is what happened in the last half minute."""

from proxy.errors import ErrorClass, Fault
from proxy.policy.situation import Situation
from proxy.recent import Recent
from tests.policy.moments import CALM, SERVING, lately


def situation(recent: Recent) -> Situation:
    return Situation(SERVING, CALM, (), recent)


def test_what_is_older_does_not_count() -> None:
    now = situation(lately(sent=7, refused=2, server_error=3))
    assert (now.sent, now.refused) == (7, 2)
    assert now.of_class == {ErrorClass.SERVER_ERROR: 3}


def test_errors_add_up_by_fault_but_for_those_that_a_pause_tells_of() -> None:
    now = situation(lately(rate_limited=9, server_error=3, unavailable=1, dns_error=2))
    assert now.of_fault == {Fault.UPSTREAM: 4, Fault.NETWORK: 2}
    assert now.of_class[ErrorClass.RATE_LIMITED] == 9
    assert now.told(Fault.UPSTREAM) == "4 errors in the last 30 s"


def test_half_of_all_that_was_tried_is_severe_and_two_may_be_chance() -> None:
    assert situation(lately(sent=6, server_error=3)).is_severe(Fault.UPSTREAM)
    assert not situation(lately(sent=7, server_error=3)).is_severe(Fault.UPSTREAM)
    assert not situation(lately(sent=2, server_error=2)).is_severe(Fault.UPSTREAM)
    assert situation(lately(dns_error=3)).is_severe(Fault.NETWORK), "nothing could be sent"
