"""The only place where it is decided which heads are taken, and which are refused as malformed or ambiguous.

The parser in front (llhttp) is strict with requests and lenient with responses. Here is checked again what
another program behind or before us might read in another way (RFC 9112 section 11.2), so that this does not
hang on the parser's version and settings alone. What passes here has one meaning only.
"""

import re
from collections.abc import Iterable

from proxy import config
from proxy.errors import BadRequest, HeadTooLarge, TargetTooLong, UpgradeRefused
from proxy.messages import Headers, Request

MAX_RESPONSE_HEAD = 256 * 1024
"""Bytes of a response head in all."""

_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~%-]{1,255})(?::[0-9]{0,5})?")
"""host [":" port] of RFC 3986 section 3.2: no user, and none of the characters that only lists have."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"/[!-\"$-~]*")
_ABSOLUTE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)", re.I | re.S)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VERSIONS = ((1, 0), (1, 1))
_LENGTH = re.compile(rb"[0-9]{1,19}")
_SEPARATORS = 4  # a colon, a space, CR and LF


class RequestRules:
    """What a request head must be; `ours` are the authorities under which an absolute target may name us."""

    def __init__(self, settings: config.Listen, ours: Iterable[str]) -> None:
        self._settings = settings
        self._ours = frozenset(authority.lower() for authority in ours)

    def target(self, request: Request, here: str) -> str:
        """Return the target in origin form; `here` is the address at which this request arrived.

        Raises `BadRequest`, `TargetTooLong`, `HeadTooLarge`, `UpgradeRefused`.
        """
        if request.method == "CONNECT":  # whatever its target: others would take a 2xx for a tunnel
            raise BadRequest("CONNECT is for forward proxies.")
        self._check_size(request)
        check_fields(request.headers)
        _check_host(request)
        _check_framing(request)
        if any("websocket" in protocols.lower() for protocols in request.headers.all(b"upgrade")):
            raise UpgradeRefused("WebSocket is not carried; use the API's event streams, or polling.")
        target = request.target
        if not target.startswith("/"):
            target = self._origin_form(request, here)
        if _TARGET.fullmatch(target) is None:
            raise BadRequest("The request target has characters that must be percent-encoded, or a fragment.")
        return target

    def _check_size(self, request: Request) -> None:
        allowed = self._settings
        line = len(request.target)
        if line > allowed.max_target:
            raise TargetTooLong(f"The request target is longer than {allowed.max_target} bytes.")
        sizes = [len(name) + len(value) for name, value in request.headers]
        if len(sizes) > allowed.max_fields:
            raise HeadTooLarge(f"The request has more than {allowed.max_fields} header fields.")
        if max(sizes, default=0) > allowed.max_field:
            raise HeadTooLarge(f"A header field is longer than {allowed.max_field} bytes.")
        if line + sum(sizes) + _SEPARATORS * len(sizes) > allowed.max_head:
            raise HeadTooLarge(f"The request head is longer than {allowed.max_head} bytes.")

    def _origin_form(self, request: Request, here: str) -> str:
        """Take an absolute target apart, as every server must (RFC 9112 section 3.2.2), if it names us."""
        match = _ABSOLUTE.fullmatch(request.target)
        if match is None:
            raise BadRequest("The request target must be a path that begins with a slash.")
        if match["authority"].lower() not in self._ours | {here}:
            raise BadRequest("The request target names another host: this is no forward proxy.")
        if (match["scheme"].lower() == "https") is not request.secure:
            raise BadRequest("The request target names another scheme than this connection's.")
        rest = match["rest"]
        return rest if rest.startswith("/") else f"/{rest}"


def check_fields(headers: Headers) -> None:
    """Check the characters of every name and value (RFC 9110 section 5.5). Raises `BadRequest`."""
    names = [name for name, _ in headers]
    values = [value for _, value in headers]
    # All at once: a match for each costs four times as much.
    named = all(names) and (not names or _NAME.fullmatch(b"".join(names)))
    if not named or _VALUE.fullmatch(b"".join(values)) is None:
        raise BadRequest("A header field has characters that are not allowed there.")


def _check_host(request: Request) -> None:
    """RFC 9112 section 3.2: one, and in HTTP/1.0 perhaps none."""
    hosts = request.headers.all(b"host")
    if len(hosts) > 1 or (not hosts and request.version == b"1.1"):
        raise BadRequest("The request must have one Host header.")
    if hosts and _AUTHORITY.fullmatch(hosts[0]) is None:
        raise BadRequest("The Host header is not a host with or without a port.")


def _check_framing(request: Request) -> None:
    """RFC 9112 section 6: where the body ends must be said once, and in one way."""
    lengths, codings = request.headers.all(b"content-length"), request.headers.all(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise BadRequest("The length of the body is given more than once.")
    if lengths and _LENGTH.fullmatch(lengths[0].encode("latin-1")) is None:
        raise BadRequest("Content-Length must be a number.")
    if codings and codings[0].lower() != "chunked":
        raise BadRequest("The only transfer coding is `chunked`.")
    if codings and request.version == b"1.0":
        raise BadRequest("HTTP/1.0 has no transfer codings.")


def unfit_response(status: int, reason: str, version: tuple[int, int], headers: Headers) -> str | None:
    """Say what RFC 9209 calls the fault of a response head; None if it has none."""
    lengths, codings = headers.all(b"content-length"), headers.all(b"transfer-encoding")
    try:
        check_fields(headers)
    except BadRequest:
        return "http_protocol_error"
    if sum(len(name) + len(value) for name, value in headers) > MAX_RESPONSE_HEAD:
        return "http_response_header_section_size"
    if status < 200 or version not in _VERSIONS or _CONTROL.search(reason) or len(lengths) + len(codings) > 1:
        return "http_protocol_error"
    if lengths and _LENGTH.fullmatch(lengths[0].encode("latin-1")) is None:
        return "http_protocol_error"
    if codings and codings[0].lower() != "chunked":
        return "http_response_transfer_coding"
    return None
