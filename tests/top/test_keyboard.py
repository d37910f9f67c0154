"""One leaves by `q` or Esc, and not by other keys whose codes begin with that of Esc."""

from collections.abc import Callable

import pytest

from proxy.top.keyboard import Keys


class Later:
    """What is to happen some time after."""

    def __init__(self) -> None:
        self.due: dict[object, Callable[[], object]] = {}

    def __call__(self, _seconds: float, what: Callable[[], object]) -> "Cancelling":
        timer = Cancelling(self)
        self.due[timer] = what
        return timer

    def come(self) -> None:
        """Let the time pass."""
        for what in self.due.values():
            what()


class Cancelling:
    def __init__(self, later: Later) -> None:
        self._later = later

    def cancel(self) -> None:
        self._later.due.pop(self, None)


def leaves(*typed: bytes) -> tuple[bool, bool]:
    """Tell whether somebody who types this leaves at once, and whether they do when nothing follows."""
    left: list[bool] = []
    later = Later()
    keys = Keys(lambda: left.append(True), later)
    for data in typed:
        keys.typed(data)
    at_once = bool(left)
    later.come()
    return at_once, bool(left)


@pytest.mark.parametrize("typed", [b"q", b"Q", b"xyq", b"\x1b[Aq", b"\x1bOPq", b"\xd0\xb9q", b"\x1bxq"])
def test_q_leaves_at_once(typed: bytes) -> None:
    assert leaves(typed) == (True, True)
    assert leaves(*(bytes([byte]) for byte in typed)) == (True, True)


@pytest.mark.parametrize("typed", [b"\x1b", b"\x1b\x1b", b"x\x1b", b"\x1b[A\x1b", b"\x1b["])
def test_esc_leaves_if_nothing_follows(typed: bytes) -> None:
    assert leaves(typed) == (False, True)
    assert leaves(*(bytes([byte]) for byte in typed)) == (False, True)


@pytest.mark.parametrize(
    "typed",
    [
        b"x",
        b" \r\n",
        b"\x1b[A",
        b"\x1b[1;5C",
        b"\x1bOP",
        b"\x1b[15~",
        b"\x1bq",
        b"\x1b[200~",
        b"\xd0\xb9",
        b"\x1b[q",
    ],
)
def test_other_keys_do_not_leave(typed: bytes) -> None:
    assert leaves(typed) == (False, False)
    assert leaves(*(bytes([byte]) for byte in typed)) == (False, False)
