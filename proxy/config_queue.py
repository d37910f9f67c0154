"""The settings of the line in which requests wait, and of going as one.

A part of `config`, which has the rest and its rules; whoever uses settings takes them from there.
"""

from typing import Annotated, Literal

from pydantic import Field

from proxy.config_values import CallerName, Part, PathPattern, Product, Seconds, apart, some


class Caller(Part):
    """Somebody who takes turns with others that use the same key."""

    name: CallerName
    """What it says in `Avala-Proxy-Client`, else its token's name, else its address."""
    weight: Annotated[float, Field(ge=0.01, le=100)]
    """Turns that it gets for each one of a caller that is not named here."""


class Family(Part):
    """Software that is known to take interim responses."""

    agent: Product
    """A product in its User-Agent, without the version."""
    status: Literal[100, 102]
    """Which one it takes: 100 Continue, or 102 Processing."""


def _families(status: Literal[100, 102], *agents: str) -> tuple[Family, ...]:
    return tuple(Family(agent=agent, status=status) for agent in agents)


class Interim(Part):
    """Interim responses, which keep clients that wait from timing out."""

    interval: Annotated[float, Field(ge=0.05)] = 10.0
    """So often is one sent, from when the request is complete until its answer begins."""
    families: tuple[Family, ...] = (
        *_families(
            100, "python-httpx", "aiohttp", "python-requests", "python-urllib3", "Python-urllib", "curl"
        ),
        *_families(102, "node", "undici", "node-fetch", "got"),
    )
    """Who gets them: software by its User-Agent; the first that is named counts. Nobody else does."""


class Queue(Part):
    """The line in which requests wait for their turn."""

    size: Annotated[int, Field(ge=0)] = 2000
    """Requests that may wait at the same time, in all."""
    longest_wait: Seconds = 300.0
    """Longest from arrival to the last attempt's start; a client may ask for less with `Prefer: wait=N`."""
    ageing: Seconds = 30.0
    """So much waiting makes a request more urgent by one (RFC 9218: 7 to 1), so that none starves."""
    interim: Interim = Interim()
    """What keeps clients from timing out."""
    observe: bool = False
    """Let everything go at once, and tell what would have waited: for sizing before switching on."""
    callers: Annotated[tuple[Caller, ...], apart("caller")] = ()
    """Callers whose turns weigh more or less than others'."""


class CoalescingRoute(Part):
    """An exception to what is coalesced."""

    paths: Annotated[tuple[PathPattern, ...], some("path")]
    """Path patterns, as in limits."""
    coalesce: bool
    """Whether GETs here go together."""


class Coalescing(Part):
    """Whether GETs that ask for the same, and have not left yet, go as one."""

    enabled: bool = True
    """Whether they do; `routes` has exceptions."""
    gather: Annotated[float, Field(ge=0)] = 0.5
    """A GET that finds one like it under way waits until this long after that left, for others like it."""
    routes: tuple[CoalescingRoute, ...] = ()
    """Exceptions; the first that matches counts."""
