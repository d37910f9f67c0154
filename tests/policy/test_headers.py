"""Header fields: what crosses the proxy in each direction, what it adds, and what two of them say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers, Request, Response
from proxy.policy.headers import (
    FOR_THE_PROXY,
    HOP_BY_HOP,
    LONGEST_WAIT,
    Fields,
    accepts_stream,
    downward,
    is_json,
    prefer_wait,
    upward,
    with_parent,
)

VIA = (b"Via", b"1.1 avala-proxy")
HOST = (b"Host", b"api.avala.ai")
ID = (b"X-Request-Id", b"r-1")


def up(
    *fields: tuple[bytes, bytes],
    size: int | None = None,
    via: bool = True,
    forwarded: bool = False,
    peer: str = "192.0.2.7",
    secure: bool = False,
    request_id: str = "r-1",
    version: bytes = b"1.1",
) -> Fields:
    request = Request("GET", "/", Headers(fields), peer, 0.0, 1.0, request_id, secure=secure, version=version)
    return upward(
        request,
        host=HOST[1],
        size=size,
        via=via,
        credential_headers=("X-Avala-Api-Key", "X-Own-Token"),
        forwarded=forwarded,
    )


def down(*fields: tuple[bytes, bytes]) -> Fields:
    return downward(Response(200, "OK", Headers(fields)))


def prefer(*values: str) -> float | None:
    return prefer_wait(Headers(tuple((b"Prefer", value.encode("latin-1")) for value in values)))


def accept(*values: str) -> bool:
    return accepts_stream(Headers(tuple((b"accept", value.encode("latin-1")) for value in values)))


def test_what_concerns_nobody_here_crosses_in_its_order_case_and_number() -> None:
    fields = ((b"X-b", b"1"), (b"x-A", b""), (b"X-B", b"1"), (b"Pragma", b"a"), (b"x-bin", b"\xe4\xff"))
    assert up(*fields) == (HOST, *fields, VIA, ID)
    assert down(*fields) == fields


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_stop_here_both_ways(name: bytes) -> None:
    assert up((name.title(), b"x"), (b"A", b"1")) == (HOST, (b"A", b"1"), VIA, ID)
    assert down((name.upper(), b"x"), (b"A", b"1")) == ((b"A", b"1"),)


@pytest.mark.parametrize("name", sorted(FOR_THE_PROXY))
def test_what_is_said_to_the_proxy_stops_here(name: bytes) -> None:
    assert up((name, b"100-continue")) == (HOST, VIA, ID)


def test_who_calls_and_how_urgently_does_not_go_up_however_often_it_is_said() -> None:
    said = ((b"Priority", b"u=0"), (b"AVALA-Proxy-Client", b"me"), (b"priority", b"i"))
    assert up(said[0], (b"A", b"1"), *said[1:]) == (HOST, (b"A", b"1"), VIA, ID)


def test_what_the_upstream_says_of_priority_is_for_the_client() -> None:
    assert down((b"Priority", b"u=1")) == ((b"Priority", b"u=1"),)


def test_what_connection_names_stops_here_both_ways() -> None:
    fields = (
        (b"Connection", b"close, X-One ,"),
        (b"connection", b"x-two"),
        (b"x-one", b"1"),
        (b"X-Two", b"2"),
    )
    assert up(*fields) == (HOST, VIA, ID)
    assert down(*fields) == ()


@pytest.mark.parametrize(
    "name",
    [
        b"X-Avala-Api-Key",
        b"x-own-token",
        b"Authorization",
        b"Cookie",
        b"Content-Type",
        b"Content-Encoding",
        b"Idempotency-Key",
        b"If-Match",
        b"Accept",
        b"Accept-Encoding",
        b"X-Forwarded-For",
        b"Range",
    ],
)
def test_connection_cannot_name_away_what_the_request_is(name: bytes) -> None:
    assert (name, b"x") in up((b"Connection", b"keep-alive, " + name.lower()), (name, b"x"))


def test_connection_cannot_name_away_the_host_the_length_or_the_request_id() -> None:
    named = (b"Connection", b"Host, Content-Length, X-Request-Id")
    fields = up(named, (b"Host", b"p"), (b"Content-Length", b"3"), (b"X-Request-Id", b"c"), size=3)
    assert fields == (HOST, (b"Content-Length", b"3"), (b"X-Request-Id", b"c"), VIA)


@pytest.mark.parametrize("name", [b"Content-Length", b"Content-Type", b"Set-Cookie", b"Retry-After", b"ETag"])
def test_connection_cannot_name_away_what_the_response_is(name: bytes) -> None:
    assert down((b"Connection", name), (name, b"5")) == ((name, b"5"),)


def test_the_host_becomes_the_upstreams_where_it_stood() -> None:
    assert up((b"A", b"1"), (b"hOsT", b"proxy:8080"), (b"B", b"2"), (b"Host", b"other")) == (
        (b"A", b"1"),
        HOST,
        (b"B", b"2"),
        VIA,
        ID,
    )


@pytest.mark.parametrize("client", [(b"content-length", b"999"), (b"Transfer-Encoding", b"chunked")])
@pytest.mark.parametrize("size", [0, 7])
def test_the_length_is_the_bodys_and_stands_where_the_framing_stood(
    client: tuple[bytes, bytes], size: int
) -> None:
    length = (b"Content-Length", str(size).encode())
    assert up(client, (b"A", b"1"), client, size=size) == (HOST, length, (b"A", b"1"), VIA, ID)


def test_a_length_where_the_client_framed_nothing_comes_after_its_fields() -> None:
    assert up((b"A", b"1"), size=0) == (HOST, (b"A", b"1"), (b"Content-Length", b"0"), VIA, ID)


def test_without_a_body_there_is_no_length() -> None:
    assert up((b"Content-Length", b"7"), (b"Transfer-Encoding", b"chunked")) == (HOST, VIA, ID)


@pytest.mark.parametrize(
    ("kind", "json"),
    [
        (b"application/json", True),
        (b"Application/JSON ; charset=utf-8", True),
        (b"application/problem+json", True),
        (b"application/x-ndjson", False),
        (b"text/event-stream", False),
        (b"+json", False),
        (b"", False),
    ],
)
def test_json_is_told_by_its_type(kind: bytes, json: bool) -> None:
    assert is_json(Headers(((b"content-TYPE", kind),))) is json
    assert not is_json(Headers())


def test_the_length_of_an_answer_without_content_does_not_reach_the_client() -> None:
    fields = Headers(((b"Content-Length", b"7"), (b"A", b"1")))
    assert downward(Response(204, "No Content", fields)) == ((b"A", b"1"),)
    assert downward(Response(304, "Not Modified", fields)) == fields.raw


def test_we_may_be_told_not_to_name_ourselves() -> None:
    assert up(via=False) == (HOST, ID)


def test_via_names_the_version_in_which_the_request_came() -> None:
    assert (b"Via", b"1.0 avala-proxy") in up(version=b"1.0")


def test_our_via_follows_those_of_earlier_proxies_on_a_line_of_its_own() -> None:
    earlier = ((b"via", b"1.1 a"), (b"A", b"1"), (b"Via", b"1.1 b"), (b"B", b"2"))
    assert up(*earlier) == (HOST, *earlier[:3], VIA, earlier[3], ID)


def test_a_request_id_of_the_client_is_kept_and_a_missing_one_made() -> None:
    assert up((b"x-request-ID", b"theirs")) == (HOST, (b"x-request-ID", b"theirs"), VIA)
    assert up() == (HOST, VIA, ID)


def test_the_client_is_described_only_if_asked() -> None:
    described = up((b"Host", b"proxy:8080"), forwarded=True)
    assert described == (
        HOST,
        VIA,
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Host", b"proxy:8080"),
        ID,
    )
    assert (b"X-Forwarded-Proto", b"https") in up(forwarded=True, secure=True)
    assert not any(name == b"X-Forwarded-Host" for name, _ in up(forwarded=True))


def test_the_peer_goes_to_the_end_of_the_path_and_the_rest_is_left_as_earlier_proxies_said() -> None:
    earlier = (
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"X-Forwarded-For", b"10.0.0.2"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"public.example"),
    )
    appended = (b"X-Forwarded-For", b"10.0.0.2, 192.0.2.7")
    assert up(*earlier, forwarded=True) == (HOST, earlier[0], appended, *earlier[2:], VIA, ID)


def test_an_empty_path_becomes_the_peer() -> None:
    assert (b"X-Forwarded-For", b"192.0.2.7") in up((b"X-Forwarded-For", b""), forwarded=True)


@pytest.mark.parametrize("evil", ["", "1.2.3.4\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_what_would_forge_a_field_or_says_nothing_is_not_added(evil: str) -> None:
    fields = up(forwarded=True, peer=evil, request_id=evil)
    assert fields == (HOST, VIA, (b"X-Forwarded-Proto", b"http"))
    path = (b"X-Forwarded-For", b"10.0.0.1")
    assert path in up(path, forwarded=True, peer=evil)


def test_a_peer_beyond_ascii_cannot_break_the_head() -> None:
    assert (b"X-Forwarded-For", b"fe80::1%?") in up(forwarded=True, peer="fe80::1%ä")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"wait=20", None),
        (b" WAIT = 20 , ", None),
        (b"respond-async, wait=20", b"respond-async"),
        (b"a;x=1 ,wait=20; y, b", b"a;x=1, b"),
        (b'a="x, wait=3", Wait="20", wait', b'a="x, wait=3"'),
        (b"respond-async ,  handling=lenient", b"respond-async ,  handling=lenient"),
        (b"waiting=20", b"waiting=20"),
        (b"", b""),
        (b'\xe4="\\",wait=1"', b'\xe4="\\",wait=1"'),
    ],
)
def test_of_the_preferences_only_wait_is_ours(before: bytes, after: bytes | None) -> None:
    expected = () if after is None else ((b"prefer", after),)
    assert up((b"prefer", before)) == (HOST, *expected, VIA, ID)


@pytest.mark.parametrize(
    ("values", "wait"),
    [
        (["wait=20"], 20.0),
        (["WAIT = 20"], 20.0),
        (['wait="20"'], 20.0),
        (["wait=0"], 0.0),
        (["respond-async", "handling=lenient, wait=7;x=y"], 7.0),
        (['a="wait=1, b", wait=2'], 2.0),
        (["wait=5, wait=9"], 5.0),
        (["wait=5", "wait=9"], 5.0),
        (["wait=999999999999"], 86400.0),
        (["wait=soon, wait=9"], None),
        (["wait=-5"], None),
        (["wait=1.5"], None),
        (['wait="20'], None),
        (["wait=" + "9" * 5000], None),
        (["wait=nan"], None),
        (["wait=٣"], None),
        (["wait"], None),
        (["waiting=3"], None),
        ([";wait=3"], None),
        ([";"], None),
        (['"wait=3'], None),
        ([""], None),
        ([], None),
    ],
)
def test_a_preferred_wait_is_read(values: list[str], wait: float | None) -> None:
    encoded = tuple((b"Prefer", value.encode()) for value in values)
    assert prefer_wait(Headers(encoded)) == wait


@pytest.mark.parametrize(
    ("values", "stream"),
    [
        (["text/event-stream"], True),
        (["Text/Event-Stream;charset=utf-8"], True),
        (["application/json, text/event-stream;q=0.5"], True),
        (["application/json", "text/event-stream"], True),
        (["text/event-stream;q=0, text/event-stream;q=1"], True),
        (["text/event-stream;q=0"], False),
        (["text/event-stream ; x=1 ; Q = 0.000"], False),
        (['application/json;x="a, text/event-stream"'], False),
        (["text/event-streams"], False),
        (["text/*", "*/*"], False),
        ([";"], False),
        ([""], False),
        ([], False),
    ],
)
def test_a_client_accepts_a_stream_if_it_names_it(values: list[str], stream: bool) -> None:
    assert accept(*values) is stream


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", ['"', '\\"', '"\\', '"\\"', ",", ";", 'a="', "wait,", "a=;", ' "', "\\"])
def test_a_hostile_list_takes_no_longer_than_it_is_long(piece: str) -> None:
    value = 'x="' + piece * 20_000
    assert prefer(value) is None
    assert not accept(value)
    assert up((b"Prefer", value.encode()), (b"Connection", value.encode()))


_names = st.sampled_from(
    [b"Host", b"Content-Length", b"Connection", b"TE", b"Prefer", b"Via", b"X-A", b"x-b", b"X-Forwarded-For"]
)
_values = st.binary(max_size=30) | st.lists(
    st.sampled_from([b"x-a", b"wait=1", b"host", b"close", b'"', b";", b"x"])
).map(b", ".join)


@given(st.lists(st.tuples(_names, _values)), st.none() | st.integers(0, 10**9), st.booleans())
def test_whatever_comes_one_host_one_length_and_nothing_hop_by_hop_goes_up(
    fields: list[tuple[bytes, bytes]], size: int | None, forwarded: bool
) -> None:
    names = [name.lower() for name, _ in up(*fields, size=size, forwarded=forwarded)]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") == (size is not None)
    assert not HOP_BY_HOP.intersection(names)


@given(st.lists(st.tuples(_names, _values)))
def test_downward_is_a_selection_in_the_same_order(fields: list[tuple[bytes, bytes]]) -> None:
    rest = iter(fields)
    assert all(field in rest for field in down(*fields))


@given(st.lists(st.text('wait=0123456789;," \\', max_size=30)))
def test_no_preference_makes_reading_fail_or_a_wait_out_of_bounds(values: list[str]) -> None:
    wait = prefer(*values)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


def parented(*fields: tuple[bytes, bytes], continued: bool = True) -> Fields:
    return with_parent(Headers(fields), b"00-ours", continued=continued).raw


STATE, BAGGAGE = (b"TraceState", b"a=1"), (b"baggage", b"user=7")


def test_another_parent_stands_where_the_clients_stood() -> None:
    asked = (BAGGAGE, (b"Traceparent", b"00-client"), STATE)
    assert parented(*asked) == (BAGGAGE, (b"Traceparent", b"00-ours"), STATE)


def test_without_a_parent_of_the_clients_it_comes_last() -> None:
    assert parented(BAGGAGE) == (BAGGAGE, (b"traceparent", b"00-ours"))


def test_of_several_parents_one_is_left() -> None:
    asked = ((b"traceparent", b"00-a"), BAGGAGE, (b"traceparent", b"00-b"))
    assert parented(*asked, continued=False) == ((b"traceparent", b"00-ours"), BAGGAGE)


def test_the_state_of_a_trace_that_is_not_continued_goes_no_further() -> None:
    assert parented(STATE, BAGGAGE, continued=False) == (BAGGAGE, (b"traceparent", b"00-ours"))


def test_trace_fields_of_a_client_cross_untouched() -> None:
    fields = ((b"Traceparent", b"00-client"), (b"traceState", b" a=1,b=\xff"), BAGGAGE)
    assert up(*fields) == (HOST, *fields, VIA, ID)
