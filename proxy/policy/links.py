"""The only place where it is decided which URLs lead to the upstream, and how they are made to lead to us.

Of a URL only that is replaced which leads to the upstream (scheme, host, port, and the path prefix that the
proxy adds by itself); of an answer only such URLs, and what the change makes untrue. All else keeps every
byte. No answer, whatever it holds, takes more than linear time: where a pattern below repeats, it does so
possessively or within fixed bounds.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice

from proxy.config_values import parse_base_url
from proxy.messages import Headers, Response
from proxy.policy.headers import is_json

_DEFAULT_PORTS = {"http": 80, "https": 443}
_KEYS = ("next", "previous")
_NOT_WHOLE = frozenset({204, 205, 206})
_DROPPED = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest", b"last-modified"})

_WEAK = re.compile(rb'W/(?=")')
_TAG = re.compile(r'(?:W/)?"[^"]*+"')
# Whoever resolves two dots decides where they lead, and a backslash or a control is read in different ways.
_UNCLEAR = re.compile(r"[\x00-\x1f\x7f\\]|\A[^?#]*?/(?:\.|%2e){2}(?:[/?#]|\Z)", re.IGNORECASE)

# A link's target, at the beginning of a line or of a member (RFC 8288 section 3); quotes may hold anything.
_TARGET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|(?:^|,)[ \t]*+(?:<(?P<target>[^<>]*+)>)?', re.DOTALL)

_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OPENING = re.compile(rb"(?:\xef\xbb\xbf)?" + _SPACE + rb"\{")
# A key, and its value if that is a string, the beginning of it if it is nested, and else the whole.
_MEMBER = re.compile(
    rb'%b(?P<key>%b)%b:%b(?:(?P<string>%b)|(?P<nested>[{\[])|[^"{}\[\],]++)'
    % (_SPACE, _STRING, _SPACE, _SPACE, _STRING),
    re.DOTALL,
)
_COMMA = re.compile(_SPACE + b",")
# All up to brackets, and as many of these as stand together.
_BRACKETS = re.compile(
    rb'[^"{}\[\]]*+(?:' + _STRING + rb'[^"{}\[\]]*+)*+(?:(?P<opening>[{\[]++)|(?P<closing>[}\]]++))',
    re.DOTALL,
)
_CHARACTER = re.compile(rb"\\u[0-9A-Fa-f]{4}|\\?.", re.DOTALL)


class Links:
    """Find and replace links to one upstream, known by its base URL.

    In its methods, `to` is where the client reached us: a URL without a slash at the end.
    """

    def __init__(self, base_url: str) -> None:
        scheme, name, port, prefix = parse_base_url(base_url)
        host = f"[{name}]" if ":" in name else name
        places = [_place(scheme, host, port)]
        if port == _DEFAULT_PORTS[scheme]:
            # Behind a TLS terminator, a server may not know that it is reached by TLS.
            other = "http" if scheme == "https" else "https"
            places.append(_place(other, host, _DEFAULT_PORTS[other]))
        self._origin = re.compile(rf"(?:{'|'.join(places)}){re.escape(prefix)}(?=[/?#]|\Z)", re.ASCII)
        self._host = re.compile(rb"/(?i:%b)" % re.escape(host.encode()))
        letters = "".join((host, "/", *_KEYS))
        codes = {b"%02x" % code for code in (letters.lower() + letters.upper()).encode()}
        self._escapes = re.compile(rb"\\u00(?i:%b)" % b"|".join(sorted(codes)))

    def headers(self, headers: Headers, to: str) -> Headers:
        """Make `Location` (RFC 9110 section 10.2.2) and the targets in `Link` (RFC 8288) lead to us."""
        here = to.encode()
        return Headers(tuple((name, self._field(name.lower(), value, here)) for name, value in headers))

    def _field(self, name: bytes, value: bytes, here: bytes) -> bytes:
        def retarget(match: re.Match[bytes]) -> bytes:
            url = match["target"]
            return match[0][: -len(url) - 1] + self._url(url, here) + b">" if url else match[0]

        match name:
            case b"location":
                return self._url(value, here)
            case b"link":
                return _TARGET.sub(retarget, value)
        return value

    def _url(self, url: bytes, here: bytes) -> bytes:
        length = self._measure(url.decode("latin-1"))
        return here + url[length:] if length else url

    def _measure(self, url: str) -> int:
        """Return how many characters of a URL are the upstream's base; 0 if it leads elsewhere."""
        match = self._origin.match(url)
        return 0 if match is None or _UNCLEAR.search(url) else match.end()

    def named_in(self, content: bytes) -> bool:
        """Tell whether JSON may hold a link to the upstream: cheap, for the many answers that hold none."""
        return self._host.search(content) is not None or self._escaped_in(content)

    def _escaped_in(self, content: bytes) -> bool:
        """Tell whether a character may be escaped that need not be, and would hide a host or a key."""
        return b"\\" in content and self._escapes.search(content) is not None

    def json(self, content: bytes, to: str) -> bytes | None:
        """Make `next` and `previous` of a JSON object lead to us; None if that changes nothing.

        The content may be cut off anywhere: what is there is dealt with. What is no JSON comes to no harm.
        """
        if not self.named_in(content):
            return None
        here = json.dumps(to)[1:-1].encode()
        pieces, copied = list[bytes](), 0
        for start, end in self._values(content):
            length = self._measure_written(content[start:end])
            if length:
                pieces += content[copied:start], here
                copied = start + length
        changed = b"".join((*pieces, content[copied:]))
        return None if changed == content else changed

    def _values(self, content: bytes) -> Iterator[tuple[int, int]]:
        """Find the strings, without their quotes, that stand at our keys in the outermost object."""
        opening = _OPENING.match(content)
        at = opening.end() if opening else len(content)
        last = max(content.rfind(b'"%b"' % key.encode()) for key in _KEYS)
        if self._escaped_in(content):
            last = len(content)
        while at <= last:
            member = _MEMBER.match(content, at)
            if member is None:
                return
            if member["string"] and _text(member["key"][1:-1]) in _KEYS:
                yield member.start("string") + 1, member.end("string") - 1
            end = _close(content, member.end()) if member["nested"] else member.end()
            comma = _COMMA.match(content, end)
            if comma is None:
                return
            at = comma.end()

    def _measure_written(self, raw: bytes) -> int:
        """Return how many bytes of a JSON string are the upstream's base, escapes and all."""
        length, at = self._measure(_text(raw) or ""), 0
        for character in islice(_CHARACTER.finditer(raw), length):
            at = character.end()
        return at


