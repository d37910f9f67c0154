"""The commands: parse, call, print. No logic."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

import proxy


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(proxy.__version__, prog_name="avala-proxy")
def main() -> None:
    """Put limits, a queue, retries and metrics in front of the Avala API."""


def _fail(message: str, code: int = 1) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


_CONFIG = click.option(
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


def _overrides(
    listen: tuple[str, ...],
    admin_listen: str | None,
    certificate: str | None,
    key: str | None,
    upstream: str | None,
) -> dict[str, Any]:
    tls = _given(certificate=certificate, key=key)
    return _given(
        listen=_given(addresses=list(listen), admin_address=admin_listen, tls=tls),
        upstream=_given(base_url=upstream),
    )


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, [], {})}


@main.command()
@_CONFIG
@_LISTEN
@_ADMIN
@_TLS_CERTIFICATE
@_TLS_KEY
@_UPSTREAM
@click.option("--observe", is_flag=True, help="Hold nothing back, and tell what would have waited.")
def serve(path: Path | None, observe: bool, **options: Any) -> None:
    """Run the proxy until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    from proxy.assembly import StartError
    from proxy.config import load
    from proxy.config_report import ConfigError
    from proxy.process import serve

    try:
        overrides = _overrides(**options) | _given(queue=_given(observe=observe or None))
        asyncio.run(serve(lambda: load(path, overrides)))
    except ConfigError as error:
        _fail(str(error), 2)
    except StartError as error:
        _fail(str(error))


@main.command()
@_CONFIG
@_LISTEN
@_ADMIN
@_TLS_CERTIFICATE
@_TLS_KEY
@_UPSTREAM
def check(path: Path | None, **options: Any) -> None:
    """Validate a configuration, the files that it names and the shared store; print it, secrets masked."""
    from proxy.assembly import StartError
    from proxy.config import load
    from proxy.config_report import ConfigError, effective
    from proxy.process import verify

    try:
        settings = load(path, _overrides(**options))
        asyncio.run(verify(settings))
    except (ConfigError, StartError) as error:
        _fail(str(error), 2)
    click.echo(effective(settings), nl=False)
    click.echo("The configuration is valid.", err=True)


@main.command()
@_CONFIG
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option(
    "--callers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Clients that share a key.",
)
@click.option(
    "--latency", default=0.2, show_default=True, type=click.FloatRange(0, 3600), help="Seconds of an answer."
)
@click.option("--at-once", is_flag=True, help="Callers do not wait for an answer before they send the next.")
def plan(path: Path | None, kinds: tuple[str, ...], callers: int, latency: float, at_once: bool) -> None:
    """Foretell how long requests take, and what each limit does to them; nothing is sent.

    A KIND is COUNT, or "COUNT METHOD /path", or "COUNT METHOD /path SECONDS" (how long an answer takes).
    [default: 300]
    """
    from proxy.config import load
    from proxy.config_report import ConfigError
    from proxy.plan import parse_kind, rehearse
    from proxy.plan_report import report

    try:
        settings = load(path)
        parsed = [parse_kind(kind) for kind in kinds or ("300",)]
    except (ConfigError, ValueError) as error:
        _fail(str(error), 2)
    planned = rehearse(settings, parsed, callers=callers, latency=latency, at_once=at_once)
    click.echo(report(planned, settings, callers=callers, latency=latency, at_once=at_once))


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default="avala-proxy-tls",
    show_default=True,
    help="Where the files are put; an authority that is there already signs again.",
)
@click.option(
    "--days",
    default=365,
    show_default=True,
    type=click.IntRange(1, 825),  # Apple's systems refuse what is good for longer
    help="How long the certificate is good.",
)
@click.option("--force", is_flag=True, help="Replace a certificate that is there.")
def cert(names: tuple[str, ...], directory: Path, days: int, force: bool) -> None:
    """Make a certificate for TLS, and a local authority that signs it: for trying out and internal use.

    NAMEs are the host names and addresses by which clients reach the proxy.
    [default: localhost 127.0.0.1 ::1]
    """
    from proxy.certificates import CannotMake, advice, make

    names = names or ("localhost", "127.0.0.1", "::1")
    try:
        click.echo(advice(make(directory, names, days=days, force=force, now=datetime.now(UTC))))
    except CannotMake as error:
        _fail(str(error))


@main.command()
@click.option(
    "--listen", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT", help="Where it serves."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="SCOPE=N[/SECONDS]", help="Change a limit: standard=100/6."
)
@click.option("--time-scale", default=1.0, show_default=True, help="How many times faster than the real API.")
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME=RATE", help="Fail at random: 500=0.1, reset=0.05, …"
)
@click.option("--retry-after", type=float, help="Retry-After of a 503, in seconds.")
@click.option("--slow", default=2.0, show_default=True, help="Seconds that the fault `slow` takes.")
@click.option(
    "--transit", nargs=2, type=float, default=(0.0, 0.0), help="Pretended network delay: LOW HIGH seconds."
)
@click.option("--seed", type=int, help="Make the random faults repeatable.")
def sandbox(
    listen: str,
    limits: tuple[str, ...],
    time_scale: float,
    faults: tuple[str, ...],
    retry_after: float | None,
    slow: float,
    transit: tuple[float, float],
    seed: int | None,
) -> None:
    """Run a pretend Avala API, with its data, limits and errors, until Ctrl-C."""
    from proxy.config_values import parse_address
    from proxy.sandbox import SandboxSettings, parse_fault_rates, parse_limits

    try:
        host, port = parse_address(listen)
        settings = SandboxSettings(
            limits=parse_limits(limits),
            time_scale=time_scale,
            faults=parse_fault_rates(faults),
            retry_after=retry_after,
            slow_seconds=slow,
            transit=transit,
            seed=seed,
        )
    except ValueError as error:
        _fail(str(error), 2)
    from proxy.demo import run_sandbox

    try:
        asyncio.run(run_sandbox(settings, host, port))
    except OSError as error:
        _fail(
            f"Cannot listen on {listen}: {error.strerror}. Choose another address, with --listen HOST:PORT."
        )


@main.command()
@click.option(
    "--once", is_flag=True, help="End when the burst is over, instead of staying up for your own requests."
)
@click.option(
    "--requests", default=150, show_default=True, type=click.IntRange(1, 5000), help="Size of the burst."
)
@click.option(
    "--callers", default=30, show_default=True, type=click.IntRange(1, 500), help="Concurrent clients."
)
def demo(once: bool, requests: int, callers: int) -> None:
    """Send a burst through the proxy to a pretend API, and tell what happened."""
    from proxy.assembly import StartError
    from proxy.demo import run

    try:
        if not asyncio.run(run(requests=requests, callers=callers, once=once)):
            _fail("\nInterrupted.", 130)
    except StartError as error:
        _fail(str(error))


@main.command()
@_CONFIG
@click.option(
    "--admin",
    metavar="URL",
    help="The proxy's admin listener; HOST:PORT will do.  [default: http://127.0.0.1:9464]",
)
@click.option("--once", is_flag=True, help="Print one frame as plain text, and end.")
def top(path: Path | None, admin: str | None, once: bool) -> None:
    """Watch a proxy at work: budgets, queue and errors, as they change.  Leave with q."""
    from proxy.config_report import ConfigError
    from proxy.top.feed import Trouble
    from proxy.top.run import run
    from proxy.top.where import find

    try:
        url = find(admin, path)
    except (ConfigError, ValueError) as error:
        _fail(str(error), 2)
    try:
        asyncio.run(run(url, once=once))
    except Trouble as trouble:
        _fail(str(trouble))
