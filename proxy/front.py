"""The client's side: keep the client, stream the answer, and say no in Avala's shape.

The only place that answers clients. The commit point is `Relay.prepare`: before it every failure becomes one
JSON answer; after it a failure can only abort the connection, never send a second head nor end the body as
if it were whole.
"""

import asyncio
import json
import traceback

from aiohttp import web

from proxy import config
from proxy.account import Account
from proxy.alive import Alive
from proxy.clock import Clock
from proxy.errors import (
    BadRequest,
    ErrorClass,
    Fault,
    InternalError,
    NoSpace,
    Refusal,
    RequestTimeout,
    RequestTooLarge,
    ShuttingDown,
    TooManyConnections,
    UnauthorizedClient,
    UpstreamError,
    UpstreamFailed,
)
from proxy.events import Crashed, Events, ExchangeBegan, ExchangeEnded, Failed, Rejected
from proxy.forwarder import Forwarder
from proxy.links import Localiser
from proxy.messages import Request, Response
from proxy.policy import describe
from proxy.policy.classify import FAULT_OF
from proxy.policy.headers import downward
from proxy.policy.routes import RouteTable
from proxy.reception import Reception
from proxy.relay import Parting, Relay, abort
from proxy.traffic import Traffic

_CLOSING = (BadRequest, NoSpace, RequestTimeout, RequestTooLarge, TooManyConnections, UnauthorizedClient)
"""After these nobody knows what else the connection brings, or nobody wants it."""


