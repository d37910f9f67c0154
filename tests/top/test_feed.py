"""News come by the stream, or by asking; and when they end, it is said why, and tried again."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp
import pytest

from proxy.top.feed import Feed, Trouble
from proxy.top.news import News
from tests.fakes import until
from tests.top.said import busy, calm, status
from tests.top.scripted import Admin, admin

RUNNING = "; is `avala-proxy serve` running there, and is it this address (--admin)?"
RIGHT = "; is it the admin listener of an avala-proxy, and of this version (--admin)?"


class Time:
    """A clock that goes on by what is slept, without waiting for it."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def wall(self) -> float:
        return 1000.0 + self.now()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def feeding(url: str, time: Time, *, quiet: float = 20.0) -> AsyncIterator[Feed]:
    async with aiohttp.ClientSession() as session:
        yield Feed(session, url, time, sleep=time.sleep, quiet=quiet)


@asynccontextmanager
async def news_of(
    one: Admin, time: Time | None = None, *, quiet: float = 20.0
) -> AsyncIterator[AsyncGenerator[News, None]]:
    """Yield news, of which the first says that it begins."""
    async with feeding(one.url, time or Time(), quiet=quiet) as feed, aclosing(feed.news()) as news:
        assert await anext(news) == News(one.url)
        yield news


async def test_each_status_of_the_stream_is_news() -> None:
    async with admin() as one, news_of(one) as news:
        one.tell(calm())
        one.tell(busy())
        assert await anext(news) == News(one.url, status(calm()), 1000.0, "live")
        assert await anext(news) == News(one.url, status(busy()), 1000.0, "live")
        assert one.asked == ["/events"]


async def test_other_events_are_passed_over() -> None:
    async with admin() as one, news_of(one) as news:
        one.say(b'event: configuration\ndata: "[upstream]"\n\n: comment\n\ndata: {}\n\n')
        one.tell(busy())
        assert (await anext(news)).status == status(busy())


async def test_a_status_arrives_whole_however_it_is_cut() -> None:
    said = f"event: status\r\ndata: {json.dumps(calm(), ensure_ascii=False)}\r\n\r\n".encode()
    async with admin() as one, news_of(one) as news:
        one.say(*(said[start : start + 100] for start in range(0, len(said), 100)))
        assert (await anext(news)).status == status(calm())


async def test_a_stream_that_ends_is_taken_up_again() -> None:
    time = Time()
    async with admin() as one, news_of(one, time) as news:
        one.tell(calm())
        one.say(b"event: status\ndata: half an ev", None)
        one.tell(busy())
        assert (await anext(news)).trouble == ""
        gone = await anext(news)
        assert gone == News(one.url, status(calm()), 1000.0, trouble=f"{one.url} ended its stream")
        assert await anext(news) == News(one.url, status(busy()), 1001.0, "live")
    assert time.slept == [1.0]


async def test_a_proxy_that_is_gone_is_tried_ever_more_seldom() -> None:
    time = Time()
    async with admin() as one, news_of(one, time) as news:
        one.tell(calm())
        first = await anext(news)
        await one.stop()
        assert (await anext(news)).status == first.status
        for _ in range(5):
            assert (await anext(news)).trouble == f"nothing answers at {one.url}"
        assert time.slept == [1.0, 2.0, 4.0, 5.0, 5.0]
        await one.start()
        one.tell(busy())
        assert (await anext(news)).manner == "live"
        one.say(None)
        assert (await anext(news)).heard == 1022.0
        one.tell(busy())
        await anext(news)
    assert time.slept[5:] == [5.0, 1.0]


async def test_where_nothing_ever_answered_it_is_asked_whether_the_address_is_right() -> None:
    async with admin() as one:
        await one.stop()
        async with news_of(one) as news:
            for _ in range(3):
                assert await anext(news) == News(one.url, trouble=f"nothing answers at {one.url}{RUNNING}")
        async with feeding(one.url, Time()) as feed:
            with pytest.raises(Trouble, match="nothing answers at"):
                await feed.once()


