"""Those who ask for the same before it has left share one exchange, and nobody gets an answer from before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.account import Account
from proxy.coalescing import Coalescing
from proxy.config import Coalescing as Settings
from proxy.config import Limit
from proxy.errors import ErrorClass, QueueTimeout, ShuttingDown, UpstreamError, UpstreamFailed
from proxy.events import AttemptEnded, Coalesced, Failed
from proxy.messages import Headers, Request, Response
from proxy.party import Abandoned, Party
from proxy.policy.alike import Alike
from proxy.virtual import VirtualClock, run_virtual
from tests.fakes import BrokenBody, headers, request, response
from tests.test_forwarder import Journey, Stream, broken_off

NARROW = Limit(name="narrow", requests=1, per=6.0)


def journey(*script: Response | UpstreamError, **options: object) -> Journey:
    return Journey(list(script), limits=[NARROW], coalescing=Settings(), **options)  # type: ignore[arg-type]


class Clients:
    """Clients of one journey, each with what it got."""

    def __init__(self, through: Journey) -> None:
        self.through = through
        self.accounts: dict[int, Account] = {}

    def asks(self, ticket: int, **options: object) -> "asyncio.Task[tuple[int, bytes, Headers]]":
        made = request(ticket=ticket, **options)  # type: ignore[arg-type]
        account = self.accounts[ticket] = Account()
        return asyncio.create_task(self._go(made, account))

    async def _go(self, made: Request, account: Account) -> tuple[int, bytes, Headers]:
        async with self.through.forwarder.exchange(made, account) as answer:
            content = b"".join([chunk async for chunk in answer.body.chunks()])
            return answer.status, content, answer.headers

    @property
    def went(self) -> list[tuple[float, int]]:
        return [(round(at, 3), made.ticket) for at, made in self.through.upstream.arrivals]


def test_those_who_wait_for_the_same_get_one_answer_of_their_own_each() -> None:
    clients = Clients(journey(response(200, b"first"), response(200, b"second")))

    async def main() -> None:
        first = clients.asks(0)
        await asyncio.sleep(1.0)
        rest = [clients.asks(ticket) for ticket in range(1, 6)]
        answers = await asyncio.gather(first, *rest)
        assert [content for _, content, _ in answers] == [b"first"] + [b"second"] * 5

    run_virtual(main())
    assert clients.went == [(0.0, 0), (6.0, 1)]
    assert [account.coalesced for account in clients.accounts.values()] == [False, False, *[True] * 4]
    assert clients.through.seen(Coalesced) == [Coalesced(request().route)] * 4
    assert len(clients.through.seen(AttemptEnded)) == 2
    assert [account.attempts for account in clients.accounts.values()] == [1] * 6
    assert {account.waited for account in clients.accounts.values()} == {0.0, 5.0}
    assert clients.accounts[3].limit == "narrow"


def test_whoever_comes_first_takes_the_others_along_in_whatever_order_they_asked() -> None:
    clients = Clients(journey())

    async def main() -> None:
        await clients.asks(0, caller="b", target="/api/v1/y/")
        for ticket in range(1, 4):
            clients.asks(ticket, caller="a", target=f"/api/v1/x{ticket}/")
        same = [
            clients.asks(4, caller="a"),
            clients.asks(5, caller="b"),
            clients.asks(6, urgency=0, caller="a"),
        ]
        await asyncio.gather(*same)
        assert asyncio.get_running_loop().time() == 6.0

    run_virtual(main())
    assert clients.went == [(0.0, 0), (6.0, 6)]


def test_what_has_left_is_joined_by_nobody_but_those_who_ask_meanwhile_go_together() -> None:
    through = Journey(limits=[], coalescing=Settings(gather=0.5))
    through.upstream.work = lambda: 2.0
    clients = Clients(through)

    async def main() -> None:
        asked = [clients.asks(0)]
        for ticket in range(1, 5):
            await asyncio.sleep(0.1)
            asked.append(clients.asks(ticket))
        await asyncio.sleep(0.3)
        asked.append(clients.asks(5))
        await asyncio.gather(*asked)

    run_virtual(main())
    assert clients.went == [(0.0, 0), (0.5, 1), (1.0, 5)]


def test_who_asks_alone_or_after_the_answer_waits_for_nobody() -> None:
    clients = Clients(Journey(limits=[], coalescing=Settings(gather=0.5)))

    async def main() -> None:
        for ticket in range(3):
            await clients.asks(ticket)
            await asyncio.sleep(0.1)
        assert len(clients.through.forwarder._coalescing) == 0

    run_virtual(main())
    assert clients.went == [(0.0, 0), (0.1, 1), (0.2, 2)]


def test_gathering_ends_no_later_than_a_deadline_allows() -> None:
    through = Journey(limits=[], coalescing=Settings(gather=0.5))
    through.upstream.work = lambda: 2.0
    clients = Clients(through)

    async def main() -> None:
        await asyncio.gather(clients.asks(0), clients.asks(1, deadline=0.25), clients.asks(2))

    run_virtual(main())
    assert clients.went == [(0.0, 0), (0.0, 1), (0.5, 2)]


def test_nobody_joins_who_asks_after_a_write_of_the_same_credential() -> None:
    clients = Clients(Journey(limits=[Limit(name="narrow", requests=2, per=6.0)], coalescing=Settings()))

    async def main() -> None:
        await clients.asks(0, target="/api/v1/y/")
        write = clients.asks(1, method="POST", target="/api/v1/z/")
        await write
        before = [clients.asks(2), clients.asks(3)]
        await asyncio.sleep(6.0)  # the first read has left, and its answer is old
        await asyncio.gather(*before)
        assert clients.went[2:] == [(6.0, 2)]
        second = clients.asks(4, method="PUT", target="/api/v1/z/")
        await second
        reads = [clients.asks(5)]
        await asyncio.sleep(0)
        clients.through.forwarder._coalescing.alike.admitted(request("PATCH"))
        reads += [clients.asks(6), clients.asks(7)]
        await asyncio.gather(*reads)
        assert [ticket for _, ticket in clients.went[4:]] == [5, 6]

    run_virtual(main())


def test_a_leader_that_leaves_before_its_turn_is_nothing_to_those_who_wait_too() -> None:
    clients = Clients(journey())

    async def main() -> None:
        await clients.asks(0, target="/api/v1/y/")
        same = [clients.asks(ticket) for ticket in range(1, 4)]
        await asyncio.sleep(1.0)
        same[0].cancel()
        await asyncio.gather(*same[1:])

    run_virtual(main())
    assert clients.went == [(0.0, 0), (6.0, 2)]


@pytest.mark.parametrize("seconds", [0.001, 0.5])
def test_a_leader_that_leaves_during_the_call_leaves_the_call_to_the_others(seconds: float) -> None:
    clients = Clients(journey(response(), response(200, b"theirs")))
    clients.through.upstream.work = lambda: 1.0

    async def main() -> None:
        first = clients.asks(0, target="/api/v1/y/")
        same = [clients.asks(ticket) for ticket in range(1, 4)]
        await first
        asyncio.get_running_loop().call_at(7.0 + seconds, same[0].cancel)
        answers = await asyncio.gather(*same, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert [answer[1] for answer in answers[1:] if isinstance(answer, tuple)] == [b"theirs"] * 2

    run_virtual(main())
    assert clients.went == [(0.0, 0), (7.0, 1)]


def test_when_all_have_left_the_call_is_given_up_and_its_slot_runs_out() -> None:
    clients = Clients(journey(response(), response()))
    clients.through.upstream.work = lambda: 1.0

    async def main() -> None:
        first = clients.asks(0, target="/api/v1/y/")
        same = [clients.asks(ticket) for ticket in range(1, 4)]
        await first
        await asyncio.sleep(6.5)
        for one in same:
            one.cancel()
        await asyncio.gather(*same, return_exceptions=True)
        assert clients.through.upstream.under_way.total() == 0
        assert [one.remaining for one in clients.through.ledger.lanes()] == [0]
        await asyncio.sleep(7.0)
        assert [one.remaining for one in clients.through.ledger.lanes()] == [1]

    run_virtual(main())
    ended = clients.through.seen(AttemptEnded)
    assert isinstance(ended[-1], AttemptEnded)
    assert ended[-1].error_class is ErrorClass.CLIENT_DISCONNECTED
    assert len(ended) == 2


def test_retries_are_made_once_for_all() -> None:
    clients = Clients(
        Journey(
            [response(500)] * 2 + [response(200, b"at last")],
            limits=[NARROW.model_copy(update={"per": 0.5})],
            coalescing=Settings(),
        )
    )

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/", method="POST"), *map(clients.asks, range(1, 5))]
        answers = await asyncio.gather(*asked)
        assert [answer[1] for answer in answers[1:]] == [b"at last"] * 4

    run_virtual(main())
    assert [ticket for _, ticket in clients.went] == [0, 1, 1]
    assert [account.attempts for account in clients.accounts.values()] == [1, 2, 2, 2, 2]


def test_a_failure_is_everybodys() -> None:
    failure = UpstreamError(ErrorClass.CONNECTION_REFUSED, "It is down.", written=False)
    clients = Clients(journey(response(), *[failure] * 4))

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/"), *map(clients.asks, range(1, 4))]
        _, *answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [UpstreamFailed] * 3

    run_virtual(main())
    assert {account.error_class for account in list(clients.accounts.values())[1:]} == {
        ErrorClass.CONNECTION_REFUSED
    }


def test_the_earliest_deadline_of_the_party_ends_its_retries() -> None:
    late = response(503, b"busy", retry_after="9")
    clients = Clients(journey(response(), late, response(200, b"late")))

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/")]
        asked += [clients.asks(1, deadline=20.0), clients.asks(2, deadline=12.0)]
        answers = await asyncio.gather(*asked)
        assert [status for status, _, _ in answers] == [200, 503, 503]

    run_virtual(main())


def test_each_has_its_own_deadline_in_line() -> None:
    clients = Clients(journey())

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/"), clients.asks(1), clients.asks(2, deadline=5.0)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[2], QueueTimeout)

    run_virtual(main())
    assert clients.went == [(0.0, 0), (6.0, 1)]


def test_a_newcomer_in_time_because_it_goes_along_is_not_refused() -> None:
    clients = Clients(journey())

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/"), clients.asks(1)]
        asked += [clients.asks(ticket, target=f"/api/v1/x{ticket}/") for ticket in range(2, 6)]
        await asyncio.sleep(0.5)
        asked.append(clients.asks(6, deadline=8.0))
        await asyncio.gather(*asked)

    run_virtual(main())
    assert [ticket for _, ticket in clients.went] == [0, 1, 2, 3, 4, 5]


def test_when_the_proxy_stops_all_of_the_party_are_told() -> None:
    clients = Clients(journey(response(), response(503, retry_after="60")))

    async def main() -> None:
        first, *same = [clients.asks(0, target="/api/v1/y/"), clients.asks(1), clients.asks(2)]
        await first
        await asyncio.sleep(7.0)
        await clients.through.admission.close()
        answers = await asyncio.gather(*same)
        assert [status for status, _, _ in answers] == [503, 503]
        late = await asyncio.gather(clients.asks(3), return_exceptions=True)
        assert isinstance(late[0], ShuttingDown)

    run_virtual(main())


# Streamed answers.


def test_a_large_answer_is_streamed_once_and_everybody_gets_all_of_it() -> None:
    body = Stream(b"one", b"two", b"three", seconds=1.0)
    clients = Clients(journey(response(), Response(200, "", headers(content_length="5000"), body)))

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/"), *map(clients.asks, range(1, 5))]
        _, *answers = await asyncio.gather(*asked)
        assert [answer[1] for answer in answers] == [b"onetwothree"] * 4

    run_virtual(main())
    assert body.closed
    assert len(clients.went) == 2


def test_a_large_answer_that_breaks_off_breaks_off_for_everybody() -> None:
    body = BrokenBody(b"beginning")
    clients = Clients(journey(response(), Response(200, "", headers(content_length="5000"), body)))

    async def main() -> None:
        asked = [clients.asks(0, target="/api/v1/y/"), *map(clients.asks, range(1, 4))]
        _, *answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in answers] == [UpstreamError] * 3

    run_virtual(main())
    assert body.closed
    assert clients.through.seen(Failed) == [broken_off(request(ticket=1))]


class Endless:
    """A body that never ends, and counts what was asked of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.given = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            self.given += 1
            yield b"x" * self.size
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.closed = True


