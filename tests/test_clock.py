"""The clock is the event loop's, and the wall's."""

import asyncio
import time

from proxy.clock import LoopClock


async def test_now_is_the_event_loops_time() -> None:
    before = asyncio.get_running_loop().time()
    assert before <= LoopClock().now() <= asyncio.get_running_loop().time()


def test_wall_is_the_time_in_dates() -> None:
    assert abs(LoopClock().wall() - time.time()) < 5
