"""When others know that nothing is heard of us: only then does one spend alone."""

import math

from proxy.adapters.presence import LEASE, LONGEST_LEASE, Presence

PATIENCE = 0.2


def test_who_waits_promises_to_ask_at_its_turn_and_not_much_later() -> None:
    presence = Presence()
    assert presence.lease(None) == LEASE
    assert presence.lease(-5.0) == LEASE
    assert presence.lease(1.5) == 1.5 + LEASE
    assert presence.lease(math.inf) == LONGEST_LEASE


def test_a_promise_that_was_heard_replaces_the_one_before() -> None:
    presence = Presence()
    presence.sends(10.0, PATIENCE, 3.0)
    assert presence.until == 13.2
    presence.heard(10.0, PATIENCE, 3.0)
    presence.sends(11.0, PATIENCE, 1.0)
    assert presence.until == 13.2, "the new one may not have been heard"
    presence.heard(11.0, PATIENCE, 1.0)
    assert presence.until == 12.2
    assert presence.promised == 12.0


def test_a_promise_of_which_nothing_is_known_may_hold() -> None:
    presence = Presence()
    presence.sends(10.0, PATIENCE, 3.0)
    presence.lost()
    presence.sends(10.5, PATIENCE, 1.0)
    presence.heard(10.5, PATIENCE, 1.0)
    assert presence.until == 13.2, "the lost one may come in after the other"
    assert presence.promised == 11.5


def test_who_said_good_bye_is_not_waited_for() -> None:
    presence = Presence()
    presence.sends(10.0, PATIENCE, 1.0)
    presence.heard(10.0, PATIENCE, 0.0)
    assert presence.until == 10.2
