"""The border with sockets, where no real socket can be made to behave so."""

import asyncio
import random

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.sandbox import Ledger, SandboxSettings
from proxy.sandbox.api import Api
from proxy.sandbox.errors import ApiError
from proxy.sandbox.wire import read_body
from tests.sandbox.running import FakeTime


async def test_a_body_whose_framing_breaks_is_a_malformed_request() -> None:
    protocol = aiohttp.base_protocol.BaseProtocol(asyncio.get_running_loop())
    stream = aiohttp.StreamReader(protocol, 2**16)
    stream.feed_data(b"ab")
    stream.set_exception(web.RequestPayloadError())
    entry = Ledger(1).arrive(0.0, "POST", "/")
    with pytest.raises(ApiError) as refused:
        await read_body(make_mocked_request("POST", "/", payload=stream), entry, 100, keep=True)
    assert refused.value.reply.body == b'{"detail":"Malformed request."}'
    assert entry.body_sha256 is None


async def test_a_client_that_is_gone_before_its_answer_is_noted() -> None:
    request = make_mocked_request("GET", "/api/v1/status/", headers={"X-Sandbox-Fault": "reset"})
    request.protocol.transport = None
    time, ledger = FakeTime(), Ledger(1)
    api = Api(
        SandboxSettings(),
        ledger,
        clock=time.clock,
        wall=time.wall,
        rng=random.Random(1),
        sleep=time.sleep,
    )
    await api.respond(request)
    assert (ledger.entries[0].status, ledger.entries[0].note) == (None, "client_gone")
