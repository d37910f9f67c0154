"""What has been spent, shared with other replicas through Redis or Valkey.

A slot is granted by the store alone, in one script that counts what is held in every lane of a request. What
else is known of a limit (others' use, pauses, probes, its size) each replica works out by the same entries
(`book.py`), and asks again if it was behind. While the store cannot be asked, a replica has its share.

Here is the ledger as the rest of the proxy sees it: an account for each key, and the store that all need.
"""

import asyncio
import math
from collections.abc import Iterable

from proxy.adapters.account import Account
from proxy.adapters.book import Book
from proxy.adapters.calls import Calls, Terms
from proxy.adapters.outage import Outage
from proxy.adapters.rooms import Rooms, Unguarded
from proxy.adapters.settling import give_back, release, settle, tell_unanswered
from proxy.adapters.shared_grant import Part, SharedGrant, parts_of
from proxy.adapters.taking import take
from proxy.adapters.ways import Ways
from proxy.clock import Clock
from proxy.policy.limits import Lane, Lanes, LimitTable
from proxy.policy.outlook import Outlook
from proxy.turn import Busy, Freed, Grant, LaneState, Learned, News

_LATECOMERS = 10.0
"""Seconds for which what happened is kept beyond the longest window, for those who were cut off."""

_GREETING = 15.0
"""Seconds after which it is looked whether the store is still there, if nothing else was asked."""


