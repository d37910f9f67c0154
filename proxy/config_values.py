"""What one value of the configuration must look like, and its one normal form.

`config` says which settings there are, out of these kinds. Each function takes the text as it was written
and returns it normalised, or raises a ValueError whose message is what would be allowed. No message
repeats the text: it may hold a secret.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

ADDRESS = "HOST:PORT with a port from 0 (any free one) to 65535, such as 127.0.0.1:8080 or [::1]:8080"
BASE_URL = "http:// or https://, a host, and if need be a port (1 to 65535) and a path, without user or query"

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Za-z:.%]+)\]|(?P<name>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.I | re.S)
# Segments of RFC 3986; "." and ".." would be resolved by whoever comes next, and differently.
_SEGMENT = r"/(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+"
_PREFIX = re.compile(rf"(?:{_SEGMENT})*/?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATTERN = re.compile(r"/[^\s?#]*")
SHORTEST_TOKEN = 16
"""Characters: fewer can be guessed."""

_SHOWN = re.compile(rf"[!-~]{{{SHORTEST_TOKEN},1024}}")
_KEY = re.compile(r"[!-~]{1,4096}")
CALLER = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")
_AVALA_KEY = re.compile(r"avk_[\w-]{8}", re.IGNORECASE | re.ASCII)
_OF_FILES = ("file", "directory", "certificate", "key", "ca")
"""How settings are called that are paths: a file may well be named after the key that it holds."""
_PORTS = {"http": 80, "https": 443}


class UnfitError(ValueError):
    """A value breaks a rule: what it is, what is allowed, and at which key below the checked one."""

    def __init__(self, what: str, allowed: str, *at: str | int) -> None:
        super().__init__(f"{what}; allowed: {allowed}")
        self.what = what
        self.allowed = allowed
        self.at = at


def parse_address(text: str) -> tuple[str, int]:
    """Split HOST:PORT; the host comes without brackets, in lower case. Raises ValueError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(ADDRESS)
    try:
        host = str(ipaddress.IPv6Address(match["six"])) if match["six"] else _name(match["name"])
    except ValueError:
        raise ValueError(ADDRESS) from None
    return host, int(match["port"])


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError(ADDRESS)
    # Resolvers read "127.1" and "0x7f.1" as numbers in ways of their own: whole IPv4 addresses only.
    if text.rstrip(".").rpartition(".")[2].isdigit():
        return str(ipaddress.IPv4Address(text))
    return text.lower()


def address(text: str) -> str:
    """Check HOST:PORT and keep it as it was written."""
    parse_address(text)
    return text


def parse_base_url(text: str) -> tuple[str, str, int, str]:
    """Split a base URL into scheme, host, port and path prefix ("" if none). Raises ValueError."""
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(BASE_URL)
    if "@" in match["authority"]:
        raise UnfitError("holds a user name or a password", BASE_URL)
    if match["rest"]:
        raise UnfitError("has a query or a fragment", BASE_URL)
    if _PREFIX.fullmatch(match["path"]) is None:
        raise ValueError(BASE_URL)
    scheme = match["scheme"].lower()
    return scheme, *_authority(match["authority"], _PORTS[scheme]), match["path"].rstrip("/")


def authority(url: str) -> str:
    """Return the authority of a normalised base URL: the host, and the port unless it is the default."""
    return url.split("/")[2]


def _authority(text: str, default: int) -> tuple[str, int]:
    has_port = ":" in text.rpartition("]")[2]
    try:
        host, port = parse_address(text if has_port else f"{text}:{default}")
    except ValueError:
        raise ValueError(BASE_URL) from None
    if port == 0:
        raise ValueError(BASE_URL)
    return host, port


def base_url(text: str) -> str:
    """Normalise a base URL: lower case, no default port, no slash at the end."""
    scheme, host, port, path = parse_base_url(text)
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}{'' if port == _PORTS[scheme] else f':{port}'}{path}"


def header_name(text: str) -> str:
    """Check a header name (a token of RFC 9110 §5.6.2)."""
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("a header name, such as X-Avala-Api-Key")
    return text


def product(text: str) -> str:
    """Check a product of User-Agent without its version (a token of RFC 9110 §10.1.5)."""
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("the name of a product in User-Agent, without version, such as python-httpx")
    return text


def caller_name(text: str) -> str:
    """Check the name of a caller, as `Avala-Proxy-Client` may say it."""
    if CALLER.fullmatch(text) is None:
        raise ValueError("1 to 64 visible ASCII characters, and spaces between them")
    return text


