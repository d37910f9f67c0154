"""The connection to the shared store, against real servers of every kind."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.adapters.store import Store, StoreGone
from proxy.config_redis import Redis
from tests.servers import KINDS, StoreServer, free_port, start_cluster, start_sentinel, start_store, talking

SCRIPT = """
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PUBLISH', 'told', ARGV[1])
return ARGV[1] .. ' ' .. redis.call('LLEN', KEYS[1])
"""
KEY = "p:{a}"
PASSWORD = "hunter2-hunter2"
SECRET = SecretStr("0123456789abcdef")
SLACK = 0.05
"""Seconds by which a call may outlast `redis.timeout` on a machine that has nothing else to do."""
BUSY = 1.0
"""The same on one that runs other tests."""


def settings(url: str, **more: Any) -> Redis:
    return Redis(url=url, secret=SECRET, **more)


@asynccontextmanager
async def connected(
    url: str, *, script: str = SCRIPT, password: str | None = None, **more: Any
) -> AsyncIterator[Store]:
    store = Store(
        settings(url, **{"timeout": 0.4, **more}),
        script=script,
        channel="told",
        heard=lambda data: None,
        broken=lambda: None,
        password=None if password is None else lambda: password,
    )
    try:
        yield store
    finally:
        await store.close()


async def failure(store: Store, *args: str, slack: float = BUSY) -> StoreGone:
    """Return how a call fails, and see that it holds no secret and takes no longer than it may."""
    began = time.monotonic()
    with pytest.raises(StoreGone) as gone:
        await store.run([KEY], args or ["x"])
    assert time.monotonic() - began <= store._timeout + slack
    assert PASSWORD not in str(gone.value)
    assert store.shown in str(gone.value)
    assert gone.value.__cause__ is None
    return gone.value


async def eventually(true: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def works(store: Store) -> bool:
    try:
        await store.run([KEY], ["x"])
    except StoreGone:
        return False
    return True


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with start_store(request.param) as started:
        yield started


@pytest.fixture
def valkey() -> Iterator[StoreServer]:
    with start_store("valkey") as started:
        yield started


async def test_a_script_is_run_by_its_digest_and_loaded_if_need_be(server: StoreServer) -> None:
    async with connected(server.url) as store:
        assert await store.run([KEY], ["x"]) == b"x 1"
        assert await store.run([KEY], [b"\xff\x00"]) == b"\xff\x00 2"
        server.command("SCRIPT", "FLUSH")
        assert await store.run([KEY], ["x"]) == b"x 3"
        assert b"cmdstat_eval:calls=2" in server.command("INFO", "commandstats")


async def test_many_calls_at_once_share_eight_connections(server: StoreServer) -> None:
    async with connected(server.url, timeout=0.4) as store:
        answers = await asyncio.gather(*(store.run([KEY], [str(n)]) for n in range(50)))
        assert sorted(int(answer.split()[1]) for answer in answers) == list(range(1, 51))
        clients = server.command("CLIENT", "LIST").decode().splitlines()
        assert 1 <= len(clients) - 1 <= 8
        assert repr(store) == f"<Store {server.url} free={len(clients) - 1}>"


async def test_an_idle_connection_that_the_server_closed_is_dialled_again(server: StoreServer) -> None:
    async with connected(server.url) as store:
        for number, noticed in enumerate((False, True)):
            assert await store.run([KEY], ["x"]) == b"x %d" % (2 * number + 1)
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            if noticed:
                await asyncio.sleep(0.05)
            assert await store.run([KEY], ["x"]) == b"x %d" % (2 * number + 2)


async def test_a_store_that_was_started_again_is_used_again(server: StoreServer) -> None:
    async with connected(server.url) as store:
        await store.run([KEY], ["x"])
        server.kill()
        assert (await failure(store)).reason == "refused"
        server.start()
        assert await store.run([KEY], ["x"]) == b"x 1", "at once"


async def test_a_silent_store_fails_in_time_and_its_late_answer_reaches_nobody(server: StoreServer) -> None:
    async with connected(server.url, timeout=0.1) as store:
        await store.run([KEY], ["x"])
        server.freeze()
        silent = await failure(store, "late")
        assert silent.reason == "timeout"
        assert "0.1 s" in str(silent)
        assert (await failure(store, "later")).reason == "timeout", "a new connection is no better"
        server.thaw()
        await eventually(lambda: works(store))
        assert (await store.run([KEY], ["mine"])).startswith(b"mine ")


async def test_calls_that_are_given_up_leave_nothing_for_the_others(valkey: StoreServer) -> None:
    async def call(number: int) -> None:
        answer = await store.run([KEY], [str(number)])
        assert answer.startswith(b"%d " % number)

    async with connected(valkey.url, timeout=0.4) as store:
        calls = []
        for number in range(300):
            calls.append(asyncio.create_task(call(number)))
            await asyncio.sleep(0.0002)
            calls[number * 7919 % len(calls)].cancel()
        fates = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(fate) for fate in fates} <= {type(None), asyncio.CancelledError}
        assert len(valkey.command("CLIENT", "LIST").splitlines()) - 1 <= 8


async def test_nobody_waits_longer_for_one_of_the_connections(valkey: StoreServer) -> None:
    async with connected(valkey.url, timeout=0.1) as store:
        await store.run([KEY], ["x"])
        valkey.freeze()
        began = time.monotonic()
        fates = await asyncio.gather(*(store.run([KEY], ["x"]) for _ in range(30)), return_exceptions=True)
        assert time.monotonic() - began < 0.1 + BUSY
        assert {fate.reason for fate in fates if isinstance(fate, StoreGone)} == {"timeout"}
        valkey.thaw()


@pytest.mark.wallclock
async def test_a_place_that_takes_no_connection_fails_in_time() -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # what does not fit in the queue is dropped, as by a firewall
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with connected(f"redis://127.0.0.1:{full.getsockname()[1]}", timeout=0.1) as store:
            assert (await failure(store, slack=SLACK)).reason == "timeout"


@pytest.mark.wallclock
async def test_a_call_takes_no_longer_than_it_may(server: StoreServer) -> None:
    async with connected(server.url, timeout=0.1) as store:
        await store.run([KEY], ["x"])
        server.freeze()
        for _ in range(10):
            assert (await failure(store, slack=SLACK)).reason == "timeout"
        server.kill()
        for _ in range(10):
            assert (await failure(store, slack=SLACK - 0.1)).reason == "refused"


async def test_a_port_where_nobody_listens_is_told_apart() -> None:
    async with connected(f"redis://127.0.0.1:{free_port()}") as store:
        refused = await failure(store)
        assert refused.reason == "refused"
        assert "start it, or check redis.url" in str(refused)


async def test_a_name_that_nobody_has_is_told_apart() -> None:
    async with connected("redis://nobody.invalid", timeout=0.4) as store:
        assert (await failure(store)).reason in {"refused", "timeout"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_missing_or_wrong_password_is_denied(kind: Any) -> None:
    with start_store(kind, password=PASSWORD) as server:
        async with connected(server.url) as store:
            denied = await failure(store)
            assert denied.reason == "denied"
            assert "demands a password" in str(denied)
        async with connected(server.url, password=f"{PASSWORD}-not") as store:
            denied = await failure(store)
            assert denied.reason == "denied"
            assert "redis.password_file" in str(denied)
        async with connected(server.url, password=PASSWORD) as store:
            assert await store.run([KEY], ["x"]) == b"x 1"


async def test_a_password_that_was_changed_is_used_at_the_next_connection(valkey: StoreServer) -> None:
    valkey.command("CONFIG", "SET", "requirepass", PASSWORD)
    passwords = iter([f"{PASSWORD}-old", PASSWORD])
    store = Store(
        settings(valkey.url),
        script=SCRIPT,
        channel="told",
        heard=print,
        broken=print,
        password=lambda: next(passwords),
    )
    assert (await failure(store)).reason == "denied"
    assert await store.run([KEY], ["x"]) == b"x 1"
    await store.close()


async def test_a_password_where_none_is_demanded_is_denied_and_not_told(server: StoreServer) -> None:
    async with connected(server.url, password=PASSWORD) as store:
        assert (await failure(store)).reason in {"denied", "error"}


async def test_a_user_of_its_own_needs_few_rights(server: StoreServer) -> None:
    rules = [
        "on",
        f">{PASSWORD}",
        "~p:*",
        "resetchannels",
        "&told",
        "+eval",
        "+evalsha",
        "+publish",
        "+subscribe",
    ]
    server.command("ACL", "SETUSER", "budget", *rules, "+rpush", "+llen")
    async with connected(server.url, username="budget", password=PASSWORD) as store:
        assert await store.run([KEY], ["x"]) == b"x 1"
        server.command("ACL", "SETUSER", "budget", "-rpush")
        forbidden = await failure(store)
        assert forbidden.reason == "denied"
        assert "EVALSHA" in str(forbidden)
        server.command("ACL", "SETUSER", "budget", "+rpush", "-evalsha")
        assert (await failure(store)).reason == "denied"


async def test_a_replica_that_may_not_be_written_to_is_told_apart(server: StoreServer) -> None:
    async with connected(server.url) as store:
        await store.run([KEY], ["x"])
        server.command("REPLICAOF", "127.0.0.1", free_port())
        replica = await failure(store)
        assert replica.reason == "read_only"
        assert repr(store).endswith("free=0>"), "the next call looks for the primary again"
        server.command("REPLICAOF", "NO", "ONE")
        assert await store.run([KEY], ["x"]) == b"x 2"


async def test_a_full_store_is_told_apart(server: StoreServer) -> None:
    async with connected(server.url) as store:
        await store.run([KEY], ["x"])
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.command("CONFIG", "SET", "maxmemory", "1")
        full = await failure(store)
        assert full.reason == "full"
        assert "maxmemory" in str(full)
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert await store.run([KEY], ["x"]) == b"x 2"


async def test_a_store_that_runs_somebodys_script_is_busy(valkey: StoreServer) -> None:
    valkey.command("CONFIG", "SET", "busy-reply-threshold", "1")
    async with connected(valkey.url, script="while true do end", timeout=0.1) as store:
        assert (await failure(store)).reason == "timeout"
        busy = await failure(store)
        assert busy.reason == "busy"
        assert "SCRIPT KILL" in str(busy)
        valkey.command("SCRIPT", "KILL")


async def test_a_script_that_fails_is_an_error(server: StoreServer) -> None:
    async with connected(server.url, script="return redis.call('NONSENSE')") as store:
        assert (await failure(store)).reason == "error"
    async with connected(server.url, script="return 1") as store:
        assert (await failure(store)).reason == "error"
    async with connected(server.url, script="error('as told')") as store:
        assert "as told" in str(await failure(store))
    async with connected(server.url.removesuffix("/0") + "/99") as store:
        assert "no such database" in str(await failure(store))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "error"),
        (f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode(), "error"),
        (f"-ERR what is AUTH {PASSWORD}\r\n".encode(), "error"),
        (f"*2\r\n$4\r\nAUTH\r\n$15\r\n{PASSWORD}\r\n".encode(), "denied"),
        (f"{PASSWORD}\r\n".encode(), "error"),
        (b"-ERR max number of clients reached\r\n", "busy"),
        (b"-LOADING server is loading\r\n", "busy"),
        (b"-DENIED running in protected mode\r\n", "denied"),
        (b"-MISCONF can't persist\r\n", "full"),
        (b"-MASTERDOWN link is down\r\n", "read_only"),
        (b"-NOREPLICAS not enough\r\n", "read_only"),
        (b"-CLUSTERDOWN the cluster is down\r\n", "lost"),
        (b"-TRYAGAIN multiple keys\r\n", "busy"),
    ],
)
async def test_what_a_server_may_say_is_told_apart_and_not_repeated(answer: bytes, reason: str) -> None:
    async with talking(answer) as (url, _), connected(url, password=PASSWORD) as store:
        assert (await failure(store)).reason == reason


async def test_a_server_that_hangs_up_is_dialled_twice_and_lost() -> None:
    async with talking(b"") as (url, connections), connected(url) as store:
        assert (await failure(store)).reason == "lost"
        assert len(connections) == 2


async def test_a_server_that_sends_on_elsewhere_is_followed_a_few_times_only() -> None:
    async with talking(b"-MOVED 7 :1\r\n") as (url, _), connected(url) as store:
        assert (await failure(store)).reason == "refused", "port 1 of the same host"
    async with talking(b"-ASK 7 127.0.0.1:1\r\n") as (url, _), connected(url) as store:
        assert (await failure(store)).reason == "refused"
    port = free_port()
    circle = f"-MOVED 7 127.0.0.1:{port}\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(circle)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        async with connected(f"redis://127.0.0.1:{port}") as store:
            assert (await failure(store)).reason == "busy"
        await asyncio.sleep(0.01)


async def test_a_unix_socket_is_a_place_too() -> None:
    with start_store("redis62", unix=True) as server:
        async with connected(server.url) as store:
            assert await store.run([KEY], ["x"]) == b"x 1"
            server.kill()
            assert (await failure(store)).reason == "refused"
    async with connected("unix:///nowhere") as store:
        gone = await failure(store)
        assert gone.reason == "refused"
        assert "socket" in str(gone)


async def test_a_store_behind_tls_is_trusted_by_its_authority_only() -> None:
    with start_store("valkey", tls=True, password=PASSWORD) as server:
        async with connected(server.url, ca=str(server.ca), password=PASSWORD, timeout=0.4) as store:
            assert await store.run([KEY], ["x"]) == b"x 1"
            assert await store.run([KEY], ["x"]) == b"x 2"
            server.freeze()
            assert (await failure(store)).reason == "timeout"
            server.thaw()
        async with connected(server.url, password=PASSWORD, timeout=0.4) as store:
            stranger = await failure(store)
            assert stranger.reason == "refused"
            assert "redis.ca" in str(stranger)
        plain = f"rediss://127.0.0.1:{server.port}"
        async with connected(plain, ca=str(server.ca), timeout=0.4) as store:
            assert (await failure(store)).reason in {"refused", "lost", "timeout"}
        async with connected(server.url, ca="/nowhere.pem", timeout=0.4) as store:
            with pytest.raises(StoreGone, match=r"/nowhere\.pem can't be read"):
                await store.run([KEY], ["x"])


@asynccontextmanager
async def listening(
    url: str,
    heard: list[bytes],
    *,
    broken: Callable[[], None] = lambda: None,
    quiet: float = 5.0,
    password: str | None = None,
    **more: Any,
) -> AsyncIterator[Store]:
    store = Store(
        settings(url, **more),
        script=SCRIPT,
        channel="told",
        heard=heard.append,
        broken=broken,
        password=None if password is None else lambda: password,
        quiet=quiet,
    )
    task = asyncio.create_task(store.listen())
    try:
        yield store
        assert not task.done()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.close()


async def reaches(server: StoreServer, heard: list[bytes], data: bytes) -> None:
    """Publish until it is heard."""

    async def told() -> bool:
        server.command("PUBLISH", "told", data)
        return data in heard

    await eventually(told)


async def test_what_is_published_is_heard_and_again_after_a_restart(server: StoreServer) -> None:
    heard: list[bytes] = []
    broke: list[None] = []
    async with listening(server.url, heard, broken=lambda: broke.append(None)) as store:
        await reaches(server, heard, b"one\xff")
        assert not broke
        await store.run([KEY], ["from a script"])
        await eventually(lambda: asyncio.sleep(0, b"from a script" in heard))
        server.kill()
        await eventually(lambda: asyncio.sleep(0, len(broke) == 1))
        await asyncio.sleep(0.5)
        server.start()
        await reaches(server, heard, b"two")
        assert len(broke) == 1, "tries that fail are not told"


async def test_listening_outlasts_a_store_that_is_not_there_yet() -> None:
    heard: list[bytes] = []
    port = free_port()
    async with listening(f"redis://127.0.0.1:{port}", heard):
        await asyncio.sleep(0.05)
        with start_store("valkey", port=port) as server:
            await reaches(server, heard, b"at last")


async def test_a_subscription_that_has_gone_silent_is_tried_and_made_again(valkey: StoreServer) -> None:
    def subscribed() -> set[bytes]:
        lines = valkey.command("CLIENT", "LIST", "TYPE", "pubsub").splitlines()
        return {line.split()[0] for line in lines}

    def pings() -> int:
        (line,) = re.findall(rb"cmdstat_ping:calls=(\d+)", valkey.command("INFO", "commandstats"))
        return int(line)

    heard: list[bytes] = []
    async with listening(valkey.url, heard, quiet=0.02, timeout=0.05):
        await reaches(valkey, heard, b"one")
        before, tried = subscribed(), pings()
        await asyncio.sleep(0.1)
        assert pings() > tried
        assert subscribed() == before, "a PING that is answered changes nothing"
        valkey.freeze()
        await asyncio.sleep(0.1)
        valkey.thaw()
        await reaches(valkey, heard, b"two")
        assert not subscribed() & before


async def test_after_a_failover_the_sentinels_primary_is_used() -> None:
    with start_sentinel(PASSWORD) as (primary, replica, sentinel):
        silent = f"127.0.0.1:{free_port()}"
        url = f"redis+sentinel://{silent},127.0.0.1:{sentinel.port}/budget"
        heard: list[bytes] = []
        async with listening(url, heard, password=PASSWORD) as store:
            assert await store.run([KEY], ["x"]) == b"x 1"
            primary.kill()
            assert (await failure(store)).reason == "refused"
            await eventually(lambda: works(store))
            assert replica.command("LLEN", KEY) >= 2
            await reaches(replica, heard, b"from the new primary")


async def test_sentinels_that_know_no_such_primary_are_told_apart_from_silent_ones() -> None:
    with start_sentinel() as (_, replica, sentinel):
        url = f"redis+sentinel://127.0.0.1:{replica.port},127.0.0.1:{sentinel.port}"
        replica.freeze()
        async with connected(f"{url}/budget") as store:
            assert await store.run([KEY], ["x"]) == b"x 1", "the first answer counts"
        replica.kill()
        async with connected(f"{url}/nobody") as store:
            unknown = await failure(store)
            assert unknown.reason == "error"
            assert "check the name in redis.url" in str(unknown)
        sentinel.freeze()
        async with connected(f"{url}/budget", timeout=0.1) as store:
            assert (await failure(store)).reason == "timeout"


async def test_a_cluster_that_serves_no_keys_is_told_apart() -> None:
    async with talking(b"*0\r\n") as (url, _):
        place = url.replace("redis:", "redis+cluster:").removesuffix("/0")
        store = Store(
            settings(place), script=SCRIPT, channel="told", heard=print, broken=print, password=None
        )
        lost = await failure(store)
        assert lost.reason == "lost"
        assert "add servers" in str(lost)


async def test_a_cluster_is_asked_where_a_key_is_and_follows_it() -> None:
    with start_cluster() as servers:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        heard: list[bytes] = []
        async with listening(f"redis+cluster://{hosts}", heard, timeout=0.4) as store:
            for name in "abcdef":
                assert await store.run([f"p:{{{name}}}"], ["x"]) == b"x 1"
            await reaches(servers[2], heard, b"to all")
            slot = servers[0].command("CLUSTER", "KEYSLOT", "p:{z}")
            (owner,) = (server for server in servers if _has(server, slot))
            other = servers[(servers.index(owner) + 1) % 3]
            ids = {server.port: server.command("CLUSTER", "MYID") for server in servers}
            await store.run(["p:{z}"], ["x"])
            owner.command("DEL", "p:{z}")
            other.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner.port])
            owner.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[other.port])
            assert await store.run(["p:{z}"], ["x"]) == b"x 1", "ASK"
            assert await store.run(["p:{z}"], ["x"]) == b"x 2", "ASK"
            for server in (other, owner):
                server.command("CLUSTER", "SETSLOT", slot, "NODE", ids[other.port])
            assert await store.run(["p:{z}"], ["x"]) == b"x 3", "MOVED"
            other.freeze()
            with pytest.raises(StoreGone, match="did not answer"):
                await store.run(["p:{z}"], ["x"])
            (key,) = [f"p:{{{n}}}" for n in "abcdef" if _holds(owner, f"p:{{{n}}}")][:1]
            assert await store.run([key], ["x"]) == b"x 2", "one silent server holds up nobody else"
            other.thaw()


def _has(server: StoreServer, slot: int) -> bool:
    mine = server.port
    ranges = server.command("CLUSTER", "SLOTS")
    return any(first <= slot <= last and node[1] == mine for first, last, node, *_ in ranges)


def _holds(server: StoreServer, key: str) -> bool:
    return _has(server, server.command("CLUSTER", "KEYSLOT", key))
