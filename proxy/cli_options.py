"""What commands have in common: the options of a configuration, and how they end when it is of no use."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click


def fail(message: str, code: int = 1) -> NoReturn:
    """End with a sentence on standard error."""
    click.echo(message, err=True)
    sys.exit(code)


CONFIG = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="TOML file; see config/avala.toml."
)
_LISTEN = click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="Where clients connect: HOST:PORT, https://HOST:PORT or unix:/path; several times for several."
    "  [default: 127.0.0.1:8080]",
)
_ADMIN = click.option(
    "--admin-listen", metavar="HOST:PORT", help="Metrics and status.  [default: 127.0.0.1:9464]"
)
_TLS_CERTIFICATE = click.option(
    "--tls-certificate", "certificate", metavar="FILE", help="PEM certificate for https:// addresses."
)
_TLS_KEY = click.option("--tls-key", "key", metavar="FILE", help="PEM file of its private key.")
_UPSTREAM = click.option("--upstream", metavar="URL", help="The API.  [default: https://api.avala.ai]")


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option that settings are made from: `path`, and what `overrides` takes."""
    for option in (_UPSTREAM, _TLS_KEY, _TLS_CERTIFICATE, _ADMIN, _LISTEN, CONFIG):
        command = option(command)
    return command


def overrides(
    listen: tuple[str, ...],
    admin_listen: str | None,
    certificate: str | None,
    key: str | None,
    upstream: str | None,
) -> dict[str, Any]:
    """Return what the command line says, as tables of the configuration."""
    tls = given(certificate=certificate, key=key)
    return given(
        listen=given(addresses=list(listen), admin_address=admin_listen, tls=tls),
        upstream=given(base_url=upstream),
    )


def given(**options: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value not in (None, [], {})}
