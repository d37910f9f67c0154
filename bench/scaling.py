"""What a shared budget costs, and how large a fleet one store carries: the figures of docs/scaling.md.

Run it on an otherwise idle machine: `.venv/bin/python -m bench.scaling`. It takes half an hour, needs nothing
but what `make test` installs, and speaks to loopback only.
"""

import asyncio
import re
import socket
import sys
import time

from pydantic import SecretStr

from bench.fleet import LIMITS, Figures, all_at_once, at_the_limit, now_and_then, play, restart
from proxy.adapters.replica import Replica
from proxy.adapters.shared_grant import SharedGrant
from proxy.clock import LoopClock
from proxy.config import Upstream
from proxy.config_redis import Redis
from proxy.policy.limits import LimitTable
from proxy.turn import News
from tests.fakes import request
from tests.servers import StoreServer, start_store

_EXCHANGES = 4000
_CREDENTIALS = 100
_CONNECTIONS = 500


def info(server: StoreServer, section: str, name: str) -> float:
    """Return one figure of the server's own."""
    found = re.search(rf"(?m)^{name}:([0-9.]+)", server.command("INFO", section).decode())
    assert found, name
    return float(found[1])


async def exchanges(server: StoreServer, count: int) -> None:
    """Take a slot and settle it, so many times: what an idle proxy does for a request."""
    settings = Redis(url=server.url, secret=SecretStr("a-secret-of-the-fleet"), timeout=0.4)
    table = LimitTable([limit.model_copy(update={"requests": 100_000}) for limit in LIMITS if limit.per])
    replica = Replica(
        settings,
        table,
        LoopClock(),
        upstream=Upstream(),
        probe=False,
        password=None,
        changed=lambda up, detail: print(detail, file=sys.stderr),
        failed=lambda reason: None,
    )
    await replica.start()
    for number in range(count):
        lanes = table.lanes(request(credential=f"key{number % _CREDENTIALS}"))
        grant = await replica.ledger.take(lanes)
        assert isinstance(grant, SharedGrant), grant
        replica.ledger.began(grant)
        replica.ledger.sent(grant)
        await replica.ledger.settle(grant, News())
        await replica.ledger.release(grant)
        await asyncio.sleep(0)
    await replica.close()


def one_call(server: StoreServer) -> float:
    """Print what one call costs a real server, and return the seconds beside the script."""
    time.sleep(2.5)  # a store that was just started grants nothing
    asyncio.run(exchanges(server, _CREDENTIALS))  # the script is compiled, and the keys are there

    def state() -> tuple[float, ...]:
        cpu = info(server, "cpu", "used_cpu_user") + info(server, "cpu", "used_cpu_sys")
        wire = info(server, "stats", "total_net_input_bytes"), info(server, "stats", "total_net_output_bytes")
        return *server.in_script(), cpu, *wire

    before, memory = state(), info(server, "memory", "used_memory")
    asyncio.run(exchanges(server, _EXCHANGES))
    calls, script, cpu, bytes_in, bytes_out = (now - then for now, then in zip(state(), before, strict=True))
    print(f"\none request, nothing waits ({_EXCHANGES} of them, {_CREDENTIALS} credentials, one real server)")
    print(f"  {calls / _EXCHANGES:.2f} calls; {1e6 * script / calls:.0f} us of script a call;", end=" ")
    print(f"{1e6 * cpu / calls:.0f} us of the server's CPU a call, all in all;", end=" ")
    print(f"{bytes_in / _EXCHANGES:.0f} bytes in, {bytes_out / _EXCHANGES:.0f} out a request")
    grown = (info(server, "memory", "used_memory") - memory) / _CREDENTIALS
    print(f"  {_EXCHANGES // _CREDENTIALS} requests of one credential: {grown / 1000:.1f} kB of memory")
    return (cpu - script) / calls


def connections(server: StoreServer) -> None:
    """Print what a connection costs the server."""
    before = info(server, "memory", "used_memory")
    listening = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(_CONNECTIONS)]
    for number, wire in enumerate(listening):
        wire.sendall(f"SUBSCRIBE avala-proxy:wake:{number:08x}\r\n".encode())
        wire.recv(4096)
    each = (info(server, "memory", "used_memory") - before) / _CONNECTIONS
    for wire in listening:
        wire.close()
    print(f"\n{_CONNECTIONS} connections that listen: {each / 1000:.1f} kB each")


def show(what: str, figures: Figures) -> None:
    """Print one row."""
    each = max(1, figures.requests)
    print(
        f"  {what:<44} {figures.requests:>6} requests {figures.calls / each:>6.1f} calls each"
        f" {figures.calls / figures.seconds:>7.1f} a s {1e6 * figures.script:>5.0f} us"
        f" {figures.bytes_in / figures.calls:>6.0f} in {figures.bytes_out / figures.calls:>6.0f} out"
        f" {100 * figures.load:>6.2f} % busy {1000 * figures.slowest:>7.1f} ms (1 in 100)"
        f" {figures.woken:>5} woken {figures.late:>5} late {figures.refused:>3} refused",
        flush=True,
    )


def main() -> None:
    """Take all measurements, and print them."""
    with start_store("valkey") as server:
        around = one_call(server)
        connections(server)
        print(f"\nsimulated: one shard, {1e6 * around:.0f} us a call beside the script")
        for replicas in (1, 4, 16, 64, 250):
            show(
                f"{replicas} with one credential, all waiting",
                play(server.url, replicas, 1, at_the_limit(60.0), around=around),
            )
        for replicas in (4, 64, 250):
            show(
                f"{replicas} with one credential, 60 a minute",
                play(server.url, replicas, 1, now_and_then(replicas, 60.0), around=around),
            )
        for replicas in (100, 250, 500):
            show(
                f"{replicas} with one credential, all at once",
                play(server.url, replicas, 1, all_at_once(10.0), around=around),
            )
        show(
            "1,000 with 100 credentials, all waiting",
            play(server.url, 1000, 100, at_the_limit(20.0), around=around),
        )
        show(
            "1,000 with 100 credentials, 60 a minute each",
            play(server.url, 1000, 100, now_and_then(10.0, 20.0, before=20.0), around=around),
        )
        show(
            "10,000 idle, the store restarts",
            play(server.url, 10_000, 1_000, restart(5.0, 20.0), around=around),
        )


if __name__ == "__main__":
    main()
