"""How a client reached us: what its own words count for, and what those of a trusted proxy do."""

import time
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers
from proxy.policy.arrival import Arrival, Arrivals

HERE = "127.0.0.1:8080"
PROXY = "10.0.0.9"
TRUSTED = ("10.0.0.0/8", "2001:db8:1::/48")


def of(
    *fields: tuple[bytes, str],
    peer: str = PROXY,
    secure: bool = False,
    public_url: str | None = None,
    trusted: tuple[str, ...] = TRUSTED,
) -> Arrival:
    headers = Headers(tuple((name, value.encode("latin-1")) for name, value in fields))
    return Arrivals(public_url, trusted).of(headers, peer=peer, secure=secure, here=HERE)


def host(value: str) -> str:
    return of((b"Host", value), peer="192.0.2.1").url


def forwarded(*values: str) -> Arrival:
    return of((b"Host", "inner"), *((b"Forwarded", value) for value in values))


def path(*values: str) -> str:
    return of(*((b"X-Forwarded-For", value) for value in values)).peer


@pytest.mark.parametrize(
    "authority",
    [
        "h",
        "h:1",
        "h:65535",
        "API.example",
        "a_b-c.d.",
        "192.0.2.7:80",
        "[::1]",
        "[2001:db8::7]:443",
        "x" * 253,
    ],
)
def test_the_host_that_the_client_asked_for_is_where_it_reached_us(authority: str) -> None:
    assert host(authority) == f"http://{authority}"
    assert of((b"Host", authority), secure=True).url == f"https://{authority}"


NO_AUTHORITIES = (
    *(
        "",
        " ",
        "h:",
        "h:0",
        "h:65536",
        "h:123456",
        "h:+1",
        "u@h",
        "h/x",
        "h?x",
        "h#x",
        'h"',
        "<h>",
        "h h",
        "h\t",
    ),
    *(
        "[::1",
        "::1",
        "[1.2.3.4]",
        "[::g]",
        "[:::]",
        "[]",
        "[::1]x",
        "[fe80::1%25eth0]",
        "h%0d%0a",
        "a,b",
        "h;x",
    ),
    *("-h", ".h", "caf\xe9", "x" * 254, "h\\x", "h'", "\u00b2", "h:\u00b2"),
)


@pytest.mark.parametrize("unfit", NO_AUTHORITIES)
def test_what_is_no_authority_is_never_repeated(unfit: str) -> None:
    assert host(unfit) == f"http://{HERE}"


def test_a_request_that_names_no_host_reached_the_sockets_address() -> None:
    assert of().url == f"http://{HERE}"
    assert of(trusted=()).url == f"http://{HERE}"


def test_the_configured_url_wins_over_everything() -> None:
    fields = ((b"Host", "h"), (b"X-Forwarded-Host", "x"), (b"Forwarded", "host=f;proto=http;for=192.0.2.1"))
    assert of(*fields, public_url="https://p/base/") == Arrival("https://p/base", "192.0.2.1")
    assert of(*fields, public_url="https://p", trusted=()) == Arrival("https://p", PROXY)


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8:2::1", "unix", "", "10.0.0.9.example", "10.0.0"])
def test_what_an_untrusted_peer_says_of_others_counts_for_nothing(peer: str) -> None:
    said = of(
        (b"Host", "h"),
        (b"X-Forwarded-Host", "evil"),
        (b"X-Forwarded-Proto", "https"),
        (b"X-Forwarded-For", "198.51.100.1"),
        (b"Forwarded", "for=198.51.100.1;host=evil;proto=https"),
        peer=peer,
    )
    assert said == Arrival("http://h", peer)


@pytest.mark.parametrize("peer", ["10.1.2.3", "2001:db8:1::5", "::ffff:10.0.0.1", "2001:db8:1::5%eth0"])
def test_a_trusted_peer_is_known_however_its_address_is_written(peer: str) -> None:
    assert of((b"X-Forwarded-Host", "x"), peer=peer).url == "http://x"


def test_a_trusted_peer_tells_of_scheme_and_host() -> None:
    fields = ((b"Host", "inner"), (b"X-Forwarded-Proto", "HTTPS"), (b"X-Forwarded-Host", "x:444"))
    assert of(*fields).url == "https://x:444"
    assert of(fields[0], fields[1]).url == "https://inner"
    assert of(fields[0], fields[2], secure=True).url == "https://x:444"
    assert of(*fields, (b"Forwarded", "proto=http;host=f")).url == "http://f"
    assert of(*fields, (b"Forwarded", "proto=http")).url == "http://x:444"
    assert of(*fields, (b"Forwarded", "for=192.0.2.1")).url == "https://x:444"


