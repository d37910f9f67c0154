"""Interim responses go to software that is known to take them, and to nothing else."""

from dataclasses import replace

import pytest

from proxy.config import Family, Interim
from proxy.messages import Headers
from proxy.policy.interim import Families
from tests.fakes import request

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
DEFAULT = Families(Interim().families)
KNOWN = b"python-httpx/0.28.1"


def sent_to(
    *fields: tuple[bytes, bytes], families: Families = DEFAULT, version: bytes = b"1.1"
) -> bytes | None:
    """Return what a client that sends these fields gets while it waits."""
    return families.interim(replace(request(fields=Headers(fields)), version=version))


def sent_to_agent(agent: bytes, families: Families = DEFAULT) -> bytes | None:
    return sent_to((b"Host", b"h"), (b"User-Agent", agent), families=families)


@pytest.mark.parametrize(
    ("agent", "interim"),
    [
        (b"python-httpx/0.28.1", CONTINUE),
        (b"Python/3.11 aiohttp/3.14.5", CONTINUE),
        (b"curl/7.88.1", CONTINUE),
        (b"node", PROCESSING),
        (b"undici", PROCESSING),
        (b"node-fetch", PROCESSING),
        (b"node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", PROCESSING),
        (b"got (https://github.com/sindresorhus/got)", PROCESSING),
        (b"python-requests/2.34.2", CONTINUE),
        (b"python-urllib3/2.8.0", CONTINUE),
        (b"Python-urllib/3.11", CONTINUE),
    ],
    ids=bytes.decode,
)
def test_software_that_is_known_gets_the_one_it_takes_alone_or_behind_an_applications_name(
    agent: bytes, interim: bytes
) -> None:
    assert sent_to_agent(agent) == interim
    assert sent_to_agent(b"acme-import/2.1 (linux; x86_64) " + agent) == interim
    assert sent_to_agent(agent + b" acme-import/2.1") == interim
    assert sent_to_agent(agent.upper()) == interim


def test_every_default_family_is_tried_above() -> None:
    assert {family.agent: sent_to_agent(family.agent.encode()) for family in Interim().families} == {
        **dict.fromkeys(("node", "undici", "node-fetch", "got"), PROCESSING),
        **dict.fromkeys(
            ("python-httpx", "aiohttp", "python-requests", "python-urllib3", "Python-urllib", "curl"),
            CONTINUE,
        ),
    }


@pytest.mark.parametrize(
    "agent",
    [
        b"",
        b" ",
        b"axios/1.7.9",
        b"Go-http-client/1.1",
        b"okhttp/4.12.0",
        b"Apache-HttpClient/4.5.14 (Java/17.0.9)",
        b"Wget/1.21.3",
        b"PostmanRuntime/7.43.0",
        b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
        b"Python/3.11",
        b"PycURL/7.45.6 libcurl/7.88.1 OpenSSL/3.0.19",
        b"python-httpx2/1.0",
        b"my-python-httpx/1.0",
        b"node.js/20",
        b"nodejs curl-like/1",
        b"acme/curl/7.88.1",
        b"caf\xe9/1 \xff",
    ],
    ids=lambda agent: repr(agent)[2:-1],
)
def test_unknown_software_and_names_that_only_look_alike_get_none(agent: bytes) -> None:
    assert sent_to_agent(agent) is None


def test_who_does_not_say_what_it_is_or_says_two_things_gets_none() -> None:
    assert sent_to((b"Host", b"h")) is None
    assert sent_to((b"User-Agent", KNOWN), (b"User-Agent", b"curl/7.88.1")) is None


@pytest.mark.parametrize(
    "agent",
    [
        b"acme/1.0 (python-httpx/0.28.1)",
        b"acme/1.0 (built with curl/7.88.1; node)",
        b"Mozilla/5.0 (compatible; curl/7.88.1) Gecko/20100101",
        b"acme/1.0(node)",
        b"acme/1.0 (x (y) node z)",
        b"acme/1.0 (a \\) node b)",
        b"acme/1.0 (x (curl) node y",
    ],
    ids=bytes.decode,
)
def test_what_is_named_in_a_comment_is_not_what_asks(agent: bytes) -> None:
    assert sent_to_agent(agent) is None


def test_a_comment_does_not_hide_what_stands_beside_it() -> None:
    assert sent_to_agent(b"acme/1.0 (node) python-requests/2.34.2 (curl)") == CONTINUE


def test_http_1_0_gets_none_whoever_speaks_it() -> None:
    assert sent_to((b"User-Agent", KNOWN)) == CONTINUE
    assert sent_to((b"User-Agent", KNOWN), version=b"1.0") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Via", b"1.1 squid"),
        (b"Forwarded", b"for=192.0.2.7"),
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"x-FORWARDED-for", b"192.0.2.7"),
        (b"Via", b""),
    ],
    ids=["via", "forwarded", "x-forwarded-for", "in any case", "an empty one"],
)
def test_who_comes_through_another_proxy_gets_none(name: bytes, value: bytes) -> None:
    assert sent_to((b"User-Agent", KNOWN), (name, value)) is None


def test_the_first_family_counts_in_the_order_of_the_settings_not_of_the_client() -> None:
    both = [b"one/1 two/2", b"two/2 one/1"]
    one, two = Family(agent="one", status=100), Family(agent="two", status=102)
    assert [sent_to_agent(agent, Families([one, two])) for agent in both] == [CONTINUE, CONTINUE]
    assert [sent_to_agent(agent, Families([two, one])) for agent in both] == [PROCESSING, PROCESSING]


def test_the_same_software_twice_gets_what_stands_first() -> None:
    families = Families([Family(agent="Curl", status=100), *Interim().families])
    assert sent_to_agent(b"curl/7.88.1", families) == CONTINUE
    assert sent_to_agent(b"node", families) == PROCESSING


def test_a_service_of_ones_own_can_be_named_and_nobody_can_be() -> None:
    ours = Families([Family(agent="my-service", status=102)])
    assert sent_to_agent(b"my-service/3 (eu-west-1)", ours) == PROCESSING
    assert sent_to_agent(KNOWN, ours) is None
    assert sent_to_agent(KNOWN, Families([])) is None