class Turn:
    async def end(self) -> None:
        return


@asynccontextmanager
async def carried(body: Endless) -> AsyncIterator[Response]:
    yield Response(200, "", Headers(), body)
    await body.close()


def test_a_stream_is_no_further_ahead_of_its_slowest_reader_than_the_window() -> None:
    body = Endless(64 * 1024)

    async def main() -> None:
        party = Party(1e9, "none")

        async def reader(most: int) -> None:
            async with party.answer(Account()) as answer:
                read = 0
                async for _ in answer.body.chunks():
                    read += 1
                    if read == most:
                        await asyncio.sleep(10.0)  # takes nothing for a while, then leaves
                        return

        slow, fast = asyncio.create_task(reader(1)), asyncio.create_task(reader(100))
        await asyncio.sleep(0)
        party.lead(Turn(), carried(body))
        await asyncio.sleep(5.0)
        assert body.given == 1 + 4 + 1, "256 KiB, and what is more than that"
        await slow
        await fast
        assert body.given >= 100

    run_virtual(main())


def test_who_comes_when_the_head_is_there_asks_by_itself() -> None:
    async def main() -> None:
        party = Party(1e9, "none")
        party.lead(Turn(), carried(Endless(100_000)))
        async with party.answer(Account()):
            with pytest.raises(Abandoned):
                async with party.answer(Account()):
                    raise AssertionError("it would miss the beginning")

    run_virtual(main())


