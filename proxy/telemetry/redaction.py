"""What is cut out of every line, whoever wrote it: the only place that knows what secrets look like.

Two things are cut: what looks like a secret, and the values of those that this process knows. What a line
says of a request (its id, its route, hashes, addresses) looks like none and stays. A line of JSON stays one:
nothing is cut that reaches beyond the end of a string.

Nearly every line is ordinary, so the patterns are tried only where one of a few words or signs is in it.
"""

import json
import re
from collections.abc import Iterable

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
    if len(escaped) == 2 and escaped[0] == "\\" and escaped[1].isalpha():  # \n and its like
        yield rf"\\{{1,8}}{escaped[1]}"
    code_units = character.encode("utf-16-be", "surrogatepass").hex()
    yield "".join(rf"\\{{1,8}}u(?i:{code_units[at : at + 4]})" for at in range(0, len(code_units), 4))


# What a value may consist of, in JSON or not: never the quote that ends a string, nor half an escape.
_ESCAPE = r"\\(?:\\|[^nrt\s])"
_BARE = rf"(?:[^\s\"<>\\]|{_ESCAPE})"
_TO_THE_END = r"(?:[^\"\\\r\n]|\\(?![nr]).)*"
_OPENED = r'"(?![,}\]])(?:[^"\\\r\n]|\\.)*'
"""From a quote that begins a string to its end; what follows the end of one in JSON is left alone."""
_VALUE = (
    rf"(?:{_OPENED}"
    r'|\\+"(?:(?!\\+")[^"\r\n])*'
    rf"|'(?:[^'\"\\\r\n]|\\(?![nr]).)*|{_BARE}+)"
)
_QUOTE = r"(?:\\{0,8}[\"'])"

_CREDENTIALS = re.compile(
    "|".join(
        (
            # Avala keys.
            rf"(?P<key>{_written('avk_')})(?:[\w-]|\.(?=\w)|%(?:25)*[0-9a-f]{{2}}|\\+u[0-9a-f]{{4}})+",
            # Tokens of RFC 7519, signed or encrypted.
            r"(?P<jwt>(?-i:eyJ))[\w-]{6,4096}+(?:(?:\.|%(?:25)*2e)[\w-]*){1,4}",
            # RFC 7468; one that was cut short has no end.
            r"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)"
            r"(?:(?!-----END)(?:[^\"\\]|\\.))*(?:-----END[^-\"\\]*-----)?",
            # All that follows these fields, whatever its scheme; a pair in Python's tuples is a field too.
            rf"(?P<field>(?:authorization|cookie2?){_QUOTE}?[ \t]*(?:[:=]|(?<=[\"']),)[ \t]*b?)"
            rf"(?:\"(?![,}}\]])|\\*[\"'](?!,))?{_TO_THE_END}",
            rf"(?P<scheme>(?:bearer|basic)(?:\s|\+|%(?:25)*20|\\[nrt])+)(?:[^\s\"',<>\\]|{_ESCAPE})+",
        )
    ),
    _FLAGS,
)

_NAMES = (
    r"(?:api[-_]?key|access[-_]?key(?:[-_]?id)?|accessid|token|passw(?:or)?d|passphrase|secret"
    r"|signature|(?:amz|goog)-credential|(?<![a-z])sig|(?<=[?&;])key)"
)
_PLACES = re.compile(
    "|".join(
        (
            # A query may hold anything, and that of a presigned URL is a credential.
            rf"(?P<query>(?<!\()(?:\?|%(?:25)*3f|\\+u003f))(?!\\[nrt]){_BARE}+",
            # //user:password@host, the password with a slash in it or without.
            r"(?P<user>//)(?:[^\s/\"'<>?#\\]*|[^\s/\"'<>:@\\]*:(?!\d{1,5}[/?#\s\"'])[^\s\"'<>\\]{0,256})(?=@)",
            rf"(?P<setting>{_NAMES}{_QUOTE}?[ \t]*(?:=|%(?:25)*3d)[ \t]*){_VALUE}",
            rf"(?P<member>{_NAMES}{_QUOTE}[ \t]*:[ \t]*b?){_VALUE}",
            # In sentences a colon follows such words too, but not these.
            rf"(?P<header>(?:api[-_]?key|[-_]token|[-_]secret)[ \t]*:[ \t]*){_VALUE}",
        )
    ),
    _FLAGS,
)

_WITH_K = re.compile(r"k(?:(?<=avk)|ey|en|ie)")  # keys, tokens, cookies
_WITH_B = re.compile(r"b(?:earer|asic|egin )")
_ASSIGNED = re.compile(r"\\u|passw|passphrase|secret|sig|accessid|-credential")

_AVALA = re.compile(r"avk_[\w-]+", _FLAGS)


class Redaction:
    """Cut secrets out of text: what looks like one, and those that it was told of."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._in_any_form: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<Redaction of {len(self._known)} known values>"

    def learn(self, value: str) -> None:
        """Cut this value out from now on, for as long as the process lives: it may be used after it changed.

        One that looks like a secret is cut out anyhow.
        """
        if len(value) < SHORTEST or value in self._known or _AVALA.fullmatch(value):
            return
        self._known[value] = None
        # A longer one may contain a shorter one.
        longest_first = sorted(self._known, key=len, reverse=True)
        self._known = dict.fromkeys(longest_first)
        self._in_any_form = re.compile("|".join(map(_written, longest_first)))

    def without_known(self, text: str) -> str:
        """Return a text without the values that it was told of."""
        for value in self._known:
            if value in text:
                text = text.replace(value, CUT)
        if self._in_any_form is not None and ("%" in text or "\\" in text):
            text = self._in_any_form.sub(CUT, text)
        return text

    def __call__(self, text: str) -> str:
        """Return a text without its secrets."""
        text = self.without_known(text)
        if not _is_suspicious(text.casefold()):
            return text
        return _PLACES.sub(_cut, _CREDENTIALS.sub(_cut, text))

    def cuts(self, text: str) -> bool:
        """Tell whether a text holds a secret."""
        return self(text) != text


def _is_suspicious(folded: str) -> bool:
    """Tell whether a text in lower case may hold what looks like a secret."""
    # In the order of what it costs to look: one sign is found ten times as fast as a word.
    if "?" in folded or "@" in folded or "%" in folded:
        return True
    if ("k" in folded and _WITH_K.search(folded)) or ("j" in folded and "eyj" in folded):
        return True
    if "authorization" in folded or '"password' in folded or _WITH_B.search(folded):
        return True
    # The others are secrets where something is set to them; ordinary lines of JSON have none of these signs.
    assigns = "=" in folded or "'" in folded or "\\" in folded
    return assigns and _ASSIGNED.search(folded) is not None


def _cut(found: re.Match[str]) -> str:
    """Leave what tells what it was."""
    kind = found.lastgroup
    assert kind is not None, "each alternative has a name"
    return f"avk_{CUT}" if kind == "key" else found[kind] + CUT