@pytest.mark.parametrize(
    ("code", "body"), [(503, "too many watchers"), (404, "{}"), (200, "<html>"), (302, "")]
)
async def test_where_there_is_no_stream_it_is_asked_again_and_again(code: int, body: str) -> None:
    time = Time()
    async with admin(busy()) as one, news_of(one, time) as news:
        one.refused["/events"] = code, body
        for count in range(15):
            assert await anext(news) == News(one.url, status(busy()), 1000.0 + 2 * count, "polling")
        one.status = calm()
        assert (await anext(news)).status == status(calm())
        assert time.slept == [2.0] * 15
        assert one.asked == ["/events", *["/status"] * 15, "/events", "/status"]


async def test_the_stream_is_taken_as_soon_as_there_is_room() -> None:
    async with admin(calm()) as one, news_of(one) as news:
        one.refused["/events"] = 503, ""
        for _ in range(15):
            await anext(news)
        one.refused.clear()
        one.tell(busy())
        assert (await anext(news)).manner == "live"


async def test_a_proxy_that_goes_while_it_is_asked_is_gone() -> None:
    async with admin(calm()) as one, news_of(one) as news:
        one.refused["/events"] = 404, ""
        await anext(news)
        await one.stop()
        assert await anext(news) == News(
            one.url, status(calm()), 1000.0, trouble=f"nothing answers at {one.url}"
        )


@pytest.mark.parametrize("garbage", [b"data: {\n\n", b"data: {}\n\n", b"data: \xff\n\n"])
async def test_garbage_is_told_and_what_is_right_after_it_is_read(garbage: bytes) -> None:
    async with admin() as one, news_of(one) as news:
        one.tell(calm())
        await anext(news)
        one.say(b"event: status\n" + garbage)
        gone = await anext(news)
        assert gone.trouble.startswith(f"what {one.url} says is no status that can be read here (")
        assert gone.status == status(calm())
        await until(lambda: one.watchers == 0)
        one.tell(busy())
        assert (await anext(news)).status == status(busy())


async def test_a_stream_that_never_ends_an_event_is_given_up() -> None:
    async with admin() as one, news_of(one) as news:
        one.say(*[b"data: " + b"x" * 1_000_000 + b"\n"] * 5)
        assert (await anext(news)).trouble == f"what {one.url} says is no status that can be read here{RIGHT}"


async def test_a_stream_that_falls_silent_is_gone() -> None:
    async with admin() as one, news_of(one, quiet=0.3) as news:
        one.tell(calm())
        await anext(news)
        assert (await anext(news)).trouble == f"{one.url} says nothing"


async def test_asked_once_it_tells_the_status() -> None:
    async with admin(busy()) as one, feeding(one.url, Time()) as feed:
        assert await feed.once() == News(one.url, status(busy()), 1000.0)
        assert one.asked == ["/status"]


@pytest.mark.parametrize(
    ("code", "body", "told"),
    [
        (
            403,
            '{"detail": "On loopback, ask for localhost."}',
            "answers 403 instead of a status (On loopback, ask",
        ),
        (403, r'{"detail": "\u001b[2Jx"}', r"answers 403 instead of a status (\x1b[2Jx); "),
        (404, "[1]", f"answers 404 instead of a status{RIGHT}"),
        (500, "<html>", f"answers 500 instead of a status{RIGHT}"),
        (200, "<html>", "says is no status that can be read here (Invalid JSON: "),
        (200, '{"state": 1}', "says is no status that can be read here (state: "),
        (200, " " * 5_000_000, "says is no status that can be read here (it does not end)"),
    ],
)
async def test_asked_once_it_says_what_is_wrong_with_the_answer(code: int, body: str, told: str) -> None:
    async with admin() as one, feeding(one.url, Time()) as feed:
        one.refused["/status"] = code, body
        with pytest.raises(Trouble) as caught:
            await feed.once()
        assert told in str(caught.value)


async def test_an_answer_that_breaks_off_is_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with feeding(url, Time()) as feed:
            with pytest.raises(Trouble, match="broke off") as caught:
                await feed.once()
            assert str(caught.value) == f"{url} broke off (ClientPayloadError){RUNNING}"
