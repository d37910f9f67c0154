"""What becomes of slots that were taken (sent, settled, given back, released), and that others hear of it."""

from collections.abc import Iterable, Sequence

from proxy.adapters.account import Account
from proxy.adapters.book import Book
from proxy.adapters.shared_grant import Part
from proxy.adapters.taking import freed_now
from proxy.adapters.wire import Entry, Writing, write_news
from proxy.policy.limits import Lane, Lanes
from proxy.turn import Learned, News

_PATIENCE = 0.05
"""Seconds beyond the transit after which it is told that one was sent, if it is not answered."""


async def settle(part: Part, news: News) -> Learned:
    """Note that the upstream has counted one, and what it said; return what is learned by that."""
    part.settled = True
    account, calls, book = part.account, part.account.calls, part.account.book
    now = calls.latest()
    mine = News(
        tuple(one for one in news.quotas if one[0].key == book.key),
        news.refused if news.refused in part.lanes else None,
        news.pause,
        news.longest,
    )
    left = min(part.left, now)
    entry = Entry(account.new_id(), "s", now, (part.id, min(part.began, left), left, write_news(mine)))
    changes = []
    for lane in part.lanes:
        free = book.counted(lane, left, now)
        if free is not None:
            changes.append((lane.limit, part.id, "" if lane == mine.refused else f"{free:.6f}"))
    _close(part)
    writing = Writing(entry, mine.refused is not None, changes)
    rooms = [book.rooms.room(lane, book.now) for lane in part.lanes]
    if mine.quotas or mine.refused or not all(room.measured for room in rooms):
        return await _learn(account, part.lanes, writing)
    learned = book.apply(entry)
    account.write(writing)
    return learned


async def _learn(account: Account, lanes: Lanes, writing: Writing) -> Learned:
    """Hold what an answer says against what all replicas sent before it: that is to be heard first."""
    book = account.book
    async with account.lock():
        book.write(writing)
        if not account.outage:
            await account.call(bye=not account.is_here)
        before = _standing(book, lanes)
        learned = book.apply(writing.entry)
        changed = before != _standing(book, lanes)
    if changed:
        told = Entry(account.new_id(), "c", account.calls.latest())
        account.write(Writing(told, critical=True, wake=account.others()))
    return learned


def _standing(book: Book, lanes: Lanes) -> list[tuple[float, ...]]:
    rooms = [book.rooms.room(lane, book.now) for lane in lanes]
    return [
        (room.capacity, room.foreign, room.resumption.most, room.resumption.paused_until) for room in rooms
    ]


def tell_unanswered(account: Account) -> None:
    """Tell of those that were sent and will have been counted, though they are not answered."""
    now = account.calls.latest()
    for part in list(account.open.values()):
        waited = now > part.left + account.book.rooms.transit + _PATIENCE
        if waited and not part.settled and not part.told:
            _tell_sent(part)
            _close(part)


def _tell_sent(part: Part) -> None:
    part.told = True
    account, calls = part.account, part.account.calls
    now = calls.latest()
    left = min(part.left, now)
    entry = Entry(account.new_id(), "n", now, (part.id, min(part.began, left), left))
    account.book.apply(entry)
    account.write(Writing(entry, changes=[one for one in calls.slots(part.id) if one[2] != "inf"]))


def give_back(parts: Iterable[Part]) -> None:
    """Give back slots of which nothing was sent."""
    for part in parts:
        if part.account.open.pop(part.id, None) is not None:
            part.settled = part.ended = True
            _freed_by("f", part, part.lanes)


def release(part: Part) -> None:
    """Note that the exchange is over; what it held for as long comes free."""
    if part.id not in part.account.open:
        return
    if not part.settled and not part.told:
        _tell_sent(part)
    part.ended = True
    held = part.account.book.held.get(part.id)
    if held is not None and held.at_once:
        _freed_by("r", part, held.at_once)
    _close(part)


def _freed_by(kind: str, part: Part, lanes: Sequence[Lane]) -> None:
    """Note what gives slots back at once, and wake who is first in line for them."""
    account = part.account
    wake = account.others([lane.limit for lane in lanes])
    account.note(kind, (part.id,), freed_now(part.id, lanes), wake=wake)


def _close(part: Part) -> None:
    """Forget a part of which nothing is left to tell."""
    account = part.account
    held = account.book.held.get(part.id)
    if (part.settled or part.told) and (part.ended or held is None or not held.at_once):
        account.open.pop(part.id, None)