def test_a_party_whose_leader_left_before_it_began_is_abandoned() -> None:
    async def main() -> None:
        party = Party(1e9, "none")
        follower = asyncio.create_task(party.answer(Account()).__aenter__())
        await asyncio.sleep(0)
        party.abandon()
        party.abandon()
        with pytest.raises(Abandoned):
            await follower

    run_virtual(main())


def test_a_leader_that_leaves_in_the_moment_of_its_turn_sends_the_others_back_to_their_places() -> None:
    """Whichever comes first in that moment, its cancellation or its grant, the others get their answer."""
    for rounds in range(6):
        clients = Clients(journey())

        async def main(clients: Clients = clients, rounds: int = rounds) -> None:
            asked = [clients.asks(0, target="/api/v1/y/"), *map(clients.asks, range(1, 4))]
            loop = asyncio.get_running_loop()

            def leave(left: int) -> None:
                if left:
                    loop.call_soon(leave, left - 1)
                else:
                    asked[1].cancel()

            loop.call_at(6.0, leave, rounds)
            _, _, *answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, tuple) for answer in answers), rounds
            assert len(clients.went) in (2, 3)

        run_virtual(main())


def test_what_is_under_way_is_remembered_for_as_long_as_somebody_gathers() -> None:
    async def main() -> None:
        together = Coalescing(Alike(Settings(), forwarded=False), 0.5, VirtualClock())
        with together.under_way("key"):
            waiting = asyncio.create_task(together.gather("key", 1e9))
            await asyncio.sleep(0.1)
        assert len(together) == 1
        assert await together.gather("key", 1e9)
        assert await waiting
        assert len(together) == 0
        with together.under_way("key"):
            await asyncio.sleep(0.6)
            assert not await together.gather("key", 1e9)
        with together.under_way(None):
            assert len(together) == 0

    run_virtual(main())
