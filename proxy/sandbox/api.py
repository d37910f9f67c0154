"""THE LIFE OF A REQUEST in the sandbox, in the order of Django REST Framework.

    transit -> arrival (the throttle's time)
      authentication   401; not counted
      permissions      401, 403 for staff and scopes; not counted
      throttles        429; nothing is done
    body is read -> fault is chosen -> the operation is done (or not) -> transit -> answer

Two things come before: a path that lacks only its closing slash is redirected by Django's middleware, and a
fault that nobody knows is refused.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web

from proxy.sandbox import errors, fault_answers, wire
from proxy.sandbox.callers import ANONYMOUS, Caller, identify
from proxy.sandbox.calls import Body, Call, Sleep, World
from proxy.sandbox.endpoints import NOWHERE, SAFE, Access, Endpoint, find
from proxy.sandbox.faults import UNANSWERED, Fault, FaultChooser, FaultPlan, parse_fault
from proxy.sandbox.ledger import Entry, Ledger
from proxy.sandbox.replies import AnyReply, Reply, json_reply
from proxy.sandbox.settings import SandboxSettings
from proxy.sandbox.store import Store
from proxy.sandbox.throttle import Permit, Throttles
from proxy.sandbox.tuning import Tuning

KEY_HEADER = "X-Avala-Api-Key"
FAULT_HEADER = "X-Sandbox-Fault"
VERSION_HEADER = "X-Sandbox-Version"
"""The moment whose state an executed answer tells of, in microseconds of the machine's monotonic clock; one
from before the question is stale."""


@dataclass(slots=True)
class Exchange:
    """One request and what has been found out about it so far."""

    request: web.BaseRequest
    entry: Entry
    endpoint: Endpoint = NOWHERE
    params: Mapping[str, str] = field(default_factory=dict)
    caller: Caller = ANONYMOUS
    asked: Fault | None = None
    """The fault that the request's header asks for."""
    fault: Fault | None = None
    """The fault that it gets."""
    permit: Permit = field(default_factory=Permit)
    told: Mapping[str, str] = field(default_factory=dict)
    """The `X-RateLimit-*` headers, as they were when the throttles were asked, and an answer's version."""

    @property
    def address(self) -> str:
        """The caller's address, as the socket tells it."""
        return self.request.remote or ""


