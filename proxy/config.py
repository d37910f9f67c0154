"""Every setting: its name, unit, default and bounds. There is no dict of settings anywhere else.

It stands on the lowest floor because every floor takes its part of the settings from here. Nothing is
read here but by `load`; making `Settings` reads nothing. All durations are seconds, all sizes bytes.

The limits are in `config_limits`, the line before them in `config_queue`, what follows a failure in
`config_retry`, the tables of the client's side in `config_serving`, the store that several proxies share in
`config_redis`; the rules for single values in `config_values` and `config_places`, the sources in
`config_sources`, what can change while the proxy runs in `config_reload`, the words for people in
`config_report`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from proxy import config_report, config_sources, config_values
from proxy.config_limits import DOCUMENTED_LIMITS as DOCUMENTED_LIMITS
from proxy.config_limits import Limit as Limit
from proxy.config_limits import Match as Match
from proxy.config_limits import Pace as Pace
from proxy.config_places import leads_to, parse_place
from proxy.config_queue import Caller as Caller
from proxy.config_queue import Coalescing as Coalescing
from proxy.config_queue import CoalescingRoute as CoalescingRoute
from proxy.config_queue import Family as Family
from proxy.config_queue import Interim as Interim
from proxy.config_queue import Queue as Queue
from proxy.config_redis import Redis as Redis
from proxy.config_report import ConfigError as ConfigError
from proxy.config_retry import Breaker as Breaker
from proxy.config_retry import Group as Group
from proxy.config_retry import Retry as Retry
from proxy.config_retry import RouteRepeat as RouteRepeat
from proxy.config_serving import Client as Client
from proxy.config_serving import Credential as Credential
from proxy.config_serving import Headers as Headers
from proxy.config_serving import Links as Links
from proxy.config_serving import Listen as Listen
from proxy.config_serving import State as State
from proxy.config_serving import Tls as Tls
from proxy.config_values import (
    BaseUrl,
    HeaderNames,
    Part,
    Seconds,
    UnfitError,
    apart,
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
    """Longest for DNS and TCP together, over all addresses of the name."""
    tls_timeout: Seconds = 10.0
    """Longest for a TLS handshake."""
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
    """Connections to the API at the most, and as many again for POST and PATCH; a request beyond waits."""
    keep_alive: Seconds = 15.0
    """Longest that a connection is kept without a request; shorter than the API's own idle timeout."""
    connection_age: Annotated[float, Field(ge=1)] = 300.0
    """A connection that is older is not used again, so that a changed address is followed."""
    dns_ttl: Seconds = 30.0
    """Longest that a looked-up address is used for new connections."""


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

    routes: Annotated[int, Field(ge=0)] = 25
    """Different values of the label `route` at the most; the rest is `other`. Each costs about 35 series."""
    idle: Annotated[float, Field(ge=60)] = 3600.0
    """Seconds after which the series of a route that nobody asks for are dropped."""


class Tracing(Part):
    """Traces, which OpenTelemetry's extra sends: a span for each request, wait and attempt."""

    enabled: bool = False
    """Whether there are any."""
    endpoint: BaseUrl | None = None
    """The URL that spans are sent to; what OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its like say if absent."""
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the traces begun here that is kept; what a client has begun is kept if the client keeps it."""
    service_name: Annotated[str, Field(min_length=1)] | None = None
    """What the proxy is called in traces; OTEL_SERVICE_NAME, or else avala-proxy, if absent."""


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
    clients: Annotated[tuple[Client, ...], apart("client")] = ()
    headers: Headers = Headers()
    links: Links = Links()
    limits: Annotated[tuple[Limit, ...], apart("limit")] = DOCUMENTED_LIMITS
    queue: Queue = Queue()
    coalescing: Coalescing = Coalescing()
    retry: Retry = Retry()
    breaker: Breaker = Breaker()
    body: Body = Body()
    state: State = State()
    redis: Redis = Redis()
    log: Log = Log()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()

    @model_validator(mode="after")
    def _no_loop(self) -> Self:
        for ours in (*self.listen.addresses, self.listen.admin_address):
            if leads_to(self.upstream.base_url, parse_place(ours)):
                raise UnfitError(
                    f"leads back to this proxy ({ours})", "the API's address", "upstream", "base_url"
                )
        return self

    @model_validator(mode="after")
    def _one_memory(self) -> Self:
        if self.redis.shared and self.state.file is not None:
            raise UnfitError(
                "keeps the budget of one proxy, and redis.url shares it",
                "one of the two: the shared store outlives a restart, too",
                "state",
                "file",
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
