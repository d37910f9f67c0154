"""The shapes of the admin listener's answers, and the fields that all of them have."""

import json
import re
from http import HTTPStatus

from aiohttp import web

from proxy.relay import Parting

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(
        f"{what} 'none'" for what in ("default-src", "base-uri", "form-action", "frame-ancestors")
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_NUMBERS = re.compile(r"\[\n\s+[\d,\s]+\]")
"""A list of whole numbers, one a line; no string has a line end in JSON."""


def as_json(content: object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with JSON for people and programs: indented, but for lists of numbers."""
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), json.dumps(content, indent=2))
    return web.Response(text=text + "\n", status=status, content_type="application/json")


def error(status: HTTPStatus, detail: str) -> web.Response:
    """Answer with what is wrong, in the API's shape."""
    return as_json({"detail": detail, "code": status.name.lower()}, status)


def not_allowed(allowed: str, detail: str) -> web.Response:
    """Answer that something is not done by this method."""
    response = error(HTTPStatus.METHOD_NOT_ALLOWED, detail)
    response.headers["Allow"] = allowed
    return response


def finished(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Give an answer the fields of all; make it its connection's last if a body comes that nobody wants."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.content.is_eof() or not isinstance(response, web.Response):
        return response
    last = Parting(body=response.body, status=response.status, headers=response.headers)
    last.force_close()
    return last
