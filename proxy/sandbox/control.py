"""The sandbox's own pages, `/` and `/_sandbox/…`: no part of the API, not throttled, not in the ledger."""

from __future__ import annotations

from aiohttp import web

from proxy.sandbox.endpoints import ENDPOINTS, PREFIX
from proxy.sandbox.faults import FAULT_NAMES
from proxy.sandbox.ledger import Ledger
from proxy.sandbox.replies import dump
from proxy.sandbox.settings import SandboxSettings

LEDGER_PATH = "/_sandbox/ledger"


class Control:
    """Answers every request that is not below `/api/`."""

    def __init__(self, settings: SandboxSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    def respond(self, request: web.BaseRequest) -> web.Response:
        """Serve one request."""
        if request.path == LEDGER_PATH and request.method == "GET":
            return _json(self._ledger.summary(entries=request.query.get("entries") != "false"))
        if request.path == LEDGER_PATH and request.method == "DELETE":
            self._ledger.clear()
            return web.Response(status=204)
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return _json(self._index())
        return _json({"detail": "Not found."}, 404)

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
            "limits": {scope: str(limit) for scope, limit in self._settings.scaled_limits().items()},
            "faults": {
                "header": "X-Sandbox-Fault: NAME[;key=value…][;times=N], with X-Sandbox-Key for times",
                "names": FAULT_NAMES,
                "examples": [
                    "500;after",
                    "503;retry-after=1",
                    "503;retry-after=date;in=2",
                    "429;reset=2",
                    "reset",
                ],
                "drawn": dict(self._settings.faults),
            },
            "ledger": f"GET {LEDGER_PATH}?entries=false, DELETE {LEDGER_PATH}",
        }


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dump(value), content_type="application/json")
