"""The upstream's name is asked for as often as its answer may have changed, and no more."""

import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest
from aiohappyeyeballs import AddrInfoType

from proxy.adapters.names import Name, system_resolver, unattended
from tests.adapters.servers import Clock, Dns


def name(dns: Dns, clock: Clock | None = None, host: str = "api.test") -> Name:
    return Name(host, 443, ttl=30.0, resolver=dns, now=clock or Clock())


def hosts(addresses: list[AddrInfoType]) -> list[str]:
    return [address[4][0] for address in addresses]


async def test_an_answer_is_used_until_it_is_old() -> None:
    dns, clock = Dns(["192.0.2.1"]), Clock()
    api = name(dns, clock)
    for seconds, questions in ((0.0, 1), (29.9, 1), (0.1, 2), (29.9, 2)):
        clock.time += seconds
        assert hosts(await api.addresses()) == ["192.0.2.1"]
        assert len(dns.questions) == questions
    assert dns.questions[0] == ("api.test", 443)


async def test_a_new_answer_replaces_the_old_one() -> None:
    dns, clock = Dns(["192.0.2.1"]), Clock()
    api = name(dns, clock)
    await api.addresses()
    dns.addresses = ["192.0.2.2"]
    clock.time += 30.0
    assert hosts(await api.addresses()) == ["192.0.2.2"]


async def test_each_time_another_address_comes_first_even_after_a_look_up() -> None:
    api = name(Dns(["192.0.2.1", "192.0.2.2", "192.0.2.3"]))
    begins = []
    for _ in range(4):
        begins.append(hosts(await api.addresses()))
        api.forget()
    assert begins[:2] == [
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
        ["192.0.2.2", "192.0.2.3", "192.0.2.1"],
    ]
    assert [begin[0][-1] for begin in begins] == ["1", "2", "3", "1"]


async def test_those_who_ask_at_once_share_a_look_up_that_goes_on_without_who_leaves() -> None:
    dns = Dns(["192.0.2.1"], gate=asyncio.Event())
    api = name(dns)
    asking = [asyncio.create_task(api.addresses()) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    assert dns.gate is not None
    dns.gate.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(told[0], asyncio.CancelledError)
    assert [hosts(one) for one in told[1:] if isinstance(one, list)] == [["192.0.2.1"]] * 2
    assert len(dns.questions) == 1


async def test_a_failure_is_told_to_all_who_asked_and_not_remembered() -> None:
    dns = Dns(["192.0.2.1"], error=socket.gaierror("no such name"))
    api = name(dns)
    told = await asyncio.gather(*(api.addresses() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in told] == [socket.gaierror] * 3
    dns.error = None
    assert hosts(await api.addresses()) == ["192.0.2.1"]
    assert len(dns.questions) == 2


async def test_a_failure_that_nobody_waits_for_any_more_is_no_error() -> None:
    dns = Dns(error=socket.gaierror("no such name"), gate=asyncio.Event())
    asking = asyncio.create_task(name(dns).addresses())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert dns.gate is not None
    dns.gate.set()
    await asyncio.sleep(0)


async def test_what_was_forgotten_is_asked_for_again() -> None:
    dns = Dns(["192.0.2.1"])
    api = name(dns)
    await api.addresses()
    api.forget()
    await api.addresses()
    assert len(dns.questions) == 2


async def test_a_look_up_asks_whatever_is_remembered_and_changes_nothing_of_it() -> None:
    dns = Dns(["192.0.2.1"])
    api = name(dns)
    await api.addresses()
    dns.addresses = ["192.0.2.2"]
    assert hosts(list(await api.look_up())) == ["192.0.2.2"]
    assert hosts(await api.addresses()) == ["192.0.2.1"]


async def test_an_answer_without_addresses_is_none() -> None:
    with pytest.raises(OSError, match=r"api\.test has no address"):
        await name(Dns()).addresses()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_never_looked_up(host: str) -> None:
    dns, clock = Dns(error=socket.gaierror("asked")), Clock()
    api = name(dns, clock, host)
    clock.time += 1e9
    api.forget()
    (address,) = await api.addresses()
    assert address[4][:2] == (host, 443)
    assert list(await api.look_up()) == [address]
    assert dns.questions == []


async def test_closing_gives_a_look_up_up() -> None:
    api = name(Dns(gate=asyncio.Event()))
    asking = asyncio.create_task(api.addresses())
    await asyncio.sleep(0)
    api.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    api.close()


async def test_the_system_knows_this_machine() -> None:
    found = await system_resolver("localhost", 80)
    assert {address[4][0] for address in found} <= {"127.0.0.1", "::1"}
    assert {address[1] for address in found} == {socket.SOCK_STREAM}


async def test_who_asks_between_an_answer_and_its_being_noted_gets_it_too() -> None:
    dns = Dns(["192.0.2.1"])
    got: list[list[str]] = []

    def ask_at_once() -> None:
        asking = api.addresses()
        try:
            asking.send(None)
        except StopIteration as done:
            got.append(hosts(done.value))

    async def resolver(host: str, port: int) -> Sequence[AddrInfoType]:
        found = await dns(host, port)
        asyncio.get_running_loop().call_soon(ask_at_once)  # before the callbacks of what ends here
        return found

    api = Name("api.test", 443, ttl=30.0, resolver=resolver, now=Clock())
    assert hosts(await api.addresses()) == ["192.0.2.1"]
    assert got == [["192.0.2.1"]]


async def test_what_blocks_gives_its_answer_or_its_error() -> None:
    def fail() -> int:
        raise socket.gaierror("no such name")

    assert await unattended(lambda: 7) == 7
    with pytest.raises(socket.gaierror, match="no such name"):
        await unattended(fail)


def test_nobody_waits_at_the_end_for_a_name_server_that_is_silent() -> None:
    answered = threading.Event()

    async def impatient() -> None:
        async with asyncio.timeout(0.05):
            await unattended(answered.wait)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())  # which returns, though the thread is still at it
    answered.set()
