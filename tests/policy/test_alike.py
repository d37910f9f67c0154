"""Requests are alike when one answer can serve them all, and no write came between them."""

import dataclasses
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Coalescing, CoalescingRoute
from proxy.messages import Bytes, Headers, Request
from proxy.policy.alike import Alike
from tests.fakes import headers, request


class Empty(Bytes):
    """A request body of no bytes, which is not the same as none."""

    size = 0


def alike(*, forwarded: bool = False, enabled: bool = True, **routes: bool) -> Alike:
    """Make one with exceptions for paths under /api/v1/<name>/."""
    exceptions = tuple(
        CoalescingRoute(paths=(f"/api/v1/{name}/**",), coalesce=coalesce) for name, coalesce in routes.items()
    )
    return Alike(Coalescing(enabled=enabled, routes=exceptions), forwarded=forwarded)


def keys(*requests: Request, forwarded: bool = False) -> list[Hashable]:
    told = alike(forwarded=forwarded)
    return [told.key(each) for each in requests]


def write(told: Alike, method: str = "POST", credential: str | None = "team") -> None:
    told.admitted(request(method, credential=credential))


ASKED = headers(Accept="application/json", X_Avala_Api_Key="k")


def test_who_asks_for_the_same_is_alike() -> None:
    first, second = keys(
        request(ticket=1, fields=ASKED), request(ticket=2, fields=ASKED, caller="b", urgency=0)
    )
    assert first == second
    assert first is not None
    assert hash(first) == hash(second)


@pytest.mark.parametrize(
    "other",
    [
        request(fields=ASKED, target="/api/v1/datasets/?page=2"),
        request(fields=ASKED, target="/api/v1/Datasets/"),
        request(fields=ASKED, credential="others"),
        request(fields=ASKED, credential=None),
        request(fields=headers(Accept="application/xml", X_Avala_Api_Key="k")),
        request(fields=headers(Accept="application/json", X_Avala_Api_Key="K")),
        request(fields=headers(Accept="application/json")),
        request(fields=headers(Accept="application/json", X_Avala_Api_Key="k", If_None_Match='"1"')),
        request(fields=headers(X_Avala_Api_Key="k", Accept="application/json")),
        request(fields=Headers((*ASKED.raw, *ASKED.raw))),
    ],
)
def test_who_differs_in_what_tells_is_not_alike(other: Request) -> None:
    first, second = keys(request(fields=ASKED), other)
    assert first != second
    assert second is not None


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "X-Request-Id",
        "x-correlation-id",
        "TraceParent",
        "tracestate",
        "b3",
        "X-B3-TraceId",
        "Sentry-Trace",
        "Priority",
        "Avala-Proxy-Client",
        "Avala-Proxy-Token",
        "Connection",
        "Keep-Alive",
    ],
)
def test_who_differs_only_in_who_asks_is_alike(name: str) -> None:
    first, second, third = keys(
        request(fields=ASKED),
        *(request(fields=Headers(((name.encode(), value), *ASKED.raw))) for value in (b"1", b"2")),
    )
    assert first == second == third


def test_the_case_of_a_name_tells_nothing_and_that_of_a_value_does() -> None:
    first, second, third = keys(
        *(
            request(fields=Headers((field,)))
            for field in [(b"Accept", b"a"), (b"ACCEPT", b"a"), (b"accept", b"A")]
        )
    )
    assert first == second != third


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_gets_go_together(method: str) -> None:
    assert keys(request(method)) == [None]


def test_a_get_with_a_body_goes_by_itself_even_if_that_is_empty() -> None:
    assert keys(dataclasses.replace(request(), body=Empty())) == [None]


def test_a_stream_goes_by_itself() -> None:
    assert keys(request(fields=headers(Accept="text/event-stream"))) == [None]


def test_who_asks_tells_only_where_the_upstream_hears_of_it() -> None:
    here, there = request(), dataclasses.replace(request(), peer="192.0.2.2")
    first, second = keys(here, there)
    assert first == second
    first, second, third = keys(here, there, here, forwarded=True)
    assert first == third != second


def test_a_route_may_be_an_exception_and_the_first_that_matches_counts() -> None:
    told = Alike(
        Coalescing(
            routes=(
                CoalescingRoute(paths=("/api/v1/a/x/",), coalesce=True),
                CoalescingRoute(paths=("/api/v1/a/**", "/api/v1/b/"), coalesce=False),
            )
        ),
        forwarded=False,
    )
    targets = ["/api/v1/a/x/", "/api/v1/a/y/?q=1", "/api/v1/b/", "/api/v1/c/"]
    assert [told.key(request(target=target)) is not None for target in targets] == [True, False, False, True]


def test_where_it_is_off_nothing_is_alike_but_on_routes_where_it_is_on() -> None:
    told = alike(enabled=False, datasets=True)
    assert told.key(request()) is not None
    assert told.key(request(target="/api/v1/projects/")) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
def test_who_asks_after_a_write_asks_for_something_else(method: str) -> None:
    told = alike()
    before = told.key(request())
    write(told, method)
    after = told.key(request())
    assert before != after == told.key(request())
    write(told, method)
    assert told.key(request()) not in (before, after)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_what_writes_nothing_changes_nothing(method: str) -> None:
    told = alike()
    before = told.key(request())
    write(told, method)
    assert told.key(request()) == before


@pytest.mark.parametrize("credential", ["others", None])
def test_a_write_of_one_credential_is_none_of_the_others(credential: str | None) -> None:
    told = alike()
    before = told.key(request())
    write(told, credential=credential)
    assert told.key(request()) == before
    own = told.key(request(credential=credential))
    write(told, credential=credential)
    assert told.key(request(credential=credential)) != own


def test_after_so_many_writers_that_some_are_forgotten_nobody_is_alike_across_a_write() -> None:
    told = alike()
    write(told, credential="team")
    after_the_write = told.key(request())
    for number in range(1023):
        write(told, credential=str(number))
    assert told.key(request()) == after_the_write, "1024 writers are remembered"
    never_wrote = told.key(request(credential="reader"))
    for number in range(1023, 3000):
        write(told, credential=str(number))
        assert len(told._written) <= 1024
    assert told.key(request()) != after_the_write
    assert told.key(request(credential="reader")) != never_wrote


@given(
    st.lists(st.sampled_from(["r1", "r2", "w1", "w2"]) | st.integers(0, 400), max_size=40), st.integers(1, 3)
)
def test_equal_keys_have_no_write_of_their_credential_between_them(
    steps: list[str | int], crowd: int
) -> None:
    told, written = alike(), dict.fromkeys(("1", "2"), 0)
    seen: dict[Hashable, tuple[str, int]] = {}
    for step in steps:
        if isinstance(step, int):
            for number in range(step * crowd):
                write(told, credential=f"other {number}")
        elif step[0] == "w":
            written[step[1]] += 1
            write(told, credential=step[1])
        else:
            state = step[1], written[step[1]]
            assert seen.setdefault(told.key(request(credential=step[1])), state) == state


def test_what_one_names_away_and_the_other_does_not_is_not_alike() -> None:
    fields = ((b"X-Tenant", b"1"), (b"Connection", b"x-tenant"))
    first, second = keys(request(fields=Headers(fields)), request(fields=Headers(fields[:1])))
    assert first != second


def test_where_the_upstream_hears_of_the_client_its_host_and_scheme_tell() -> None:
    base = request(fields=headers(Host="a.example"))
    others = [
        dataclasses.replace(base, secure=True),
        dataclasses.replace(base, headers=headers(Host="b.example")),
    ]
    assert len(set(keys(base, *others, forwarded=True))) == 3
