"""Something is done once a second."""

import asyncio

from proxy.pulse import Pulse
from proxy.virtual import run_virtual


def test_it_beats_once_a_second_and_makes_up_for_what_it_missed() -> None:
    async def life() -> list[float]:
        loop = asyncio.get_running_loop()
        beats = list[float]()

        def beat() -> None:
            beats.append(loop.time())
            if len(beats) == 2:
                loop._jumping.now += 2.5  # type: ignore[attr-defined] # the loop is busy

        pulse = Pulse(beat)
        pulse.start()
        await asyncio.sleep(6.9)
        pulse.stop()
        await asyncio.sleep(5)
        return beats

    assert run_virtual(life()) == [1.0, 2.0, 4.5, 4.5, 5.0, 6.0]


def test_one_that_never_began_can_be_stopped() -> None:
    Pulse(lambda: None).stop()
