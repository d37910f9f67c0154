"""Every setting: its name, unit, default and bounds. There is no dict of settings anywhere else.

It stands on the lowest floor because every floor takes its part of the settings from here. Nothing is
read here but by `load`; making `Settings` reads nothing. All durations are seconds, all sizes bytes. The
tables of the client's side are written in `config_serving`, the rules for single values in `config_values`,
the sources in `config_sources`, the words for people in `config_report`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from proxy import config_report, config_sources, config_values
from proxy.config_places import leads_to, parse_place
from proxy.config_report import ConfigError as ConfigError
from proxy.config_serving import Client as Client
from proxy.config_serving import Credential as Credential
from proxy.config_serving import Headers as Headers
from proxy.config_serving import Links as Links
from proxy.config_serving import Listen as Listen
from proxy.config_serving import Tls as Tls
from proxy.config_values import (
    BaseUrl,
    HeaderNames,
    Method,
    Part,
    PathPattern,
    Seconds,
    UnfitError,
)


class Upstream(Part):
    """The API, and how long to wait for it."""

    base_url: BaseUrl = "https://api.avala.ai"
    """Scheme, host and port of the API, and a path prefix if it has one."""
    credential_headers: HeaderNames = (
        "X-Avala-Api-Key",
        "Authorization",
    )
    """Headers that carry the credential; the first one present counts."""
    connect_timeout: Seconds = 10.0
    """Longest for DNS, TCP and TLS together."""
    head_timeout: Seconds = 120.0
    """Longest from the request's last byte to the response head."""
    read_timeout: Seconds = 60.0
    """Longest between two pieces of a response body."""
    stream_timeout: Seconds = 900.0
    """Longest between two pieces of a stream (text/event-stream), which may have nothing to say."""
    transit: Seconds = 1.0
    """After its last byte was sent, a request has reached the API's counter within this."""
    clock_drift: Annotated[float, Field(ge=0, le=0.01)] = 0.0005
    """Seconds per second by which the API's clock may run slow against ours (NTP slews at most 0.0005)."""
    max_connections: Annotated[int, Field(ge=1)] = 512
    """Connections to the API at the most; a request beyond waits for one."""


class Match(Part):
    """Which requests a limit applies to; all that is given must hold."""

    anonymous: bool | None = None
    """True: only requests without a credential; false: only those with one."""
    streaming: bool | None = None
    """True: only requests that accept text/event-stream; false: only the others."""
    methods: tuple[Method, ...] = ()
    """Methods in capitals; empty means all."""
    paths: tuple[PathPattern, ...] = ()
    """Path patterns: `*` stands for one segment, `**` for any number; empty means all."""


class Pace(Part):
    """How the grants of a window are spread."""

    burst: Annotated[int, Field(ge=1)]
    """Requests that may leave at once."""
    rate: Annotated[float, Field(gt=0)]
    """Requests per second after that."""


class Limit(Part):
    """One limit of the API; a request waits until every limit that matches it has room."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(config_values.limit_name)]
    """Its name in metrics, logs and answers."""
    requests: Annotated[int, Field(ge=1)] | None = None
    """How many may be counted in any `per` seconds."""
    per: Seconds | None = None
    """Length of the sliding window."""
    concurrent: Annotated[int, Field(ge=1)] | None = None
    """How many may be under way at once (instead of `requests` and `per`)."""
    key: Literal["credential", "address", "global"] = "credential"
    """One budget for each credential, or one for all (by our egress address, or global)."""
    match: Match = Match()
    """Which requests it applies to; everything, if empty."""
    pace: Pace | None = None
    """How grants that a window frees together are spread."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        rate = self.requests is not None and self.per is not None
        if rate == (self.concurrent is not None) or (self.requests is None) != (self.per is None):
            raise UnfitError(
                "is neither kind of limit, or both", "`requests` and `per`, or else `concurrent`"
            )
        if self.pace is not None and not rate:
            raise UnfitError(
                "paces a limit that is not a rate", "`pace` only beside `requests` and `per`", "pace"
            )
        if self.pace is not None and self.requests is not None and self.pace.burst > self.requests:
            raise UnfitError(f"is {self.pace.burst}", f"at most `requests`, {self.requests}", "pace", "burst")
        return self

    @property
    def size(self) -> int:
        """The number that the API calls X-RateLimit-Limit."""
        return self.requests or self.concurrent or 0


class Queue(Part):
    """The line in which requests wait for their turn."""

    size: Annotated[int, Field(ge=0)] = 2000
    """Requests that may wait at the same time, in all."""
    longest_wait: Seconds = 300.0
    """Longest from arrival to the last attempt's start; a client may ask for less with `Prefer: wait=N`."""


class RouteRepeat(Part):
    """An exception to what is safe to repeat."""

    methods: tuple[Method, ...] = ()
    """Methods in capitals; empty means all."""
    paths: tuple[PathPattern, ...]
    """Path patterns, as in limits."""
    repeat: Literal["always", "never"]
    """Whether a request here may be sent again after a failure that may have done the operation."""


class Retry(Part):
    """How failures that pass by themselves are tried again."""

    max_retries: Annotated[int, Field(ge=0, le=20)] = 3
    """Attempts after the first."""
    base: Seconds = 1.0
    """Wait before the first retry; each further one doubles it."""
    cap: Seconds = 30.0
    """Longest wait that doubling leads to."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A wait is lengthened at random by up to this share, and never shortened."""
    longest_pause: Seconds = 900.0
    """A 429 holds its limit for as long as it demands, but not longer than this."""
    routes: tuple[RouteRepeat, ...] = ()
    """Exceptions to what is safe to repeat; the first that matches counts."""


