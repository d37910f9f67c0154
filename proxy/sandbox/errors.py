"""Every error the API is documented to answer, word for word. No other module spells an error body.

The words are those of the API's page "Error handling"; where it gives only an example (a conflict's noun, a
missing scope), the example's wording is kept and the noun is filled in. What the page leaves open (a parse
error, a missing credential) has the words of Django REST Framework; of the storage quota only the fields are
known, from the SDK that reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from proxy.sandbox.replies import Reply, json_reply

DOC_URL = "https://docs.avala.ai/api/errors#"


class ApiError(Exception):
    """A refusal by the API: raised by whatever finds it, turned into an answer in one place."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status, reply.body)
        self.reply = reply


class Throttled(ApiError):
    """A refusal by a throttle; knows which one."""

    def __init__(self, scope: str, wait: float | None) -> None:
        super().__init__(throttled(wait))
        self.scope = scope


def _error(status: int, detail: object, **headers: str) -> ApiError:
    return ApiError(json_reply({"detail": detail}, status, headers))


def _structured(detail: str, code: str) -> ApiError:
    return ApiError(json_reply({"detail": detail, "code": code, "doc_url": DOC_URL + code}, 403))


def validation(fields: Mapping[str, object], status: int = 400) -> ApiError:
    """Say what is wrong with which field."""
    return _error(status, fields)


def bad_request(sentence: str) -> ApiError:
    """Refuse a request as a whole with one sentence (DRF's ParseError)."""
    return _error(400, sentence)


def invalid_key() -> ApiError:
    """Refuse a credential that is none. DRF answers 401 only together with WWW-Authenticate."""
    return _error(401, "Invalid API key.", **{"WWW-Authenticate": "Api-Key"})


def not_authenticated() -> ApiError:
    """Refuse a request without a credential where one is needed."""
    return _error(401, "Authentication credentials were not provided.", **{"WWW-Authenticate": "Api-Key"})


def permission_denied() -> ApiError:
    """Refuse a caller that is known but not allowed."""
    return _error(403, "You do not have permission to perform this action.")


def plan_insufficient() -> ApiError:
    """Refuse an action that the organization's plan does not include."""
    return _structured("Project approval requires a PRO or ENTERPRISE plan.", "plan_insufficient")


def scope_required(scope: str = "projects.write") -> ApiError:
    """Refuse an action that the key's scopes do not include."""
    return _structured(f"API key requires '{scope}' scope.", "scope_required")


def not_found(detail: str = "Not found.") -> ApiError:
    """Say that there is no such thing."""
    return _error(404, detail)


def method_not_allowed(method: str) -> ApiError:
    """Refuse a method that the endpoint does not have."""
    return _error(405, f'Method "{method}" not allowed.')


def conflict(noun: str = "An agent", field: str = "name") -> ApiError:
    """Refuse a second thing of the same name."""
    return _error(409, f"{noun} with this {field} already exists.")


def too_large() -> ApiError:
    """Refuse a body over the cap; the rest of it is not read, so the connection ends."""
    body = json_reply({"detail": "Request body too large. Maximum size is 100MB."}, 413)
    return ApiError(Reply(413, body.body, body.headers, close=True))


def quota_exceeded(limit: int, used: int) -> ApiError:
    """Refuse to store more than the owner's quota; both in bytes."""
    body = {"detail": "Storage quota exceeded.", "limit": limit, "used": used}
    return ApiError(json_reply(body, 413))


def throttled(wait: float | None) -> Reply:
    """Refuse for now. Whole seconds, rounded up and at least 1; with None DRF knows no wait and says none."""
    if wait is None:
        return json_reply({"detail": "Request was throttled."}, 429)
    seconds = whole_seconds(wait)
    unit = "second" if seconds == 1 else "seconds"
    detail = f"Request was throttled. Expected available in {seconds} {unit}."
    return json_reply({"detail": detail}, 429, {"Retry-After": str(seconds)})


def whole_seconds(wait: float) -> int:
    """Round a wait up as `Retry-After` does."""
    return max(1, math.ceil(wait))


def server_error() -> Reply:
    """Fail without saying why."""
    return json_reply({"detail": "Internal server error."}, 500)


def unavailable(headers: Mapping[str, str] | None = None) -> Reply:
    """Be out of service."""
    return json_reply({"detail": "Service temporarily unavailable. Please try again later."}, 503, headers)


def gateway_error(status: int) -> Reply:
    """Fail as the balancer in front of the API does: in HTML, since the API itself never spoke."""
    reason = {502: "502 Bad Gateway", 504: "504 Gateway Time-out"}[status]
    page = (
        f"<html>\r\n<head><title>{reason}</title></head>\r\n<body>\r\n"
        f"<center><h1>{reason}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    return Reply(status, page.encode(), {"Content-Type": "text/html"})


def documented(status: str, method: str, code: str | None = None) -> Reply:
    """Give the error page's own example of a 4xx status (422 takes the shape of 400: the page has none)."""
    example: dict[str, Any] = {"name": ["This field is required."], "schedule": ["Invalid cron expression."]}
    by_status: dict[str, Callable[[], ApiError]] = {
        "400": lambda: validation(example),
        "401": invalid_key,
        "403": permission_denied,
        "403 plan_insufficient": plan_insufficient,
        "403 scope_required": scope_required,
        "404": not_found,
        "405": lambda: method_not_allowed(method),
        "409": conflict,
        "413": too_large,
        "422": lambda: validation(example, 422),
    }
    return by_status[f"{status} {code}" if code else status]().reply
