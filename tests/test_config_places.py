"""Where the proxy may be told to listen."""

import pytest

from proxy import config_places as places
from proxy.config import Listen
from proxy.config_places import Place


@pytest.mark.parametrize(
    ("text", "place", "local"),
    [
        ("127.0.0.1:8080", Place("http", "127.0.0.1", 8080), True),
        ("localhost:0", Place("http", "localhost", 0), True),
        ("[::1]:80", Place("http", "::1", 80), True),
        ("0.0.0.0:80", Place("http", "0.0.0.0", 80), False),
        ("box.internal:80", Place("http", "box.internal", 80), False),
        ("https://10.0.0.1:8443", Place("https", "10.0.0.1", 8443), False),
        ("unix:/run/avala proxy.sock", Place("unix", path="/run/avala proxy.sock"), True),
    ],
)
def test_a_place_is_an_address_with_or_without_tls_or_a_socket(text: str, place: Place, local: bool) -> None:
    assert places.parse_place(text) == place
    assert places.place(text) == text
    assert place.local is local


@pytest.mark.parametrize(
    "text", ["", "https://", "https://host", "http://host:80", "https://host:80/", "unix:", "unix:relative"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unix:/"):
        places.parse_place(text)


def test_a_socket_has_a_path_that_the_system_can_take() -> None:
    longest = "/" + "x" * 106
    assert places.parse_place("unix:" + longest).path == longest
    with pytest.raises(ValueError, match="107 bytes"):
        places.parse_place("unix:" + longest + "x")


def test_there_is_at_least_one_place() -> None:
    assert Listen(addresses=("127.0.0.1:80",)).addresses == ("127.0.0.1:80",)
    with pytest.raises(ValueError, match="at least one"):
        Listen(addresses=())


def test_networks_are_normalised() -> None:
    assert places.network("10.0.0.7") == "10.0.0.7/32"
    assert places.network("fe80::/10") == "fe80::/10"
    for text in ("10.0.0.1/8", "host", ""):
        with pytest.raises(ValueError, match="an address or a network"):
            places.network(text)


@pytest.mark.parametrize(
    ("one", "other", "do"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("localhost:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("10.0.0.1:80", "0.0.0.0:80", True),
        ("[::]:80", "[::1]:80", True),
        ("https://0.0.0.0:80", "127.0.0.1:80", True),
        ("unix:/run/a", "unix:/run/a", True),
        ("unix:/run/a", "unix:/run/b", False),
        ("unix:/run/a", "127.0.0.1:80", False),
        ("[::]:80", "0.0.0.0:80", False),  # asyncio listens on IPv6 alone
    ],
)
def test_two_addresses_collide_on_one_port_of_one_host(one: str, other: str, do: bool) -> None:
    assert places.collide(places.parse_place(one), places.parse_place(other)) is do


@pytest.mark.parametrize(
    ("url", "listening", "does"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost:8080/prefix", "127.0.0.1:8080", True),
        ("http://localhost:8080", "0.0.0.0:8080", True),
        ("http://127.0.0.2:8080", "0.0.0.0:8080", True),
        ("http://[::1]:8080", "[::]:8080", True),
        ("http://box.internal:8080", "box.internal:8080", True),
        ("http://localhost", "127.0.0.1:80", True),
        ("http://api.internal:8080", "0.0.0.0:8080", False),
        ("http://10.0.0.1:8080", "0.0.0.0:8080", False),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", False),
        ("http://[::1]:8080", "127.0.0.1:8080", False),
        ("http://[::1]:80", "unix:/run/a", False),
    ],
)
def test_a_url_leads_to_an_address_on_the_same_machine_and_port(url: str, listening: str, does: bool) -> None:
    assert places.leads_to(url, places.parse_place(listening)) is does