def test_what_counts_is_the_last_thing_said_because_the_peer_said_that() -> None:
    fields = [
        (b"X-Forwarded-Proto", "http, https"),
        (b"X-Forwarded-Host", "evil"),
        (b"X-Forwarded-Host", "b ,c "),
    ]
    assert of(*fields).url == "https://c"
    assert forwarded("host=evil;proto=http", "host=evil , host=f;proto=https").url == "https://f"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("host=f;proto=https", "https://f"),
        ('Host="f:8443" ; PROTO="https"', "https://f:8443"),
        ("host=f:8443", "http://f:8443"),
        ('host="[2001:db8::7]:8443"', "http://[2001:db8::7]:8443"),
        ('host="\\f";ext="a,b;host=evil\\""', "http://f"),
        (";;host=f;,,", "http://f"),
        ("by=_x;for=unknown;host=f", "http://f"),
        ("proto=ftp;host=f", "http://f"),
        ('proto=https;host="a/b"', "https://inner"),
        ("proto=https;host=a/b", "http://inner"),
        ('host=""', "http://inner"),
        ("host=f;host=g", "http://inner"),
        ("host", "http://inner"),
        ("host =f", "http://inner"),
        ('host="f', "http://inner"),
        ('host="f"g', "http://inner"),
        ("host=f g", "http://inner"),
        ("=f", "http://inner"),
    ],
)
def test_forwarded_is_read_to_the_letter_or_not_at_all(value: str, url: str) -> None:
    assert forwarded(value).url == url


@pytest.mark.parametrize(
    "ours", ["for=192.0.2.1;host=f", 'for="[2001:db8::1]:4711"', 'by="_a";for="192.0.2.1"']
)
@pytest.mark.parametrize(
    "theirs", ['for=6.6.6.6;x="', 'for="6.6.6.6', 'for=6.6.6.6;x="\\', '"', 'host=evil,x="']
)
def test_a_quote_that_the_client_leaves_open_does_not_swallow_what_the_peer_said(
    ours: str, theirs: str
) -> None:
    assert forwarded(f"{theirs}, {ours}") == Arrival("http://inner", PROXY)


@pytest.mark.parametrize(
    ("values", "peer"),
    [
        (["198.51.100.1"], "198.51.100.1"),
        (["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        (["6.6.6.6, 198.51.100.1", "10.0.0.2,, 10.0.0.3"], "198.51.100.1"),
        (["10.0.0.1,10.0.0.2"], "10.0.0.1"),
        (["198.51.100.1:4711"], "198.51.100.1"),
        (["[2001:DB8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:198.51.100.1"], "198.51.100.1"),
        (["198.51.100.1, ::ffff:10.0.0.1"], "198.51.100.1"),
        (["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (["198.51.100.1, _hidden"], PROXY),
        (["fe80::1%<script>"], PROXY),
        (["198.51.100.1 x"], PROXY),
        (["1.2.3"], PROXY),
        (["999.1.1.1"], PROXY),
        ([""], PROXY),
        ([], PROXY),
    ],
)
def test_the_client_is_the_first_on_the_way_back_that_is_not_trusted(values: list[str], peer: str) -> None:
    assert path(*values) == peer


def test_forwarded_tells_of_the_client_too() -> None:
    assert forwarded('for=6.6.6.6, for="[2001:db8::1]:80", for=10.0.0.2').peer == "2001:db8::1"
    assert forwarded("for=6.6.6.6, for=unknown, for=10.0.0.2").peer == "10.0.0.2"
    assert forwarded("for=6.6.6.6, proto=https").peer == PROXY


def test_what_two_fields_say_differently_is_believed_of_neither() -> None:
    plain, other = (b"X-Forwarded-For", "198.51.100.1"), (b"Forwarded", "for=6.6.6.6")
    assert of(plain, other).peer == PROXY
    assert of(plain, (b"Forwarded", "for=6.6.6.6, for=198.51.100.1")).peer == "198.51.100.1"
    assert of(plain, (b"Forwarded", 'for="6.6.6.6')).peer == PROXY
    assert of(plain, (b"Forwarded", "proto=https;host=f")).peer == "198.51.100.1"


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Host", b"forwarded", b"X-Forwarded-For", b"x-forwarded-proto", b"X-Forwarded-Host"]
        ),
        st.text(st.characters(max_codepoint=255))
        | st.lists(
            st.sampled_from(
                [
                    "for=",
                    "host=",
                    "proto=",
                    '"',
                    "\\",
                    ",",
                    ";",
                    " ",
                    "h",
                    ":80",
                    "[::1]",
                    "https",
                    "192.0.2.1",
                    "\n",
                ]
            )
        ).map("".join),
    )
)


@given(FIELDS, st.sampled_from([PROXY, "192.0.2.1", "unix"]), st.booleans())
def test_whatever_is_said_the_outcome_is_an_origin_and_an_address(
    fields: list[tuple[bytes, str]], peer: str, secure: bool
) -> None:
    arrival = of(*fields, peer=peer, secure=secure)
    parts = urlsplit(arrival.url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert arrival.url == f"{parts.scheme}://{parts.netloc}"
    assert arrival.url.isascii()
    assert parts.port is None or 0 < parts.port < 65536
    if arrival.peer != peer:
        assert str(ip_address(arrival.peer)) == arrival.peer


@pytest.mark.parametrize(
    "piece", ['"', "\\", ",", ";", "a=", "for=1", ' "', 'a="\\', "for=10.0.0.1,", "10.0.0.1,", "[", "="]
)
@pytest.mark.parametrize("name", [b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"Host"])
def test_the_longest_field_costs_no_time_that_matters(name: bytes, piece: str) -> None:
    began = time.process_time()
    of((name, piece * (200_000 // len(piece))))
    assert time.process_time() - began < 5.0  # were it quadratic, it would be minutes
