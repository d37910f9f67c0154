"""The only place where it is decided which requests ask for the same, so that one answer serves them all.

They are GETs without a body, of one credential, for one URL, with the same fields but for those that say who
asks; and no write of that credential was let go between them: who asked after it asks for something else.
"""

import itertools
from collections.abc import Hashable

from proxy import config
from proxy.messages import Headers, Request
from proxy.policy.headers import FOR_THE_PROXY, HOP_BY_HOP, accepts_stream, named_away
from proxy.policy.paths import compile_paths

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1
_OF_THE_ASKER = (
    FOR_THE_PROXY
    | HOP_BY_HOP
    | {b"host"}  # the upstream gets its own
    | {b"x-request-id", b"x-correlation-id", b"x-amzn-trace-id", b"x-cloud-trace-context"}
    | {b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"}
    | {b"x-b3-sampled", b"sentry-trace"}
)
"""Fields that differ from request to request, or stop here, and so cannot change what is answered."""

_MANY = 1024


class Alike:
    """Tell requests that ask for the same; with `forwarded`, the upstream is told who asks."""

    def __init__(self, settings: config.Coalescing, *, forwarded: bool) -> None:
        self._enabled = settings.enabled
        self._routes = [(compile_paths(route.paths), route.coalesce) for route in settings.routes]
        self._forwarded = forwarded
        self._numbers = itertools.count(1)
        self._written: dict[str | None, int] = {}
        self._before = 0

    def key(self, request: Request) -> Hashable | None:
        """Return what is equal for requests that ask for the same, or None for one that goes by itself."""
        if request.method != "GET" or request.body.size is not None or not self._applies(request.path):
            return None
        if accepts_stream(request.headers):  # it never ends, and what it says depends on when it began
            return None
        asker = (request.peer, request.secure, request.headers.get(b"host")) if self._forwarded else ()
        written = self._written.get(request.credential, self._before)
        return request.credential, request.target, _telling(request.headers), asker, written

    def admitted(self, request: Request) -> None:
        """Note that a request was let go: what is asked after a write is not what was asked before it."""
        if request.method in _SAFE:
            return
        if len(self._written) >= _MANY:  # the same as if each of them had just written
            self._written.clear()
            self._before = next(self._numbers)
        self._written[request.credential] = next(self._numbers)

    def _applies(self, path: str) -> bool:
        for matches, coalesce in self._routes:
            if matches(path):
                return coalesce
        return self._enabled


def _telling(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    apart = _OF_THE_ASKER | named_away(headers)
    fields = ((name.lower(), value) for name, value in headers)
    return tuple(field for field in fields if field[0] not in apart)
