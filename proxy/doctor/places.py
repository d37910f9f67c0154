"""Where the proxy is to listen: whether each place is free, or who has it.

A free port is bound for a moment; nothing that runs is disturbed, and no socket file is removed.
"""

from collections.abc import Awaitable, Callable

from proxy import config
from proxy.config_places import Place
from proxy.doctor.report import Finding, fail, failed, ok, warning
from proxy.doctor.running import Running
from proxy.sockets import CannotListen, try_place

LISTEN, ADMIN = "listen", "admin"

Ask = Callable[[Place], Awaitable[Running | None]]
"""Asks at an admin address which avala-proxy is there; None if none is."""


async def examine(settings: config.Listen, ask: Ask) -> list[Finding]:
    """Look at each place; `ask` is asked if one is taken."""
    admin = settings.admin_place
    places = [(LISTEN, *named) for named in zip(settings.addresses, settings.places, strict=True)]
    places.append((ADMIN, settings.admin_address, admin))
    refusals = [await _refusal(place) for _, _, place in places]
    taken = any(refusal is not None and refusal.taken for refusal in refusals)
    running = await ask(admin) if taken else None
    return [_finding(*one, refusal, running) for one, refusal in zip(places, refusals, strict=True)]


async def _refusal(place: Place) -> CannotListen | None:
    try:
        await try_place(place)
    except CannotListen as error:
        return error
    return None


def _finding(
    check: str, text: str, place: Place, refusal: CannotListen | None, running: Running | None
) -> Finding:
    """Tell that a place is free, of no use, ours already, or somebody else's."""
    if refusal is None:
        any_port = place.scheme != "unix" and place.port == 0
        return ok(check, f"{text} is any free port." if any_port else f"{text} is free.")
    if not refusal.taken:
        return failed(check, f"{text}: {refusal}.", ". ")
    if running is not None and (check == ADMIN or running.listens(place)):
        detail = f"{text} is in use by {running}."
        if running.ready:
            return ok(check, detail)
        return warning(check, detail, "See what its log and its /readyz say.")
    option = "--admin-listen" if check == ADMIN else "--listen"
    return fail(
        check,
        f"{text} is in use by another program.",
        f"Stop it, or choose another place with {option}. If it is an avala-proxy: give `doctor` the "
        "configuration that it has.",
    )
