"""How a replica takes a slot in those lanes of a request that have one key: in its turn, or of its share.

A slot is asked for when it is our turn as far as is known. Whoever asked without knowing the latest is told
it, and asks again. While the store cannot be asked, it is the share of this replica that has to suffice.
"""

import math
from collections.abc import Iterable

from proxy.adapters.account import Account
from proxy.adapters.calls import NOT_NOW, Asked
from proxy.adapters.presence import LEASE
from proxy.adapters.shared_grant import Part
from proxy.adapters.wire import Entry, Reply, Writing
from proxy.policy.limits import Lane, Lanes
from proxy.policy.window import SlidingWindow
from proxy.turn import Busy

_UNTOLD = 1.0
"""Longest that a replica waits (seconds) for what others have to tell."""

_MARGIN = 0.3
"""Seconds beyond its lease before a replica spends alone: then others know that it may."""

_ROUNDS = 4


async def take(account: Account, lanes: Lanes, *, cautious: bool) -> Part | Busy:
    """Take a slot in each of these lanes, or say for which to wait, and until when."""
    book, clock = account.book, account.clock
    async with account.lock():
        for _ in range(_ROUNDS):
            if account.outage:
                return _take_alone(account, lanes, cautious=cautious)
            if not book.synced:
                await account.call()
                continue
            lane, at = _turn(account, lanes, cautious=cautious)
            if at > clock.now() and book.ahead(lane.limit) is not None:
                return _busy(account, lane, at)
            outcome = await _ask(account, lanes, cautious=cautious)
            if outcome is not None:
                return outcome
    return Busy(lanes[0], clock.now() + 0.05)


def _turn(account: Account, lanes: Lanes, *, cautious: bool) -> tuple[Lane, float]:
    now, time = account.clock.now(), account.calls.time
    there = time.earliest(now)
    at, lane = account.book.due(lanes, there, cautious=cautious)
    return lane, now if at <= there else time.here(at)


def _busy(account: Account, lane: Lane, at: float) -> Busy:
    """Say when to ask again, also where that depends on what others have not told yet."""
    now, book, time = account.clock.now(), account.book, account.calls.time
    room = book.rooms.room(lane, book.now)
    if at == math.inf:
        at = now + _UNTOLD
        if isinstance(room, SlidingWindow) and room.measured and book.held:
            taken = (held.slot(lane).taken for held in book.held.values() if lane in held.lanes)
            oldest = min(taken, default=book.now)
            at = max(now + 0.1, min(time.here(oldest + room.hold), now + room.hold))
    account.due = max(account.due, now, at)
    book.wanting.add(lane.limit)
    return Busy(lane, max(at, now + 0.001))


async def _ask(account: Account, lanes: Lanes, *, cautious: bool) -> Part | Busy | None:
    """Ask the store; None if it has to be asked again, or is gone."""
    asked = _question(account, lanes, cautious=cautious)
    try:
        reply = await account.call(asked)
    except BaseException:
        _undo(account, asked, lanes)
        raise
    if reply is None:
        _undo(account, asked, lanes)
        return None
    return _outcome(account, lanes, asked, reply, cautious=cautious)


def _question(account: Account, lanes: Lanes, *, cautious: bool) -> Asked:
    """Write down how many may be held in each lane for one more to be granted to us."""
    book, there = account.book, account.calls.time.earliest(account.clock.now())
    allowed = []
    for lane in lanes:
        room, others = book.rooms.room(lane, there), 0
        if book.ahead(lane.limit) is None:
            others = book.lines.length(lane.limit)
        closed = not room.measured or room.resumption.paused_until > there
        if closed and room.ready_at(there, cautious=cautious, ahead=others) > there:
            allowed.append(NOT_NOW)
        else:
            allowed.append(max(0, room.allowed(there, cautious=cautious) - others))
    strict = not all(book.rooms.room(lane, there).measured for lane in lanes)
    book.asks()
    book.writes += 1
    limits = tuple(lane.limit for lane in lanes)
    return Asked(account.new_id(), limits, tuple(allowed), strict, book.writes)


def _outcome(
    account: Account, lanes: Lanes, asked: Asked, reply: Reply, *, cautious: bool
) -> Part | Busy | None:
    if reply.status == "ok":
        account.due = account.clock.now()
        return _granted(account, asked.id, lanes)
    free = account.calls.time.here(reply.at)
    if reply.status == "young":
        account.calls.put_off = free
        return Busy(lanes[0], max(free, account.clock.now() + 0.001))
    if reply.status == "busy":
        _, turn = _turn(account, lanes, cautious=cautious)
        return _busy(account, account.book.lane(account.terms.limits[reply.lane - 1]), max(turn, free))
    return None


def _granted(account: Account, id_: str, lanes: Lanes) -> Part:
    part = account.open[id_] = Part(account, id_, lanes)
    account.book.wanting.difference_update(lane.limit for lane in lanes)
    return part


def _undo(account: Account, asked: Asked, lanes: Lanes) -> None:
    """Give back what may have been granted by an answer that did not come."""
    if not account.book.knows(asked.id):
        account.book.apply(Entry(asked.id, "t", account.calls.latest(), (list(asked.limits),)))
    account.note("f", (asked.id,), freed_now(asked.id, lanes))


def freed_now(id_: str, lanes: Iterable[Lane]) -> list[tuple[str, str, str]]:
    """Return what it means for the store that slots are given back."""
    return [(lane.limit, id_, "") for lane in lanes]


def _take_alone(account: Account, lanes: Lanes, *, cautious: bool) -> Part | Busy:
    now, book, time, alone = account.clock.now(), account.book, account.calls.time, account.calls.alone
    starts = account.calls.presence.until + _MARGIN
    if now < starts:
        return Busy(lanes[0], starts)
    if not alone.begun:
        for lane in lanes:
            book.rooms.room(lane, book.now)
        stale = now > starts + LEASE
        alone.begins(time.latest(now if stale else starts), stale=stale)
    there = time.earliest(now)
    at, lane = alone.due(lanes, there, cautious=cautious)
    if at > there:
        return Busy(lane, max(time.here(at), now + 0.001) if at < math.inf else math.inf)
    entry = Entry(account.new_id(), "t", account.calls.latest(), ([lane.limit for lane in lanes],))
    alone.take(entry)
    book.write(Writing(entry, changes=[(lane.limit, entry.id, "inf") for lane in lanes]))
    return _granted(account, entry.id, lanes)
