"""What is cut out of every line, whoever wrote it: the only place that knows what secrets look like.

Two things are cut: what looks like a secret, and the values of those that this process knows. What a line
says of a request (its id, its route, hashes, addresses) looks like none and stays. A line of JSON stays one:
it is taken apart, and only its texts are cut.

Nearly every line is ordinary, so that is what is looked for first, and costs about a microsecond.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

CUT = "…"

SHORTEST = 8
"""Characters: shorter values are words, and would be cut out of everything that is said."""

_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL


def _written(text: str) -> str:
    """Make the pattern of a text in which any character may be percent-encoded, or escaped as in JSON."""
    return "".join(f"(?:{'|'.join(_forms(character))})" for character in text)


def _forms(character: str) -> Iterable[str]:
    """Yield the patterns of how a character may be written; an escape may itself have been escaped."""
    yield re.escape(character) if character.isalnum() else rf"\\{{0,8}}{re.escape(character)}"
    yield "".join(rf"%(?:25)*(?i:{byte:02x})" for byte in character.encode("utf-8", "surrogatepass"))
    if ord(character) < 256:
        yield rf"%(?:25)*(?i:{ord(character):02x})"
        yield rf"\\{{1,8}}x(?i:{ord(character):02x})"
    escaped = json.dumps(character)[1:-1]
    if len(escaped) == 2 and escaped[1].isalpha():  # \n and its like
        yield rf"\\{{1,8}}{escaped[1]}"
    code_units = character.encode("utf-16-be", "surrogatepass").hex()
    yield "".join(rf"\\{{1,8}}u(?i:{code_units[at : at + 4]})" for at in range(0, len(code_units), 4))


_WORD = r"(?:[^\s\\]|\\(?![nrt]))"
"""A character that ends no word; nor does a backslash, but where it stands for the end of a line."""
_LINE = r"(?:[^\r\n\\]|\\(?![nr]))"
_QUOTE = r"(?:\\{0,8}[\"'])"

_CREDENTIALS = re.compile(
    "|".join(
        (
            # Avala keys.
            rf"(?P<key>{_written('avk_')})(?:[\w-]|\.(?=\w)|%(?:25)*[0-9a-f]{{2}}|\\{{1,8}}[ux][0-9a-f]{{2,4}})+",
            # Tokens of RFC 7519, signed or encrypted.
            r"(?P<jwt>(?-i:eyJ))[\w-]{6,4096}+(?:(?:\.|%(?:25)*2e)[\w-]*){1,4}",
            # RFC 7468; one that was cut short has no end.
            r"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)(?!…)"
            r"(?:(?!-----END).)*(?:-----END[^-]*-----)?",
            # All that follows these fields in their line, whatever its scheme; a pair of Python's is a field.
            rf"(?P<field>(?:authorization|cookie2?){_QUOTE}?[ \t]*(?:[:=]|(?<=[\"']),)[ \t]*){_LINE}+",
            r"(?P<scheme>(?:bearer|basic)(?:\s|\+|%(?:25)*20|\\[nrt])+)(?:[^\s\"',<>\\]|\\(?![nrt]))+",
        )
    ),
    _FLAGS,
)

_NAMES = (
    r"(?:api[-_]?key|access[-_]?key(?:[-_]?id)?|accessid|token|passw(?:or)?d|passphrase|secret"
    r"|signature|(?:amz|goog)-credential|(?<![a-z])sig|(?<=[?&;])key)"
)


def _value(quote: str) -> str:
    """Make the pattern of a value: to the end of what is quoted, or a word; a quote opens a group."""
    return rf"(?:(?P<{quote}>{_QUOTE})(?:(?!(?P={quote}))(?:\\.|.))*|{_WORD}+)"


_PLACES = re.compile(
    "|".join(
        (
            # A query may hold anything, and that of a presigned URL is a credential.
            rf"(?P<query>(?<!\()(?:\?|%(?:25)*3f|\\{{1,8}}u003f)){_WORD}+",
            # //user:password@host, the password with a slash in it or without.
            r"(?P<user>//)(?:[^\s/\"'<>?#\\]*|[^\s/\"'<>:@\\]*:(?!\d{1,5}[/?#\s\"'])[^\s\"'<>\\]{0,256})(?=@)",
            rf"(?P<setting>{_NAMES}{_QUOTE}?[ \t]*(?:=|%(?:25)*3d)[ \t]*){_value('_s')}",
            rf"(?P<member>{_NAMES}{_QUOTE}[ \t]*:[ \t]*b?){_value('_m')}",
            # In sentences a colon follows such words too, but not these.
            rf"(?P<header>(?:api[-_]?key|[-_]token|[-_]secret)[ \t]*:[ \t]*){_value('_h')}",
        )
    ),
    _FLAGS,
)
_LEFT = ("jwt", "pem", "field", "scheme", "query", "user", "setting", "_s", "member", "_m", "header", "_h")

_WITH_K = re.compile(r"k(?:(?<=avk)|ey|en|ie)")  # keys, tokens, cookies
_WITH_B = re.compile(r"b(?:earer|asic|egin )")
_ASSIGNED = re.compile(r"\\[ux]|passw|passphrase|secret|sig|accessid|-credential")

_AVALA = re.compile(r"avk_[\w-]+", _FLAGS)


class Redaction:
    """Cut secrets out of text: what looks like one, and those that it was told of."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()
        self._in_any_form: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<Redaction of {len(self._known)} known values>"

    def learn(self, value: str) -> None:
        """Cut this value out from now on, for as long as the process lives: it may be used after it changed.

        One that looks like an Avala key is cut out anyhow.
        """
        if len(value) < SHORTEST or value in self._known or _AVALA.fullmatch(value):
            return
        # A longer one may contain a shorter one.
        self._known = tuple(sorted((*self._known, value), key=len, reverse=True))
        self._in_any_form = re.compile("|".join(map(_written, self._known)))

    def __call__(self, text: str) -> str:
        """Return a text without its secrets."""
        if not self._knows_of(text) and not _is_suspicious(text.casefold()):
            return text
        if text.startswith("{"):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                return self._cut(text)
            return json.dumps(self._cut_within(line))
        return self._cut(text)

    def cuts(self, text: str) -> bool:
        """Tell whether a text holds a secret."""
        return self(text) != text

    def without_known(self, text: str) -> str:
        """Return a text without the values that it was told of, and without Avala keys."""
        known = text if self._in_any_form is None else self._in_any_form.sub(CUT, text)
        return _AVALA.sub(f"avk_{CUT}", known)

    def _knows_of(self, text: str) -> bool:
        for value in self._known:
            if value in text:
                return True
        encoded = self._in_any_form is not None and ("%" in text or "\\" in text)
        return encoded and self._in_any_form.search(text) is not None  # type: ignore[union-attr]

    def _cut(self, text: str) -> str:
        if self._in_any_form is not None:
            text = self._in_any_form.sub(CUT, text)
        return _PLACES.sub(_leave_what_it_was, _CREDENTIALS.sub(_leave_what_it_was, text))

    def _cut_within(self, value: Any) -> Any:
        match value:
            case str():
                return self._cut(value)
            case dict():
                return {self._cut(key): self._cut_within(item) for key, item in value.items()}
            case list():
                return [self._cut_within(item) for item in value]
        return value


def _is_suspicious(folded: str) -> bool:
    """Tell whether a text in lower case may hold what looks like a secret."""
    # In the order of what it costs to look: one sign is found ten times as fast as a word.
    if "?" in folded or "@" in folded or "%" in folded:
        return True
    if ("k" in folded and _WITH_K.search(folded)) or ("j" in folded and "eyj" in folded):
        return True
    if "authorization" in folded or _WITH_B.search(folded):
        return True
    # The others are secrets where something is set to them; ordinary lines of JSON have none of these signs.
    assigns = "=" in folded or "'" in folded or "\\" in folded or not folded.startswith("{")
    return assigns and _ASSIGNED.search(folded) is not None


def _leave_what_it_was(found: re.Match[str]) -> str:
    groups = found.groupdict(default="")
    if groups.get("key"):
        return f"avk_{CUT}"
    return "".join(groups.get(name, "") for name in _LEFT) + CUT
