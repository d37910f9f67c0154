"""Where a span says that things are."""

import pytest
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
)

from proxy.config import Listen
from proxy.telemetry import spans
from tests.fakes import request


@pytest.mark.parametrize(
    ("listen", "address", "port"),
    [
        (Listen(), "127.0.0.1", 8080),
        (Listen(addresses=("[::1]:0",)), "::1", None),
        (Listen(addresses=("unix:/run/avala.sock",)), "/run/avala.sock", None),
        (Listen(public_url="https://avala.internal/v0"), "avala.internal", 443),
    ],
)
def test_the_proxy_is_where_its_settings_say(listen: Listen, address: str, port: int | None) -> None:
    known = spans.here(listen)
    assert known["server.address"] == address
    assert known.get("server.port") == port


def test_an_upstream_is_told_by_host_and_port_and_not_by_path() -> None:
    assert spans.there("http://[::1]:8000/secret") == {
        "server.address": "::1",
        "server.port": 8000,
        "url.scheme": "http",
    }


def test_the_names_are_those_of_the_conventions() -> None:
    known = {
        value
        for module in (
            error_attributes,
            http_attributes,
            network_attributes,
            server_attributes,
            url_attributes,
        )
        for name, value in vars(module).items()
        if name.isupper()
    }
    said = {**spans.asked(request()), **spans.here(Listen()), **spans.sent(request(), 1)}
    # Not yet stable, and so in no module of stable ones: a client's counterpart of http.route.
    assert said.keys() - known == {"url.template"}
