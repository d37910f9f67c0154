"""Whatever bytes come, every answer is well-formed, belongs to its request, and hides no second request.

The real listener and front stand on a connection in memory and on a virtual clock, so that whoever waits
for ever fails and nobody really waits; the forwarder answers with what it was asked. The judge is h11, which
shares no code with the proxy's parser: of what clients send, of what they get, and of what goes up.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.conversation import Proxy, Seen, running
from tests.fuzz.grammar import conversations, damaged, noise, right, split, uploads
from tests.fuzz.judge import check, check_understanding

# Not traced: it covers nothing that other tests do not, and takes twice as long with it.
pytestmark = [pytest.mark.no_cover, pytest.mark.timeout(300)]

EXPLORE = os.environ.get("FUZZ_EXAMPLES")


def budget(examples: int) -> settings:
    """Run the same cases each time: a red build tells of its own change. With FUZZ_EXAMPLES, run others."""
    return settings(
        max_examples=int(EXPLORE or examples),
        derandomize=EXPLORE is None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # generating is slow under coverage; no input is discarded
    )


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running() as made:
        yield made


@budget(4000)
@given(split(damaged(conversations)))
def test_no_request_is_understood_as_another_than_it_is(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(3000)
@given(split(damaged(uploads)))
def test_no_chunked_body_is_understood_as_another_than_it_is(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(1200)
@given(split(noise))
def test_noise_gets_a_refusal_or_nothing(proxy: Proxy, pieces: list[bytes]) -> None:
    check(proxy, pieces)


@budget(600)
@given(st.data(), st.lists(right(), min_size=1, max_size=3))
def test_requests_without_fault_arrive_however_they_are_cut(
    proxy: Proxy, data: st.DataObject, sent: list[tuple[bytes, Seen]]
) -> None:
    outcome = check(proxy, data.draw(split(st.just(b"".join(content for content, _ in sent)))))
    assert outcome.understood == [seen for _, seen in sent]


@budget(400)
@given(
    st.data(),
    st.lists(right(), min_size=1, max_size=3),
    st.sampled_from([b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n:\r\n"]),
)
def test_a_malformed_request_costs_none_before_it_its_answer(
    proxy: Proxy, data: st.DataObject, sent: list[tuple[bytes, Seen]], bad: bytes
) -> None:
    content = b"".join(content for content, _ in sent) + bad
    outcome = check(proxy, data.draw(split(st.just(content))))
    assert outcome.understood == [seen for _, seen in sent]
    assert outcome.ended[-1].status == 400


@budget(300)
@given(split(damaged(st.one_of(conversations, uploads))))
def test_how_bytes_are_cut_makes_no_difference(proxy: Proxy, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    cut, one_by_one = proxy.converse(pieces), proxy.converse([bytes([byte]) for byte in content])
    assert cut.understood == one_by_one.understood
    assert len(cut.ended) == len(one_by_one.ended)


@budget(500)
@given(split(damaged(conversations)))
def test_a_client_that_leaves_leaves_nothing_behind(proxy: Proxy, pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    check_understanding(proxy.converse(pieces, leave=True), content)