def some(what: str) -> AfterValidator:
    """Make the rule that there is at least one of what is listed."""

    def check(listed: tuple[str, ...]) -> tuple[str, ...]:
        if not listed:
            raise ValueError(f"a list of at least one {what}")
        return listed

    return AfterValidator(check)


class _Named(Protocol):
    name: str


_N = TypeVar("_N", bound=_Named)


def apart(what: str) -> AfterValidator:
    """Make the rule that each of what is listed has a name of its own."""

    def check(listed: tuple[_N, ...]) -> tuple[_N, ...]:
        names = [one.name for one in listed]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UnfitError(f"has the name {twice[0]} twice", f"a name of its own for each {what}")
        return listed

    return AfterValidator(check)


def method(text: str) -> str:
    """Check an HTTP method (a token) and put it in capitals."""
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("an HTTP method, such as POST")
    return text.upper()


def path_pattern(text: str) -> str:
    """Check a path pattern: it begins with a slash and has no query."""
    if _PATTERN.fullmatch(text) is None:
        raise ValueError("a path that begins with /, such as /api/v1/exports/ or /api/v1/**, without query")
    return text


def directory(text: str) -> str:
    """Check that files can be made in a directory; raises UnfitError."""
    if not (Path(text).is_dir() and os.access(text, os.W_OK)):
        raise UnfitError(
            "is no place where a file can be made", "a directory that the proxy's user may write to"
        )
    return text


def readable_file(text: str) -> str:
    """Check that a file can be read; raises UnfitError."""
    if not (Path(text).is_file() and os.access(text, os.R_OK)):
        raise UnfitError("is no file that can be read", "a file that the proxy's user may read")
    return text


def key(secret: SecretStr) -> SecretStr:
    """Check a key: it must fit in a header field."""
    if _KEY.fullmatch(secret.get_secret_value()) is None:
        raise ValueError("1 to 4096 visible ASCII characters")
    return secret


def token(secret: SecretStr) -> SecretStr:
    """Check what clients show to be let in: long enough not to be guessed, and fit for a header field."""
    if _SHOWN.fullmatch(secret.get_secret_value()) is None:
        raise ValueError("16 to 1024 visible ASCII characters, such as `openssl rand -hex 16` prints")
    return secret


def limit_name(text: str) -> str:
    """Check that a limit's name is not taken; raises UnfitError."""
    if text == "none":
        raise UnfitError(
            'is "none"', "any other name: in metrics this one means that no limit held a request"
        )
    if text == "breaker":
        raise UnfitError(
            'is "breaker"', "any other name: in metrics this one means that the breaker held a request"
        )
    return text


def group_name(text: str) -> str:
    """Check that the name of a group of routes is not taken; raises UnfitError."""
    if text == "upstream":
        raise UnfitError('is "upstream"', "any other name: this one is all that is in no group")
    return text


Seconds = Annotated[float, Field(gt=0)]
ReadableFile = Annotated[str, AfterValidator(readable_file)]
Key = Annotated[SecretStr, AfterValidator(key)]
Token = Annotated[SecretStr, AfterValidator(token)]
Address = Annotated[str, AfterValidator(address)]
BaseUrl = Annotated[str, AfterValidator(base_url)]
HeaderNames = Annotated[tuple[Annotated[str, AfterValidator(header_name)], ...], some("header name")]
Product = Annotated[str, AfterValidator(product)]
CallerName = Annotated[str, AfterValidator(caller_name)]
Method = Annotated[str, AfterValidator(method)]
PathPattern = Annotated[str, AfterValidator(path_pattern)]


class Part(BaseModel):
    """A table of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python's True is 1, and pydantic follows it; TOML's true is not.
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[info.field_name or ""].annotation):
            raise PydanticCustomError("no_truth", "true and false are not allowed here")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _key_in_its_place(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse an Avala key where names and URLs belong: they are shown, logged, and looked up by DNS."""
        name = info.field_name or ""
        for_secrets = "SecretStr" in str(cls.model_fields[name].annotation) or name.endswith(_OF_FILES)
        texts = value if isinstance(value, list | tuple) else [value]
        if not for_secrets and any(isinstance(text, str) and _AVALA_KEY.search(text) for text in texts):
            raise UnfitError("holds what looks like an Avala key", "a key in credential.value alone")
        return value