class Api:
    """Answers every request below `/api/`."""

    def __init__(
        self,
        settings: SandboxSettings,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random,
        sleep: Sleep,
    ) -> None:
        self.stopping = False
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._wall = wall
        self._rng = rng
        self._sleep = sleep
        self._world = World(settings, Store(), sleep)
        self._throttles = Throttles(settings.scaled_limits(), ledger.saw)
        plan = FaultPlan(settings.faults, settings.retry_after)
        self._chooser = FaultChooser(plan, settings.after_share, rng)
        self.tuning = Tuning(settings, self._throttles, self._chooser)

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request, and see to it that the ledger tells how it ended."""
        headers = request.headers
        entry = self._ledger.arrive(
            self._clock(),
            request.method,
            request.raw_path,
            headers.get("X-Sandbox-Key"),
            headers.get("X-Request-Id"),
        )
        entry.traceparent = headers.get("traceparent")
        exchange = Exchange(request, entry)
        try:
            await self._transit()
            entry.arrived = self._clock()
            reply = await self._answer(exchange)
            await self._transit()
            if reply is None:
                return wire.reset(request)
            cut = exchange.fault is not None and exchange.fault.name == "truncated"
            return await wire.send(request, self._with_headers(exchange, reply), entry, cut)
        except asyncio.CancelledError:
            entry.note = "stopped" if self.stopping else "client_gone"
            raise
        except ConnectionError:
            entry.note = "client_gone"
            return web.Response()
        finally:
            exchange.permit.release()
            self._ledger.finish(entry)

    async def _transit(self) -> None:
        low, high = self._settings.transit
        if high > 0:
            await self._sleep(self._rng.uniform(low, high))

    async def _answer(self, exchange: Exchange) -> AnyReply | None:
        """Find the reply; None breaks the connection."""
        refusal = self._refusal(exchange)
        bulk = exchange.endpoint.bulk
        if refusal is not None and bulk and exchange.request.body_exists:
            # A refused upload is told at once; what it goes on sending makes the connection useless.
            return replace(refusal, close=True)
        try:
            body = await wire.read_body(
                exchange.request, exchange.entry, self._settings.max_body, keep=not bulk
            )
        except errors.ApiError as error:
            return error.reply if refusal is None else replace(refusal, close=True)
        return refusal or await self._execute(exchange, body)

    def _refusal(self, exchange: Exchange) -> Reply | None:
        """Do what comes before a view; give the reply that ends it there, or None."""
        entry = exchange.entry
        try:
            refusal = self._admit(exchange)
        except errors.Throttled as refused:
            entry.throttled_by = refused.scope
            refusal = refused.reply
        except errors.ApiError as error:
            refusal = error.reply
        # All throttles of one request count it by the same key, so this one is also the refusing throttle's.
        scope, key = exchange.endpoint.told(entry.user, exchange.address)
        exchange.told = self._rate_headers(entry.throttled_by or scope, key, entry.arrived)
        return refusal

    def _admit(self, exchange: Exchange) -> Reply | None:
        """Let a request through to its view, redirect it with a reply, or raise ApiError."""
        request, entry = exchange.request, exchange.entry
        exchange.endpoint, exchange.params = find(request.path)
        exchange.asked = _asked_fault(request)
        exchange.caller = identify(request.headers.get(KEY_HEADER))
        entry.user = exchange.caller.user
        if exchange.endpoint is NOWHERE and find(request.path + "/")[0] is not NOWHERE:
            return _with_slash(request)
        _check_permissions(exchange.endpoint, exchange.caller, request.method)
        demands = exchange.endpoint.demands(request.method, entry.user, exchange.address)
        exchange.permit = self._throttles.enter(demands, entry.arrived)
        return None

    def _rate_headers(self, scope: str, key: str, now: float) -> dict[str, str]:
        window = self._throttles.window(scope, key, now)
        return {
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": str(math.ceil(self._wall() + window.resets_in)),
        }

    async def _execute(self, exchange: Exchange, body: Body) -> AnyReply | None:
        """Do the operation, unless a fault is in the way."""
        fault = exchange.fault = self._chooser.choose(exchange.asked, exchange.entry.key)
        if fault is None:
            return self._run(exchange, body)
        exchange.entry.fault = fault.name
        if fault.name == "slow":
            await self._sleep(self._settings.slow_seconds if fault.seconds is None else fault.seconds)
        if fault.name == "hang":
            await self._hang(fault.seconds)
        reply = self._run(exchange, body) if fault.executes else None
        if fault.name in UNANSWERED:
            return None
        if reply is not None and not fault.after:
            return reply
        retry_after = self._chooser.plan.retry_after
        return fault_answers.answer(fault, exchange.request.method, self._wall(), retry_after)

    async def _hang(self, seconds: float | None) -> None:
        if seconds is None:
            # What nobody settles ends with the task: the client leaves, or the server stops.
            await asyncio.get_running_loop().create_future()
        else:
            await self._sleep(seconds)

    def _run(self, exchange: Exchange, body: Body) -> AnyReply:
        request, endpoint = exchange.request, exchange.endpoint
        call = Call(
            world=self._world,
            caller=exchange.caller,
            origin=f"{request.scheme}://{request.headers.get('Host') or 'localhost'}",
            path=request.path,
            query=dict(request.query),
            params=exchange.params,
            body=body,
            now=self._clock(),
            wall=self._wall(),
            permit=exchange.permit,
        )
        try:
            reply = _view_reply(endpoint, request.method, call)
        except errors.ApiError as error:
            return error.reply
        exchange.entry.executed = True
        exchange.told = {**exchange.told, VERSION_HEADER: str(int(call.now * 1e6))}
        return reply

    def _with_headers(self, exchange: Exchange, reply: AnyReply) -> AnyReply:
        headers = {"Allow": exchange.endpoint.allow, "Vary": "Accept", **exchange.told, **reply.headers}
        # What is not ASCII cannot go back into a head as it came.
        if (request_id := exchange.entry.request_id) is not None and request_id.isascii():
            headers["X-Request-Id"] = request_id
        return replace(reply, headers=headers)


def _asked_fault(request: web.BaseRequest) -> Fault | None:
    text = request.headers.get(FAULT_HEADER)
    if text is None:
        return None
    try:
        return parse_fault(text)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None


def _with_slash(request: web.BaseRequest) -> Reply:
    path, mark, query = request.raw_path.partition("?")
    return Reply(
        301, headers={"Location": f"{path}/{mark}{query}", "Content-Type": "text/html; charset=utf-8"}
    )


def _check_permissions(endpoint: Endpoint, caller: Caller, method: str) -> None:
    if endpoint.access in (Access.PUBLIC, Access.SIGNUP):
        return
    if caller.user is None:
        raise errors.not_authenticated()
    if endpoint.access is Access.STAFF:
        raise errors.permission_denied()
    if endpoint.writes is not None and method not in SAFE and not caller.scoped:
        raise errors.scope_required(endpoint.writes)


def _view_reply(endpoint: Endpoint, method: str, call: Call) -> AnyReply:
    if endpoint is NOWHERE:
        raise errors.not_found()
    if method == "OPTIONS":
        return json_reply(
            {"name": endpoint.path, "renders": ["application/json"], "parses": ["application/json"]}
        )
    view = endpoint.view(method)
    if view is None:
        raise errors.method_not_allowed(method)
    return view(call)
