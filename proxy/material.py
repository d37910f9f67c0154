"""What the settings name and do not say: keys, tokens, passwords and certificates, which files may hold.

Every value that is read here is cut out of all lines from then on.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from proxy import config
from proxy.adapters.secret_files import SecretFile
from proxy.clock import Clock
from proxy.config_report import effective
from proxy.config_values import SHORTEST_TOKEN
from proxy.events import Events, LifecycleChanged
from proxy.policy.access import Access
from proxy.telemetry.redaction import Redaction
from proxy.tls import Certificates, Unusable


class StartError(Exception):
    """The proxy cannot start, or not go by other settings; the message says why and what to do."""


@dataclass(frozen=True)
class SecretReader:
    """Read the secrets of the settings, and have each value that may be used cut out of all lines."""

    clock: Clock
    events: Events
    redaction: Redaction

    def read(self, value: SecretStr | None, path: str | None, *, at_least: int = 1) -> Callable[[], str]:
        """Return who knows a secret that stands in the settings or in a file. Raises `StartError`."""
        if path is None:
            assert value is not None, "the settings have one or the other"
            self.redaction.learn(value.get_secret_value())
            return value.get_secret_value
        try:
            return SecretFile(
                path,
                now=self.clock.now,
                wall=self.clock.wall,
                told=self.told,
                known=self.redaction.learn,
                at_least=at_least,
            )
        except (OSError, ValueError) as error:
            raise StartError(str(error)) from error

    def told(self, state: str, detail: str) -> None:
        """Tell what became of a file."""
        self.events(LifecycleChanged(state, detail))


def access(settings: config.Settings, reader: SecretReader) -> Access:
    """Make who knows clients and the key that the proxy holds. Raises `StartError`."""
    held = settings.credential
    return Access(
        settings.upstream.credential_headers,
        key=reader.read(held.value, held.file) if settings.holds_key else lambda: None,
        clients=[
            (client.name, reader.read(client.token, client.token_file, at_least=SHORTEST_TOKEN))
            for client in settings.clients
        ],
    )


def admin_token(listen: config.Listen, reader: SecretReader) -> Callable[[], str] | None:
    """Return who knows the token of the admin listener, if it has one. Raises `StartError`."""
    if listen.admin_token is None and listen.admin_token_file is None:
        return None
    return reader.read(listen.admin_token, listen.admin_token_file, at_least=SHORTEST_TOKEN)


def store_password(redis: config.Redis, reader: SecretReader) -> Callable[[], str] | None:
    """Return who knows the password of the shared store. Raises `StartError`."""
    if redis.password is None and redis.password_file is None:
        return None
    return reader.read(redis.password, redis.password_file)


def shared_secret(redis: config.Redis, reader: SecretReader) -> bytes:
    """Return what all replicas hash credentials with. Raises `StartError`."""
    return reader.read(redis.secret, redis.secret_file, at_least=SHORTEST_TOKEN)().encode()


def certificates(listen: config.Listen, reader: SecretReader) -> ssl.SSLContext | None:
    """Return what clients are met with over TLS, if they are. Raises `StartError`."""
    if not any(place.scheme == "https" for place in listen.places):
        return None
    try:
        return Certificates(
            listen.tls, now=reader.clock.now, wall=reader.clock.wall, told=reader.told
        ).context
    except Unusable as error:
        raise StartError(f"Cannot serve TLS: {error}") from error


def shown(settings: config.Settings, reader: SecretReader) -> str:
    """Return the settings as TOML, without the secrets that were read, wherever they stand."""
    return reader.redaction.without_known(effective(settings))


def read_all(settings: config.Settings, reader: SecretReader) -> None:
    """Read whatever the settings name. Raises `StartError`."""
    certificates(settings.listen, reader)
    access(settings, reader)
    admin_token(settings.listen, reader)
    if settings.redis.shared:
        shared_secret(settings.redis, reader)
