"""The commands: parse, call, print. No logic."""

import asyncio
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

import proxy
from proxy.cli_options import CONFIG, fail, given, overrides, settings_options


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(proxy.__version__, prog_name="avala-proxy")
def main() -> None:
    """Put limits, a queue, retries and metrics in front of the Avala API."""


@main.command()
@settings_options
@click.option("--observe", is_flag=True, help="Hold nothing back, and tell what would have waited.")
def serve(path: Path | None, observe: bool, **options: Any) -> None:
    """Run the proxy until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    from proxy.config import load
    from proxy.config_report import ConfigError
    from proxy.material import StartError
    from proxy.process import serve

    try:
        said = overrides(**options) | given(queue=given(observe=observe or None))
        asyncio.run(serve(lambda: load(path, said)))
    except ConfigError as error:
        fail(str(error), 2)
    except StartError as error:
        fail(str(error))
    except Exception:
        fail(traceback.format_exc())


@main.command()
@settings_options
def check(path: Path | None, **options: Any) -> None:
    """Validate a configuration, the files that it names and the shared store; print it, secrets masked."""
    from proxy.config import load
    from proxy.config_report import ConfigError
    from proxy.material import StartError
    from proxy.process import verify

    try:
        shown = asyncio.run(verify(load(path, overrides(**options))))
    except (ConfigError, StartError) as error:
        fail(str(error), 2)
    click.echo(shown, nl=False)
    click.echo("The configuration is valid.", err=True)


@main.command()
@settings_options
@click.option("--spend", is_flag=True, help="Try the key too: ONE real request, which the API counts.")
@click.option("--json", "machine", is_flag=True, help="A list of {check, result, detail, advice}.")
def doctor(path: Path | None, spend: bool, machine: bool, **options: Any) -> None:
    r"""Look for what is wrong on this machine and on the way to the API, and say what to do about it.

    It goes by the options and the environment that `serve` would, and judges what that would do. Each check
    is a line: ok, warning, FAIL or skipped; and below it what to do.

    \b
    configuration                  is it valid, and where does it come from
    secret files, state file,      can they be read or written, and by whom else;
    body directory, certificate    how much room there is, and until when it is good
    open files                     does the system allow enough of them
    listen, admin                  is each place free; a proxy that runs there is fine, and not disturbed
    dns, tcp, tls                  the way to the API, step by step
    clock                          does this machine's differ from the API's
    store                          can a budget be shared through it, and how near is it
    key                            does the API take it: with --spend

    Nothing of the API's budget is spent without --spend. The key is then that which the proxy holds
    (credential), or else AVALA_API_KEY.

    Ends with 0 if nothing FAILs, else with 1.
    """
    from proxy.doctor import examination, report

    told = report.teller(sys.stdout, os.environ, quiet=machine)
    try:
        examining = examination.examine(path, overrides(**options), spending=spend, told=told)
        findings = asyncio.run(examining)
    except KeyboardInterrupt:
        fail("\nInterrupted.", 130)
    click.echo(report.as_json(findings) if machine else report.summary(findings))
    sys.exit(int(report.any_fails(findings)))


@main.command()
@CONFIG
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
        fail(str(error), 2)
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
        fail(str(error))


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
        fail(str(error), 2)
    from proxy.demo import run_sandbox

    try:
        asyncio.run(run_sandbox(settings, host, port))
    except OSError as error:
        fail(f"Cannot listen on {listen}: {error.strerror}. Choose another address, with --listen HOST:PORT.")


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
    from proxy.demo import run
    from proxy.material import StartError

    try:
        if not asyncio.run(run(requests=requests, callers=callers, once=once)):
            fail("\nInterrupted.", 130)
    except StartError as error:
        fail(str(error))


@main.command()
@CONFIG
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
        fail(str(error), 2)
    try:
        asyncio.run(run(url, once=once))
    except Trouble as trouble:
        fail(str(trouble))
