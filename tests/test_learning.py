"""What responses say of the limits reaches the ledger, and operators hear of what changed."""

import asyncio

import pytest

from proxy.config import Limit, Match, Retry
from proxy.errors import UpstreamFailed
from proxy.events import ForeignSeen, LimitMoved, LimitPaused, LimitResumed
from proxy.messages import Bytes, Headers, Response
from proxy.virtual import run_virtual
from tests.fakes import STANDARD, UPLOADS, BrokenBody, headers, request, response
from tests.test_forwarder import Journey

NOWHERE = Limit(name="nowhere", requests=5, per=6.0, match=Match(paths=("/elsewhere/",)))


def told(status: int, content: bytes = b"{}", **fields: int) -> Response:
    names = {f"X-RateLimit-{name}".encode(): str(value).encode() for name, value in fields.items()}
    length = (b"Content-Length", str(len(content)).encode())
    return Response(status, "", Headers((length, *names.items())), Bytes(content))


def throttled(seconds: int) -> Response:
    return told(429, b'{"detail":"Request was throttled. Expected available in %d seconds."}' % seconds)


def test_an_answer_that_tells_another_size_moves_the_limit_and_is_told() -> None:
    journey = Journey([told(200, Limit=20, Remaining=19), told(200, Limit=20, Remaining=18)])

    async def main() -> None:
        await journey.go()
        await journey.go()
        assert [one.capacity for one in journey.ledger.lanes()] == [20]

    run_virtual(main())
    assert journey.seen(LimitMoved) == [LimitMoved("standard", 20)]


def test_what_others_have_is_told_as_it_comes() -> None:
    journey = Journey([told(200, Limit=5, Remaining=4), told(200, Limit=5, Remaining=1)])

    async def main() -> None:
        await journey.go()
        await asyncio.sleep(2.0)
        await journey.go()
        assert [(one.foreign, one.remaining) for one in journey.ledger.lanes()] == [(2, 1)]

    run_virtual(main())
    assert journey.seen(ForeignSeen) == [ForeignSeen("standard", 2)]


def test_a_429_that_says_it_in_words_only_is_obeyed() -> None:
    journey = Journey([throttled(7), response()])
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 7.0]
    assert journey.seen(LimitPaused) == [LimitPaused("standard", 7.0, "team")]


def test_words_in_a_body_that_goes_on_and_on_are_found_at_its_beginning() -> None:
    long = throttled(7).body
    assert isinstance(long, Bytes)
    journey = Journey([told(429, long.content + b" " * 10_000), response()])
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 7.0]


def test_a_429_whose_words_break_off_is_a_broken_answer() -> None:
    broken = [Response(429, "", headers(content_length="9"), BrokenBody()) for _ in range(4)]
    with pytest.raises(UpstreamFailed):
        Journey(broken).run()


def test_a_429_under_no_limit_pauses_nothing_and_is_tried_again() -> None:
    journey = Journey([response(429, retry_after="3"), response()], limits=[NOWHERE])
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 3.0]
    assert journey.seen(LimitPaused) == []


def test_a_pause_is_no_longer_than_is_configured() -> None:
    journey = Journey([response(429, retry_after="500"), response()], retry=Retry(longest_pause=10.0))
    assert journey.run()[0] == 200
    assert journey.sent_at == [0.0, 10.0]


def test_refused_uploads_lower_how_many_go_at_once_and_leave_the_minute_alone() -> None:
    many = UPLOADS.model_copy(update={"concurrent": 4})
    refusal = response(429, retry_after="1", x_ratelimit_limit="4", x_ratelimit_remaining="0")
    journey = Journey([refusal, response()], limits=[STANDARD, many])

    async def main() -> None:
        assert (await journey.go(request("POST", "/api/v1/uploads/")))[0] == 200
        standard, uploads = journey.ledger.lanes()
        assert (standard.paused, standard.capacity) == (0.0, 5)
        assert uploads.capacity < 4

    run_virtual(main())
    assert journey.seen(LimitPaused) == [LimitPaused("uploads", 1.0, "team")]


def test_of_many_that_are_refused_at_once_one_begins_the_pause_and_its_end_is_told_once() -> None:
    wide = Limit(name="standard", requests=200, per=1.0)
    journey = Journey([response(429, retry_after="4")] * 100, [wide], retry=Retry(max_retries=0))
    journey.upstream.work = lambda: 0.5

    async def main() -> None:
        await asyncio.gather(*(journey.go(request(ticket=number)) for number in range(100)))
        await asyncio.gather(*(journey.go(request(ticket=number)) for number in range(3)))

    run_virtual(main())
    paused = [event for event in journey.events if isinstance(event, LimitPaused)]
    assert len(paused) == 100
    assert [event for event in paused if event.anew] == [LimitPaused("standard", 4.0, "team")]
    assert journey.seen(LimitResumed) == [LimitResumed("standard", "team")]
