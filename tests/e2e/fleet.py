"""Several shipped proxies that share one budget, as users run them: in processes of their own."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e import programs

SECRET = "a-secret-of-the-fleet,-long-enough"


class Replica:
    """One proxy; after `kill` it can be started again, on other ports."""

    def __init__(self, directory: Path, upstream: str, config: str) -> None:
        directory.mkdir()
        self.log = directory / "proxy.log"
        self._config = directory / "proxy.toml"
        self._config.write_text(config)
        self._upstream = upstream
        self._process: asyncio.subprocess.Process | None = None
        self._lives = 0
        self.url = self.admin = ""

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._lives += 1
        log = self.log.with_suffix(f".{self._lives}.log")
        with log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "serve", "--config", str(self._config)),
                *("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", self._upstream),
                stdout=output,
                stderr=output,
                env=programs.environment(traced=False),
            )
        self.log = log
        self.url, self.admin = (await programs.urls(self._process, log, 2))[:2]

    async def kill(self) -> None:
        """End it without a warning (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        self._process = None

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await self._process.wait() == 0, self.log.read_text()
            self._process = None


def standard(requests: int, per: float) -> str:
    """Return the one limit that a fleet shares, as it is configured."""
    limit = {"name": "standard", "requests": requests, "per": per, "match": {"anonymous": False}}
    return programs.toml_limits([limit])


@asynccontextmanager
async def fleet(
    tmp_path: Path, upstream: str, limits: str, stores: Sequence[str], redis: str = ""
) -> AsyncIterator[list[Replica]]:
    """Run a proxy for each URL of a store; `redis` is what else stands in that section."""
    replicas = []
    try:
        for number, store in enumerate(stores):
            shared = f'[redis]\nurl = "{store}"\nsecret = "{SECRET}"\nreplicas = {len(stores)}\n{redis}'
            options = '[log]\nformat = "json"\n[listen]\ngrace = 1.0\n[coalescing]\nenabled = false\n'
            replica = Replica(tmp_path / f"replica{number}", upstream, limits + options + shared)
            replicas.append(replica)
            await replica.start()
        yield replicas
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas))
