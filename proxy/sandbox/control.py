"""The sandbox's own pages, `/` and `/_sandbox/…`: no part of the API, not throttled, not in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from proxy.sandbox import errors, wire
from proxy.sandbox.control_bodies import FAULTS_EXAMPLE, LIMITS_EXAMPLE, read_faults, read_limits
from proxy.sandbox.endpoints import ENDPOINTS, PREFIX
from proxy.sandbox.faults import FAULT_NAMES
from proxy.sandbox.ledger import Entry, Ledger
from proxy.sandbox.limits import Limit
from proxy.sandbox.replies import dump
from proxy.sandbox.settings import SandboxSettings
from proxy.sandbox.tuning import Tuning


class Control:
    """Answers every request that is not below `/api/`."""

    def __init__(self, settings: SandboxSettings, ledger: Ledger, tuning: Tuning) -> None:
        self._most_body = settings.max_body
        self._ledger = ledger
        self._tuning = tuning

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""
        match f"{request.method} {request.path}":
            case "GET /_sandbox/ledger":
                return _json(self._ledger.summary(entries=request.query.get("entries") != "false"))
            case "DELETE /_sandbox/ledger":
                self._ledger.clear()
                return web.Response(status=204)
            case "GET /_sandbox/limits":
                return _json(self._limits())
            case "PUT /_sandbox/limits":
                return await self._change(request, self._put_limits)
            case "GET /_sandbox/faults":
                return _json(self._faults())
            case "PUT /_sandbox/faults":
                return await self._change(request, self._put_faults)
            case "GET /" | "HEAD /":
                return _json(self._index())
        return _json({"detail": "Not found."}, 404)

    async def _change(
        self, request: web.BaseRequest, put: Callable[[bytes], dict[str, object]]
    ) -> web.StreamResponse:
        """Have the body change something and show what came of it; 400 with a sentence when it cannot be."""
        entry = Entry(0, 0.0, request.method, request.path)  # no ledger's
        try:
            body = await wire.read_body(request, entry, self._most_body, keep=True)
            return _json(put(body.data))
        except errors.ApiError as error:
            reply = error.reply
        except ValueError as error:
            reply = errors.bad_request(str(error)).reply
        return await wire.send(request, reply, entry, cut=False)

    def _put_limits(self, data: bytes) -> dict[str, object]:
        self._tuning.set_limits(read_limits(data))
        return self._limits()

    def _put_faults(self, data: bytes) -> dict[str, object]:
        plan = read_faults(data)
        self._tuning.set_faults(plan.rates, plan.retry_after)
        return self._faults()

    def _limits(self) -> dict[str, object]:
        return _texts(self._tuning.limits)

    def _faults(self) -> dict[str, object]:
        plan = self._tuning.plan
        return {"rates": dict(plan.rates), "retry_after": plan.retry_after}

    def _index(self) -> dict[str, object]:
        return {
            "what": "A pretend Avala API. It keeps everything in memory.",
            "endpoints": [f"{endpoint.allow} {PREFIX}{endpoint.path}" for endpoint in ENDPOINTS],
            "keys": {
                "avk_…": "valid, on the FREE plan; send it as X-Avala-Api-Key",
                "avk_pro…": "on the PRO plan",
                "avk_noscope…": "may only read",
                "avk_other…": "owns nothing; what it did not create is forbidden",
                "avk_invalid…": "not valid",
            },
            "limits": _texts(self._tuning.scaled_limits()),
            "faults": {
                "header": "X-Sandbox-Fault: NAME[;key=value…][;times=N], with X-Sandbox-Key for times",
                "names": FAULT_NAMES,
                "examples": [
                    "500;after",
                    "503;retry-after=1",
                    "503;retry-after=date;in=2",
                    "429;reset=2",
                    "reset",
                    "hang",
                    "hang;seconds=30",
                ],
                "never executed": "503, 429, every other 4xx, and hang, which never answers",
                "drawn": dict(self._tuning.plan.rates),
            },
            "change": {
                "GET, PUT /_sandbox/limits": f"{LIMITS_EXAMPLE}; windows before the sandbox's time scale",
                "GET, PUT /_sandbox/faults": f"{FAULTS_EXAMPLE}; {{}} for no faults",
            },
            "ledger": "GET /_sandbox/ledger?entries=false, DELETE /_sandbox/ledger",
        }


def _texts(limits: Mapping[str, Limit]) -> dict[str, object]:
    return {scope: str(limit) for scope, limit in limits.items()}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dump(value), content_type="application/json")
