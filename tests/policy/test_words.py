"""Counts, times and lists read as people write them."""

import pytest

from proxy.policy.words import listed, many, rough


def test_one_thing_is_not_many() -> None:
    assert many(1, "error") == "1 error"
    assert many(0, "error") == "0 errors"
    assert many(1000, "request waits", "requests wait") == "1,000 requests wait"


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_the_last_of_a_list_is_joined_by_and(words: list[str], text: str) -> None:
    assert listed(words) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.2, "1 s"),
        (119.0, "119 s"),
        (119.1, "2 min"),
        (121.0, "2 min 1 s"),
        (7199.0, "119 min 59 s"),
        (7200.0, "2 h"),
        (7260.0, "2 h 1 min"),
        (172_800.0, "2 d"),
        (180_000.0, "2 d 2 h"),
    ],
)
def test_what_is_counted_down_is_in_whole_units_and_the_one_that_has_begun_counts(
    seconds: float, text: str
) -> None:
    assert rough(seconds) == text
