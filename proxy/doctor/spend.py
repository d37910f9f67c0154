"""The key: tried by one real request, if that is wished for. It is the only check that the API counts."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from pydantic import SecretStr

from proxy import config
from proxy.adapters.upstream import Upstream
from proxy.clock import Clock
from proxy.config_values import key as fit_key
from proxy.doctor.exchange import Timer, request, send
from proxy.doctor.report import Finding, fail, failed, ok, skipped, warning
from proxy.errors import UpstreamError
from proxy.events import Events
from proxy.material import SecretReader, StartError
from proxy.messages import Response
from proxy.policy.access import Access
from proxy.policy.classify import CLASS_OF_CODE, structured_code
from proxy.policy.feedback import Feedback, demanded_wait, parse
from proxy.policy.headers import is_json
from proxy.policy.limits import LimitTable
from proxy.telemetry.redaction import Redaction

CHECK = "key"
VARIABLE = "AVALA_API_KEY"

_TARGET = "/api/v1/users/me/"
"""Who the key belongs to: it changes nothing, is small, and needs no right beyond a key that works."""

_BODY = 4096
"""Bytes of a body that are read, for an error's `code`."""
_PATIENCE, _BODY_PATIENCE = 8.0, 2.0
"""Seconds for the head of the answer, and for its body."""


async def examine(
    settings: config.Settings, upstream: Upstream, clock: Clock, environ: Mapping[str, str]
) -> Finding:
    """Send one request with the key that the proxy holds, or else with that of the environment."""
    try:
        key = _key(settings, clock, environ)
    except StartError as error:
        return failed(CHECK, str(error), ": ")
    except ValueError:
        detail = f"{VARIABLE} can't be a key: it has spaces, line breaks or signs that none has."
        return fail(CHECK, detail, f"Set {VARIABLE} to the key and nothing else.")
    if key is None:
        advice = f"Set {VARIABLE} in the environment, or let the proxy hold a key (credential.file)."
        return fail(CHECK, f"There is none to try: the proxy holds none, and {VARIABLE} is not set.", advice)
    asked = request("GET", _TARGET)
    headers = (
        Access(settings.upstream.credential_headers, key=lambda: key, clients=()).admit(asked.headers).headers
    )
    try:
        answer = await send(upstream, replace(asked, headers=headers), Timer(), patience=_PATIENCE)
        content = await beginning(answer)
    except UpstreamError as error:
        return fail(CHECK, error.detail, "See what the lines above say; `serve` would try again.")
    return judged(answer, content, clock.wall())


def _key(settings: config.Settings, clock: Clock, environ: Mapping[str, str]) -> str | None:
    """Return the key to try. Raises StartError and ValueError, which do not repeat it."""
    if settings.holds_key:
        held = settings.credential
        return SecretReader(clock, Events(), Redaction()).read(held.value, held.file)()
    given = environ.get(VARIABLE, "")
    return fit_key(SecretStr(given)).get_secret_value() if given else None


async def beginning(answer: Response, patience: float = _BODY_PATIENCE) -> bytes:
    """Read as much of a body as is needed; what has not come within so many seconds tells nothing."""
    content = b""
    try:
        async with asyncio.timeout(patience):
            async for piece in answer.body.chunks():
                content += piece
                if len(content) >= _BODY:
                    break
    except TimeoutError:
        pass
    finally:
        await answer.body.close()
    return content


def judged(answer: Response, content: bytes, wall: float) -> Finding:
    """Say what the answer tells of the key; of what the API says nothing but its `code` is repeated."""
    feedback, status = (
        parse(answer.headers, wall=wall, content=content if answer.status == 429 else b""),
        answer.status,
    )
    if 200 <= status < 300 and is_json(answer.headers):
        return ok(CHECK, f"The API takes the key ({status}{_left(feedback)}).")
    if status == 401:
        advice = "Put the right key in its place. One that was right may be revoked or suspended: ask Avala."
        return fail(CHECK, "The API does not take the key (401).", advice)
    if status == 403:
        return _forbidden(structured_code(content))
    if status == 429:
        wait = demanded_wait(feedback, status)
        when = "" if wait is None else f" for {wait:.0f} s more"
        detail = f"The API takes the key, and has no room for it{when} (429{_left(feedback)})."
        return warning(
            CHECK, detail, "See who else uses this key: the proxy keeps only its own clients within limits."
        )
    if status >= 500:
        advice = "Try again later; `serve` would retry by itself. It tells nothing of the key."
        return fail(CHECK, f"The API fails ({status}).", advice)
    return fail(
        CHECK,
        f"What answers is not the API, or not at this path ({status}, {_TARGET}).",
        "Check host and path of upstream.base_url (--upstream), which /api/v1/… comes after.",
    )


def _forbidden(code: str | None) -> Finding:
    known = code if code in CLASS_OF_CODE else None
    detail = (
        f"The API knows the key, and forbids it even to see whose it is (403{f', {known}' if known else ''})."
    )
    if known:
        return warning(
            CHECK, detail, "See that the key has the scopes, and its plan the rights, that clients need."
        )
    return fail(
        CHECK, detail, "The key may be suspended, or made for something else: ask Avala, or take another."
    )


def _left(feedback: Feedback) -> str:
    """Tell what the rate limit headers say is left."""
    for quota in feedback.quotas:
        if quota.limit is not None and quota.remaining is not None:
            when = "" if quota.reset_in is None else f"; all are back within {quota.reset_in:.0f} s"
            return f"; {quota.remaining} of {quota.limit} requests are left{when}"
    return ""


def not_wished_for(settings: config.Settings) -> Finding:
    """Say how to have the key tried, and what that costs."""
    table = LimitTable(settings.limits)
    limits = [
        table.by_name[lane.limit] for lane in table.lanes(replace(request("GET", _TARGET), credential="key"))
    ]
    longest = max((limit for limit in limits if limit.per), key=lambda limit: limit.per or 0, default=None)
    cost = ""
    if longest is not None:
        cost = f", which spends 1 of the key's {longest.size} requests per {longest.per:g} s"
    return skipped(CHECK, f"Add --spend to send one real request (GET {_TARGET}){cost}.")