class Body(Part):
    """What bodies may cost in memory and on disk."""

    max_size: Annotated[int, Field(ge=0)] = 100 * 1024 * 1024
    """A larger request body is refused with 413 and costs no call."""
    memory: Annotated[int, Field(ge=0)] = 1024 * 1024
    """What a request body may hold in memory; the rest goes to an unnamed temporary file."""
    total_memory: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    """What all request bodies together may hold in memory."""
    directory: Annotated[str, AfterValidator(config_values.directory)] | None = None
    """Where temporary files are; the system's place if absent."""
    replay: Annotated[int, Field(ge=0)] = 256 * 1024
    """Response bodies up to this are read whole before the client gets the head: a broken one is retried."""


class Log(Part):
    """What is logged, and how."""

    format: Literal["auto", "json", "console"] = "auto"
    """One JSON object a line, or for people; `auto` is console on a terminal."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""


class Metrics(Part):
    """How large the metrics page may grow."""

    routes: Annotated[int, Field(ge=0)] = 200
    """Different values of the label `route` at the most; the rest is `other`."""


def _distinct(clients: tuple[Client, ...]) -> tuple[Client, ...]:
    names = [client.name for client in clients]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UnfitError(f"has the name {twice[0]} twice", "a name of its own for each client")
    return clients


def _unique(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    names = [limit.name for limit in limits]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UnfitError(f"has the name {twice[0]} twice", "a name of its own for each limit")
    return limits


_UPLOADS = ("/api/v1/uploads/**", "/api/v1/**/upload/**", "/api/v1/**/manual-upload/**")

DOCUMENTED_LIMITS = (
    Limit(name="standard", requests=100, per=60.0, match=Match(anonymous=False, streaming=False)),
    Limit(name="burst", requests=20, per=1.0, match=Match(anonymous=False), pace=Pace(burst=5, rate=300.0)),
    Limit(name="anonymous", requests=30, per=60.0, key="address", match=Match(anonymous=True)),
    Limit(
        name="signup",
        requests=5,
        per=60.0,
        key="address",
        match=Match(methods=("POST",), paths=("/api/v1/signup/",)),
    ),
    Limit(
        name="inference",
        requests=10,
        per=60.0,
        match=Match(methods=("POST",), paths=("/api/v1/inference/invoke/",)),
    ),
    Limit(name="uploads", concurrent=10, match=Match(methods=("POST", "PUT", "PATCH"), paths=_UPLOADS)),
    Limit(name="exports", concurrent=5, match=Match(methods=("POST",), paths=("/api/v1/exports/",))),
    Limit(name="streams", concurrent=20, match=Match(streaming=True)),
)
"""The table of the API's documentation ("Limits"), which says that it may differ per deployment."""


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        env_prefix="AVALA_PROXY_",
        env_nested_delimiter="__",
        allow_inf_nan=False,
    )

    upstream: Upstream = Upstream()
    listen: Listen = Listen()
    credential: Credential = Credential()
    clients: Annotated[tuple[Client, ...], AfterValidator(_distinct)] = ()
    headers: Headers = Headers()
    links: Links = Links()
    limits: Annotated[tuple[Limit, ...], AfterValidator(_unique)] = DOCUMENTED_LIMITS
    queue: Queue = Queue()
    retry: Retry = Retry()
    body: Body = Body()
    log: Log = Log()
    metrics: Metrics = Metrics()

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        for ours in (*self.listen.addresses, self.listen.admin_address):
            if leads_to(self.upstream.base_url, parse_place(ours)):
                raise UnfitError(
                    f"leads back to this proxy ({ours})", "the API's address", "upstream", "base_url"
                )
        return self

    @property
    def holds_key(self) -> bool:
        """Whether requests without a key are given one."""
        return self.credential.value is not None or self.credential.file is not None

    @model_validator(mode="after")
    def _no_open_relay(self) -> Self:
        known = bool(self.clients)
        for text, place in zip(self.listen.addresses, self.listen.places, strict=True):
            certified = place.scheme == "https" and self.listen.tls.client_ca is not None
            if self.holds_key and not (known or place.local or certified):
                raise UnfitError(
                    f"has {text}, where anybody could use the key that the proxy holds",
                    "loopback addresses and Unix sockets, unless clients show a token ([[clients]]) or a "
                    "certificate (listen.tls.client_ca)",
                    "listen",
                    "addresses",
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing when it is made: `load` hands everything in."""
        return (init_settings,)


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the whole configuration: the file, beaten by the environment, beaten by `overrides`.

    `path` None means the file that AVALA_PROXY_CONFIG names, if it does. `overrides` are nested tables.
    Raises ConfigError, which names every problem at once.
    """
    sources = config_sources.read(Settings, path, overrides or {})
    problems, values = list(sources.problems), sources.merged()
    # Not left to pydantic-settings, whose constructor has arguments of its own (`_env_file`, …).
    for key in values.keys() - Settings.model_fields.keys():
        problems.append(config_report.unknown((key,), Settings, sources.where((key,))))
        del values[key]
    try:
        settings = Settings(**values)
    except ValidationError as error:
        # `from None`: pydantic's own text would print the values.
        raise ConfigError((*problems, *config_report.problems(error, Settings, sources.where))) from None
    if problems:
        raise ConfigError(tuple(problems))
    return settings