class Front:
    """Serve clients."""

    def __init__(
        self,
        reception: Reception,
        forwarder: Forwarder,
        localiser: Localiser,
        alive: Alive,
        *,
        headers: config.Headers,
        send_timeout: float,
        routes: RouteTable,
        traffic: Traffic,
        clock: Clock,
        events: Events,
    ) -> None:
        self._reception = reception
        self._forwarder = forwarder
        self._localiser = localiser
        self._alive = alive
        self._headers = headers
        self._send_timeout = send_timeout
        self._routes = routes
        self._traffic = traffic
        self._clock = clock
        self._events = events

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; aiohttp's `web.Server` calls this, and cancels it if the client leaves."""
        with self._traffic.passing():
            return await self._handle(http)

    def refuse(self, http: web.BaseRequest, refusal: Refusal) -> web.StreamResponse:
        """Answer what is refused before it became a request."""
        request, account = self._reception.nothing(http), Account()
        self._events(ExchangeBegan(request))
        answer = self._refusal(request, refusal, account)
        self._record(request, account, answer.status)
        return answer

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        account, spool = Account(), self._reception.new_spool()
        request = self._reception.begin(http)
        self._events(ExchangeBegan(request))
        status: int | None = None
        answer: web.StreamResponse | None = None
        try:
            try:
                request = self._localiser.restore(await self._reception.complete(http, request, spool))
                with self._alive.waiting(http, request) as answering:
                    async with self._forwarder.exchange(request, account) as response:
                        status = response.status
                        self._routes.answered(request.path, status)
                        answer = await self._answer(request, response, account)
                        answering()
                        await answer.carry(http, self._send_timeout)
            except Refusal as refusal:
                answer, status = self._refusal(request, refusal, account), refusal.status
            except UpstreamError as error:
                account.judged(error.error_class, FAULT_OF[error.error_class])
                abort(http)
            except ConnectionError:
                # The client's connection broke while we read or wrote, before aiohttp could cancel us.
                self._abort(http, request, account, ErrorClass.CLIENT_DISCONNECTED, status)
            except Exception:
                self._events(Crashed(request.id, traceback.format_exc()))
                if answer is not None and answer.prepared:
                    self._abort(http, request, account, ErrorClass.INTERNAL_ERROR, status)
                else:
                    failure = InternalError("The proxy failed; its log says how.")
                    answer, status = self._refusal(request, failure, account), failure.status
        except asyncio.CancelledError:
            if not self._traffic.cutting:
                account.judged(ErrorClass.CLIENT_DISCONNECTED, Fault.PROXY)
                self._failed(request, account, status)
                raise
            if answer is not None and answer.prepared:
                self._abort(http, request, account, ErrorClass.SHUTTING_DOWN, status)
                raise
            stopping = ShuttingDown("The proxy stopped before the API answered; look before you repeat it.")
            answer, status = self._refusal(request, stopping, account), stopping.status
        finally:
            spool.close()
            self._record(request, account, status if answer is not None else None)
        # An aborted connection gets nothing more, whatever is returned; aiohttp wants a response.
        return answer or web.Response()

    async def _answer(self, request: Request, response: Response, account: Account) -> Relay:
        """Make what the client gets out of the API's answer."""
        try:
            response = await self._localiser.localise(request, response)
        except UpstreamError as error:
            raise UpstreamFailed(error) from error
        said = describe.forwarded(response.status), describe.timing(account)
        fields = describe.additions(
            downward(response),
            describe=said if self._headers.describe else None,
            request_id=request.id,
            via=response.version if self._headers.via else None,
        )
        answer = Relay(response, fields)
        if self._traffic.draining or b"upgrade" in request.headers:
            answer.force_close()  # what follows an upgrade that was ignored is not read (see listener)
        return answer

    def _refusal(self, request: Request, refusal: Refusal, account: Account) -> web.StreamResponse:
        account.judged(refusal.error_class, FAULT_OF[refusal.error_class], refusal.code)
        if account.fault is Fault.PROXY:
            self._events(Rejected(request.route, refusal.error_class))
            self._failed(request, account, refusal.status)
        content = {
            "detail": refusal.detail,
            "code": refusal.code,
            "doc_url": f"docs/errors.md#{refusal.code}",
        }
        headers = {
            "Server": "avala-proxy",  # else aiohttp names itself and its version
            "X-Request-Id": request.id,
            "Proxy-Status": describe.made_here(refusal.proxy_status).decode(),
            "Server-Timing": describe.timing(account).decode(),
        }
        if refusal.retry_after is not None:
            headers["Retry-After"] = str(refusal.retry_after)
        if isinstance(refusal, UnauthorizedClient):
            headers["WWW-Authenticate"] = 'Bearer realm="avala-proxy"'
        last = self._traffic.draining or isinstance(refusal, _CLOSING)
        answer = (web.Response if self._traffic.draining or not last else Parting)(
            status=refusal.status,
            body=json.dumps(content, separators=(",", ":")).encode(),
            content_type="application/json",
            headers=headers,
        )
        if last:
            answer.force_close()
        return answer

    def _abort(
        self,
        http: web.BaseRequest,
        request: Request,
        account: Account,
        error_class: ErrorClass,
        status: int | None,
    ) -> None:
        """Break the connection because of us or of the client; what the API broke is told by who asked it."""
        account.judged(error_class, FAULT_OF[error_class])
        abort(http)
        self._failed(request, account, status)

    def _failed(self, request: Request, account: Account, status: int | None) -> None:
        self._events(
            Failed(
                request.id,
                request.method,
                request.route,
                status,
                account.error_class,
                account.fault,
                account.code,
            )
        )

    def _record(self, request: Request, account: Account, status: int | None) -> None:
        self._events(
            ExchangeEnded(
                request_id=request.id,
                method=request.method,
                route=request.route,
                status=status,
                error_class=account.error_class,
                fault=account.fault,
                code=account.code,
                attempts=account.attempts,
                duration=self._clock.now() - request.arrived,
                waited=account.waited,
                upstream=account.upstream,
                limit=account.limit,
                credential=request.credential,
                client=request.client,
                caller=request.caller,
                peer=request.peer,
                coalesced=account.coalesced,
                would_wait=account.would_wait,
            )
        )
