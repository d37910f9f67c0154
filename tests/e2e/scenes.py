"""What the live page is shown in tests: a proxy that plays a part, whose numbers go up."""

from dataclasses import dataclass, field, replace
from time import time

from proxy.errors import ErrorClass, Fault
from proxy.recent import ErrorCount, Example, History, Quantiles, Recent
from proxy.state import BreakerState, CallerState, LimitState, State

SECONDS = 180

HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "long-" + "x" * 400,
    "\u202e" + "".join(map(chr, range(0x5D0, 0x5E0))) + "\u202e",
)
"""Names that would run, break the layout, or turn what is around them."""

LIMITS = (
    LimitState("standard", 100, 60.0, 20, 46, 5, 0, False),
    LimitState("burst", 20, 1.0, 0, 17, 0, 0, False),
    LimitState("anonymous", 30, 60.0, 0, 30, 0, 0, False),
    LimitState("signup", 5, 60.0, 0, 5, 0, 0, False),
    LimitState("inference", 10, 60.0, 0, 7, 0, 0, False),
    LimitState("uploads", 10, 0.0, 0, 8, 0, 0, False),
    LimitState("exports", 5, 0.0, 0, 5, 0, 0, False),
    LimitState("streams", 20, 0.0, 0, 20, 0, 0, False),
)

CALM = State(LIMITS, 2, 0, 1000, breakers=(BreakerState("upstream", "closed", False),))


@dataclass
class Scene:
    """A proxy that does as it is told."""

    state: State = CALM
    callers: tuple[CallerState, ...] = ()
    errors: list[ErrorCount] = field(default_factory=list)
    ready: tuple[bool, str] = (True, "serving")
    sent: list[int] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    rate_limited: list[int] = field(default_factory=list)
    looks: int = 0

    def now(self) -> State:
        """Look once more; each time one request more is in flight."""
        self.looks += 1
        return replace(self.state, in_flight=self.state.in_flight + self.looks)

    def recent(self) -> Recent:
        """Return what happened lately."""
        history = History(
            int(time()), *map(_filled, (self.sent, self.queued, self.refused, self.rate_limited))
        )
        return Recent(
            history,
            tuple(self.errors),
            Quantiles(250, 0.12, 0.31, 0.8, 1.2),
            Quantiles(250, 0.0, 3.1, 12.0, 20.1),
        )

    def fails(
        self, error_class: str, fault: str, count: int, status: int | None = None, **last: str | None
    ) -> None:
        """Have so many errors of a class, all of them just now."""
        example = Example(
            time(),
            last.get("method") or "GET",
            last.get("route") or "/api/v1/datasets/{id}/",
            status,
            last.get("code"),
            last.get("request_id") or "0b6f7c1e-5b1d-4f7e-9c55-6f0a1d1f8d11",
        )
        self.errors = [one for one in self.errors if one.error_class != error_class]
        self.errors.append(ErrorCount(ErrorClass(error_class), Fault(fault), count, count, example))


def calm() -> Scene:
    """Have little to do."""
    return Scene(sent=[(at * 7) % 5 for at in range(SECONDS)])


def busy() -> Scene:
    """Have more to do than the budget allows."""
    limits = [
        replace(LIMITS[0], remaining=0, foreign=12, queued=38),
        replace(LIMITS[1], remaining=2, queued=4),
        *LIMITS[2:4],
        replace(LIMITS[4], remaining=0, queued=9),
        *LIMITS[5:],
    ]
    return Scene(
        replace(
            CALM,
            limits=tuple(limits),
            in_flight=14,
            queued=47,
            breakers=(*CALM.breakers, BreakerState("exports", "closed", False)),
            replicas=3,
            shared=True,
        ),
        callers=(
            CallerState("5e1f", "nightly-import", 31, 0.8, 42.5),
            CallerState("5e1f", "10.20.3.44", 9, 1.2, 38.0),
            CallerState("a770", "labelling-ui", 7, 4.0, 61.0),
        ),
        sent=[1 + (at * 7) % 3 + 12 * (at % 60 < 4) for at in range(SECONDS)],
        queued=[max(0, int(60 - abs(at % 60 - 30) * 2)) + 10 for at in range(SECONDS)],
        refused=[3 * (at == 95) for at in range(SECONDS)],
        rate_limited=[0] * SECONDS,
    )


def trouble() -> Scene:
    """Have all that can go wrong go wrong."""
    scene = busy()
    limits = scene.state.limits
    scene.state = replace(
        scene.state,
        limits=(replace(limits[0], paused=True), *limits[1:]),
        pauses={"standard": 12.5},
        queued=1000,
        breakers=(BreakerState("upstream", "open", False), BreakerState("exports", "open", True)),
        ledger_up=False,
    )
    scene.ready = (False, "circuit_open: the API fails, and is left alone until it is back")
    scene.callers = tuple(replace(one, first=None, last=None) for one in scene.callers)
    scene.refused = [(at % 9) * (at > 150) for at in range(SECONDS)]
    scene.rate_limited = [(at % 4 == 0) * (120 < at < 150) for at in range(SECONDS)]
    scene.fails("validation", "client", 4, 422, method="POST", route="/api/v1/datasets/", code="invalid_name")
    scene.fails("rate_limited", "upstream", 8, 429)
    scene.fails("server_error", "upstream", 31, 500)
    scene.fails("unavailable", "upstream", 5, 503, method="POST", route="/api/v1/inference/invoke/")
    scene.fails("connection_terminated", "network", 2)
    scene.fails("queue_full", "proxy", 112, 503, code="proxy_queue_full")
    scene.fails("circuit_open", "proxy", 19, 503, code="proxy_circuit_open")
    return scene


def hostile() -> Scene:
    """Have clients that mean the page ill."""
    scene = busy()
    scene.callers = tuple(CallerState("5e1f", name, 1, 0.5, 1.0) for name in HOSTILE)
    classes = ("validation", "not_found", "conflict", "client_error")
    for error_class, name in zip(classes, HOSTILE, strict=True):
        scene.fails(error_class, "client", 1, 400, route=name, code=name, request_id=name)
    return scene


def _filled(series: list[int]) -> tuple[int, ...]:
    return tuple([0] * (SECONDS - len(series)) + series[-SECONDS:])
