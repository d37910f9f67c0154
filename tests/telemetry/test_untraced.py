"""Where tracing is off, nothing listens or stands in the way, and nothing of it is loaded."""

import subprocess
import sys

from proxy.clock import LoopClock
from proxy.config import Settings
from proxy.events import Events
from proxy.observability import tracing
from proxy.telemetry.untraced import Untraced
from proxy.virtual import run_virtual
from tests.fakes import ThrottledUpstream


def test_off_is_no_listener_and_nothing_around_the_upstream() -> None:
    upstream, off = ThrottledUpstream(), Untraced()
    assert off.around(upstream, "https://api.example") is upstream
    assert off.listeners == ()
    assert off.trace_id() is None
    off.start(Events())
    run_virtual(off.close())


def test_off_is_the_default_and_loads_nothing_of_opentelemetry() -> None:
    program = (
        "import asyncio, sys\n"
        "from proxy.app import App\n"
        "from proxy.config import Settings\n"
        "async def main(): return App(Settings())\n"
        "app = asyncio.run(main())\n"
        "loaded = [name for name in sys.modules if 'opentelemetry' in name]\n"
        "print(type(app.observability.tracing).__name__, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "Untraced []\n"


def test_on_is_one_listener_and_one_sender_around_the_upstream() -> None:
    settings = Settings.model_validate({"tracing": {"enabled": True}})
    on = tracing(settings, LoopClock(), version="1")
    upstream = ThrottledUpstream()
    assert len(on.listeners) == 1
    assert on.around(upstream, "https://api.example") is not upstream
