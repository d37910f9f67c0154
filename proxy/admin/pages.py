"""The files of the live page, which are in the package: read once, and found by these names only.

`page/` is its source: nothing builds it, and it loads nothing from elsewhere. What the page may do is said in
its Content-Security-Policy, in which the rest of the listener may do nothing.
"""

from importlib import resources
from pathlib import PurePath

from aiohttp import web

_FILES = (
    "index.html",
    "page.css",
    "page.js",
    "budget.js",
    "chart.js",
    "dom.js",
    "lists.js",
    "source.js",
    "words.js",
    "favicon.svg",
)

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{what} 'self'" for what in ("script-src", "style-src", "connect-src", "img-src")),
        *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",
    )
)


class Files:
    """Answer with the files of the page, by path: the page itself is `/`."""

    def __init__(self) -> None:
        folder = resources.files("proxy.admin") / "page"
        self._content = {_path(name): (folder / name).read_bytes() for name in _FILES}

    @property
    def paths(self) -> tuple[str, ...]:
        """Where they are."""
        return tuple(self._content)

    async def serve(self, request: web.BaseRequest) -> web.Response:
        """Answer a request for one of them."""
        answer = web.Response(
            body=self._content[request.path],
            content_type=_TYPES.get(PurePath(request.path).suffix, "text/html"),
            charset="utf-8",
        )
        if request.path == "/":
            answer.headers["Content-Security-Policy"] = _POLICY
        return answer


def _path(name: str) -> str:
    return "/" if name == "index.html" else f"/page/{name}"