class RedisLedger(Unguarded):
    """Spend from a budget that is shared, by `assumed` replicas as long as none was heard of."""

    def __init__(
        self,
        limits: LimitTable,
        ways: Ways,
        clock: Clock,
        *,
        transit: float,
        clock_drift: float,
        probe: bool,
        assumed: int,
    ) -> None:
        self._ways = ways
        self._clock = clock
        self._probe = probe
        self._assumed = assumed
        self._number = 0
        self._accounts: dict[str, Account] = {}
        self._listeners: set[asyncio.Task[None]] = set()
        self._freed: Freed = lambda lanes: None
        self._limits = limits
        self._in_doubt = False
        self._outage = Outage(ways, clock, waiting=self._waiting, began=self._gone, ended=self._back)
        self.configure(limits, transit=transit, clock_drift=clock_drift)
        self._greeting = self._open_account(f"of {ways.me}")

    def configure(self, limits: LimitTable, *, transit: float, clock_drift: float) -> None:
        """Go by other limits; what was spent of those that stay is kept."""
        known = self._limits.by_name | limits.by_name  # who waits for one that is gone still does
        self._limits = LimitTable(list(known.values()))
        self._transit, self._drift = transit, clock_drift
        longest = max((limit.per or 0.0 for limit in known.values()), default=0.0)
        horizon = longest * (1 + clock_drift) + transit + _LATECOMERS
        ways = self._ways
        self._terms = Terms(ways.me, ways.prefix, tuple(known), horizon, ways.patience, self._assumed)
        for account in self._accounts.values():
            account.calls.configure(self._terms)
            account.book.configure(self._limits, horizon=horizon, transit=transit, clock_drift=clock_drift)
            self._freed(account.lanes)

    @property
    def trouble(self) -> str:
        """Why the store cannot be asked; "" if it can."""
        return self._outage.reason

    @property
    def replicas(self) -> int:
        """How many replicas were seen lately."""
        return max((account.book.replicas for account in self._accounts.values()), default=0) or self._assumed

    def on_freed(self, freed: Freed) -> None:
        self._freed = freed

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._terms.me}:{self._number}"

    def _of(self, key: str) -> Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = self._open_account(key)
        return account

    def _open_account(self, key: str) -> Account:
        terms = self._terms
        book = Book(key, terms.me, self._rooms, horizon=terms.horizon, transit=self._transit)
        book.replicas = self._assumed
        calls = Calls(book, terms, self._ways.run, self._clock, self._new_id)
        return Account(calls, self._outage, lambda lanes: self._freed(lanes))

    def _rooms(self) -> Rooms:
        return Rooms(
            self._limits, transit=self._transit, clock_drift=self._drift, probe=self._probe, shared=True
        )

    async def take(self, lanes: Lanes, *, cautious: bool = False) -> Grant | Busy:
        parts: list[Part] = []
        try:
            for key in dict.fromkeys(lane.key for lane in lanes):
                of_key = tuple(lane for lane in lanes if lane.key == key)
                outcome = await take(self._of(key), of_key, cautious=cautious)
                if isinstance(outcome, Busy):
                    give_back(parts)
                    return outcome
                parts.append(outcome)
        except BaseException:
            give_back(parts)
            raise
        return SharedGrant(lanes, tuple(parts))

    def began(self, grant: Grant) -> None:
        for part in parts_of(grant):
            part.began = min(part.began, part.account.calls.latest())

    def sent(self, grant: Grant) -> None:
        for part in parts_of(grant):
            part.left = min(part.left, part.account.calls.latest())

    async def settle(self, grant: Grant, news: News) -> Learned:
        learned = [await settle(part, news) for part in parts_of(grant) if not part.settled]
        self._freed(grant.lanes)
        return Learned(
            max((one.paused for one in learned), default=0.0),
            tuple(move for one in learned for move in one.moved),
            tuple(more for one in learned for more in one.foreign),
            any(one.anew for one in learned),
            tuple(lane for one in learned for lane in one.resumed),
        )

    async def refund(self, grant: Grant) -> None:
        give_back(parts_of(grant))
        self._freed(grant.lanes)

    async def release(self, grant: Grant) -> None:
        for part in parts_of(grant):
            release(part)
        self._freed(grant.lanes)

    async def pause(self, lane: Lane, seconds: float) -> None:
        account = self._of(lane.key)
        account.note("p", (lane.limit, seconds), [], critical=True, wake=account.others())

    def _waiting(self) -> bool:
        return any(account.matters for account in self._accounts.values())

    def _gone(self) -> None:
        for account in self._accounts.values():
            self._freed(account.lanes)

    def _back(self, long: bool) -> None:
        for account in self._accounts.values():
            account.is_back(long=long)

    async def tend(self) -> None:
        """Do what is due; to be called some ten times a second.

        Tell what is sent and not answered; leave lines where nobody asks any more; show that we are here
        while something is under way; and look whether a store that was gone is back.
        """
        in_doubt, self._in_doubt = self._in_doubt, False
        for account in self._accounts.values():
            tell_unanswered(account)
        if self._outage:
            if self._outage.try_due:
                await self._look()
            return
        for key, account in list(self._accounts.items()):
            await account.tend(in_doubt=in_doubt)
            if account.idle:
                del self._accounts[key]
        heard = (account.calls.heard for account in (self._greeting, *self._accounts.values()))
        if in_doubt or self._clock.now() > max(heard, default=-math.inf) + _GREETING:
            await self.greet()

    async def greet(self) -> None:
        """Look whether the store is there."""
        async with self._greeting.calls.lock:
            await self._greeting.call(bye=True)

    async def _look(self) -> None:
        accounts = self._accounts.values()
        wanted = min(accounts, key=lambda account: not account.book.pending, default=self._greeting)
        async with wanted.calls.lock:
            await wanted.call()

    def doubt(self) -> None:
        """Have it looked soon whether the store is there: a connection to it broke."""
        self._in_doubt = True

    def woken(self, message: bytes) -> None:
        """Hear that something has come free earlier than was said."""
        account = self._accounts.get(message.decode("latin-1"))
        if account is not None and not self._outage:
            task = asyncio.get_running_loop().create_task(account.hear())
            self._listeners.add(task)
            task.add_done_callback(self._listeners.discard)

    async def close(self) -> None:
        """Tell what is left to tell, as far as the store can be reached."""
        for account in list(self._accounts.values()):
            await account.close()
        await asyncio.gather(*self._listeners, return_exceptions=True)

    def capacity(self, lane: Lane) -> int:
        return self._of(lane.key).book.capacity(lane)

    def outlook(self, lane: Lane) -> Outlook:
        account = self._of(lane.key)
        now, book = self._clock.now(), account.book
        there = account.calls.time.earliest(now)
        others = book.lines.length(lane.limit) - (book.ahead(lane.limit) is not None)
        among = self.replicas if self._outage else others + 1
        return book.rooms.room(lane, there).outlook(there).by(there - now, among)

    def lanes(self) -> Iterable[LaneState]:
        for account in self._accounts.values():
            yield from account.book.rooms.states(account.calls.time.earliest(self._clock.now()))
