"""This machine's clock against the API's.

The API's time is in the `Date` of any answer. So as to spend nothing of its budget, `OPTIONS *` is asked: a
ping of the server as a whole (RFC 9110 section 9.3.7), without a key and without a path of the API, so that
no view and no throttle of it is ever reached. Whatever it answers will do.
"""

from proxy.adapters.upstream import Upstream
from proxy.clock import Clock
from proxy.doctor.exchange import Timer, request, send
from proxy.doctor.report import Finding, fail, ok, skipped, warning
from proxy.errors import UpstreamError
from proxy.policy.feedback import made_at

CHECK = "clock"

_PATIENCE = 4.0

_WARN, _FAIL = 2.0, 30.0
"""Seconds by which the clocks differ for certain."""

_ADVICE = (
    "Let the time of this machine be set by the network (`timedatectl set-ntp true`, chrony, or its host)."
)


async def examine(upstream: Upstream, clock: Clock, patience: float = _PATIENCE) -> Finding:
    """Ask the API what time it is, and compare; an answer has so many seconds."""
    timer = Timer()
    try:
        answer = await send(upstream, request("OPTIONS", "*"), timer, patience=patience)
    except UpstreamError as error:
        return skipped(CHECK, f"{error.detail} (It was asked for its time, by `OPTIONS *`.)")
    received, wall = clock.now(), clock.wall()
    await answer.body.close()
    made = made_at(answer.headers, wall=wall)
    if made is None:
        return skipped(CHECK, f"The API's answer to `OPTIONS *` (status {answer.status}) has no Date.")
    return judged(made, wall=wall, round_trip=max(0.0, received - timer.began))


def judged(made: float, *, wall: float, round_trip: float) -> Finding:
    """Judge by the second in which an answer was made, and the moment at which it came (both unix time).

    It was made within the round trip, and at any time of that second: so much is not known.
    """
    slack = 0.5 + round_trip / 2
    ahead = made + 0.5 - (wall - round_trip / 2)
    certain = abs(ahead) - slack
    if certain <= _WARN:
        return ok(
            CHECK, f"This machine's clock is that of the API, as far as can be told (to {slack:.1f} s)."
        )
    off = f"{abs(ahead):.0f} s" if abs(ahead) < 120 else f"{abs(ahead) / 60:.0f} min"
    if ahead > 0:
        means = (
            "resets (X-RateLimit-Reset) and dates (Retry-After) of the API are waited for so much too long"
        )
        detail = f"This machine's clock is {off} behind the API's: {means}."
    else:
        means = (
            "resets (X-RateLimit-Reset) and dates (Retry-After) of the API seem to be over so much too early"
        )
        detail = f"This machine's clock is {off} ahead of the API's: {means}, and 429s follow."
    return fail(CHECK, detail, _ADVICE) if certain > _FAIL else warning(CHECK, detail, _ADVICE)
