"""What is found wrong with a store before anything depends on it, against real servers of every kind."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.adapters.store_check import examine, measure
from proxy.clock import LoopClock
from proxy.config_redis import Redis
from tests.servers import KINDS, StoreServer, free_port, start_cluster, start_store, talking

PASSWORD = "hunter2-hunter2"
RIGHTS = ("+eval", "+evalsha", "+publish", "+subscribe", "+zadd", "+pexpire", "+del", "+time")
NAMES = ("~avala-proxy:*", "resetchannels", "&avala-proxy:*")


async def faults(url: str, password: str | None = None, **more: Any) -> list[str]:
    settings = Redis(url=url, secret=SecretStr("0123456789abcdef"), **more)
    found = await examine(settings, password=None if password is None else lambda: password)
    assert all(PASSWORD not in one and one.endswith(".") for one in found)
    return found


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with start_store(request.param) as started:
        yield started


async def test_nothing_is_wrong_with_a_store_as_it_should_be(server: StoreServer) -> None:
    assert await faults(server.url) == []
    server.command("CONFIG", "SET", "maxmemory", "64mb")
    assert await faults(server.url) == []
    assert server.command("DBSIZE") == 0, "and nothing is left there"


async def test_a_store_that_throws_things_away_is_told(server: StoreServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", "64mb")
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    (only,) = await faults(server.url)
    assert "set maxmemory-policy to noeviction" in only


async def test_a_full_store_is_told(server: StoreServer) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")
    assert any("no memory left" in one for one in await faults(server.url))


async def test_a_replica_is_told(server: StoreServer) -> None:
    server.command("REPLICAOF", "127.0.0.1", free_port())
    (only,) = await faults(server.url)
    assert "name the primary" in only


async def test_what_the_store_keeps_to_itself_is_not_held_against_it(server: StoreServer) -> None:
    server.command("ACL", "SETUSER", "budget", "on", f">{PASSWORD}", *NAMES, *RIGHTS)
    assert await faults(server.url, PASSWORD, username="budget") == []


@pytest.mark.parametrize("right", ["eval", "evalsha", "publish", "subscribe"])
async def test_a_right_that_is_missing_is_named(server: StoreServer, right: str) -> None:
    server.command("ACL", "SETUSER", "budget", "on", f">{PASSWORD}", *NAMES, *RIGHTS, f"-{right}")
    (only,) = await faults(server.url, PASSWORD, username="budget")
    assert f"forbids its user {right.upper()}," in only
    assert f"+{right} ~avala-proxy:*" in only


async def test_a_right_that_the_script_needs_is_missed(server: StoreServer) -> None:
    server.command("ACL", "SETUSER", "budget", "on", f">{PASSWORD}", *NAMES, *RIGHTS, "-zadd")
    (only,) = await faults(server.url, PASSWORD, username="budget")
    assert "EVAL" in only


async def test_names_with_the_prefix_have_to_be_allowed(server: StoreServer) -> None:
    names = ("~other:*", "resetchannels", "&other:*")
    server.command("ACL", "SETUSER", "budget", "on", f">{PASSWORD}", *names, *RIGHTS)
    found = await faults(server.url, PASSWORD, username="budget")
    assert [one.split("its user ")[1].split(",")[0] for one in found] == [
        "EVAL",
        "EVALSHA",
        "PUBLISH",
        "SUBSCRIBE",
    ]
    assert await faults(server.url, PASSWORD, username="budget", prefix="other") == []


async def test_what_keeps_the_proxy_from_the_store_is_the_only_thing_told(server: StoreServer) -> None:
    server.command("CONFIG", "SET", "requirepass", PASSWORD)
    (only,) = await faults(server.url)
    assert "demands a password" in only
    (only,) = await faults(server.url, f"{PASSWORD}-not")
    assert "refuses the password" in only
    server.freeze()
    (only,) = await faults(server.url, PASSWORD, timeout=0.05)
    assert "did not answer within 0.05 s" in only
    server.kill()
    (only,) = await faults(server.url, PASSWORD)
    assert "refuses connections" in only


async def test_a_store_that_is_too_old_is_told() -> None:
    about = b"# Server\r\nredis_version:5.0.7\r\nrole:master"
    async with talking(b"$%d\r\n%s\r\n" % (len(about), about)) as (url, _):
        (only,) = await faults(url)
        assert "is 5.0: Redis 6.2 or later is needed" in only


async def test_a_cluster_is_asked_at_the_server_that_has_the_keys() -> None:
    with start_cluster() as servers:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        assert await faults(f"redis+cluster://{hosts}", timeout=0.4) == []


async def test_how_near_a_store_is_is_measured_and_how_its_clock_differs(server: StoreServer) -> None:
    class Ahead(LoopClock):
        def wall(self) -> float:
            return super().wall() + 50.0

    settings = Redis(url=server.url, secret=SecretStr("0123456789abcdef"), timeout=0.4)
    pulse = await measure(settings, password=None, clock=Ahead())
    assert pulse is not None
    assert 0 < pulse.round_trip < 0.4
    assert pulse.ahead == pytest.approx(-50.0, abs=0.5)
    server.kill()
    assert await measure(settings, password=None, clock=Ahead()) is None