def json_coding(method: str, response: Response) -> str | None:
    """Return the content coding, in lower case, of an answer that is a whole JSON text; else None.

    It is "identity" when there is none. Several, one upon the other, are None as well.
    """
    if method == "HEAD" or not 200 <= response.status < 300 or response.status in _NOT_WHOLE:
        return None
    kinds = response.headers.all(b"content-type")
    if len(kinds) != 1 or not is_json(response.headers):
        return None
    lines = ",".join(response.headers.all(b"content-encoding"))
    codings = [coding.strip(" \t").lower() for coding in lines.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    return None if len(codings) > 1 else "".join(codings) or "identity"


def weak(headers: Headers, size: int | None) -> Headers:
    """Make the fields of an answer true whose content was changed, to `size` bytes if that is known.

    A strong `ETag` promises the same bytes, so it becomes weak (RFC 9110 section 8.8.1); digests go. Beside a
    length there can't be a transfer coding (RFC 9112 section 6.2). What a client has of it can't be completed
    by the upstream, which knows other bytes: so nothing is left by which it could ask (section 13.1.5).
    """
    fields = list[tuple[bytes, bytes]]()
    lengths = [] if size is None else [b"%d" % size]
    for name, value in headers:
        match name.lower():
            case b"content-length":
                fields += [(name, length) for length in lengths]
                lengths = []
            case b"transfer-encoding" if size is not None:
                pass
            case b"etag":
                fields.append((name, _weakened(value)))
            case b"accept-ranges":
                fields.append((name, b"none"))
            case key if key not in _DROPPED:
                fields.append((name, value))
    return Headers((*fields, *((b"Content-Length", length) for length in lengths)))


def restored(headers: Headers) -> Headers:
    """Make `If-Match` name tags as the upstream does, which may have been made weak on their way down.

    A weak tag matches nothing there (RFC 9110 section 13.1.1), so those that were weak before lose nothing.
    """
    if b"if-match" not in headers:
        return headers
    return Headers(
        tuple(
            (name, _WEAK.sub(b"", value) if name.lower() == b"if-match" else value) for name, value in headers
        )
    )


def revalidated(asked: Headers, headers: Headers) -> Headers:
    """Make a 304 name the tag that the client holds, where it was made weak on its way there.

    `asked` are the request's fields. The upstream compares weakly (RFC 9110 §13.1.2), and says its own.
    """
    held = {tag.encode("latin-1") for tag in _TAG.findall(",".join(asked.all(b"if-none-match")))}
    if not held:
        return headers
    return Headers(
        tuple(
            (name, _weakened(value))
            if name.lower() == b"etag" and value not in held and _weakened(value) in held
            else (name, value)
            for name, value in headers
        )
    )


def _place(scheme: str, host: str, port: int) -> str:
    """Write the pattern of an origin; its default port may be given, be empty, or be left out."""
    ports = f":{port}" if port != _DEFAULT_PORTS[scheme] else f"(?::(?:{port})?)?"
    return f"(?i:{scheme}://{re.escape(host)}){ports}"


def _text(raw: bytes) -> str | None:
    """Read what stands between the quotes of a JSON string; None if it is not right."""
    try:
        text: str = json.loads(f'"{raw.decode()}"')
    except ValueError:
        return None
    return text


def _close(content: bytes, at: int) -> int:
    """Find the end of the nested value whose bracket is just before `at`; the content's, if it has none."""
    depth = 1
    while run := _BRACKETS.match(content, at):
        at = run.end()
        if run["opening"]:
            depth += len(run["opening"])
        elif len(run["closing"]) >= depth:
            return run.start("closing") + depth
        else:
            depth -= len(run["closing"])
    return len(content)


def _weakened(tag: bytes) -> bytes:
    return b"W/" + tag if tag.startswith(b'"') else tag
