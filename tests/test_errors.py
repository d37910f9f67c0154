"""Every answer of the proxy's own has a status, a stable code, and a name that RFC 9209 knows."""

import re
from pathlib import Path

import pytest

from proxy.errors import ErrorClass, Refusal, UpstreamError, UpstreamFailed
from proxy.policy.classify import FAULT_OF

DOCUMENT = Path(__file__).parent.parent / "docs" / "errors.md"
NETWORK = [each for each, fault in FAULT_OF.items() if fault == "network"]


def kinds(kind: type[Refusal] = Refusal) -> list[type[Refusal]]:
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind is not UpstreamFailed])
def test_a_refusal_says_who_made_it(kind: type[Refusal]) -> None:
    refusal = kind("No.", retry_after=3)
    assert refusal.code == f"proxy_{kind.kind or kind.error_class}"
    assert 400 <= refusal.status < 600
    assert refusal.proxy_status
    assert refusal.retry_after == 3


@pytest.mark.parametrize("error_class", NETWORK)
def test_a_network_failure_becomes_a_gateways_answer(error_class: ErrorClass) -> None:
    failed = UpstreamFailed(UpstreamError(error_class, "It broke.", written=True))
    assert failed.status == (504 if error_class.endswith("_timeout") else 502)
    assert failed.proxy_status
    assert failed.detail == "It broke."


def test_no_two_refusals_share_a_code() -> None:
    codes = [kind("No.").code for kind in kinds() if kind not in (Refusal, UpstreamFailed)]
    assert len(codes) == len(set(codes))


def test_every_code_is_explained_in_the_documents() -> None:
    explained = set(re.findall(r'<a id="(\w+)"></a>`\1`', DOCUMENT.read_text()))
    network = [UpstreamFailed(UpstreamError(each, "No.", written=True)) for each in NETWORK]
    ours = [kind("No.") for kind in kinds() if kind not in (Refusal, UpstreamFailed)]
    assert explained == {refusal.code for refusal in (*network, *ours)}


def test_a_network_failure_may_be_named_more_exactly_than_its_class() -> None:
    error = UpstreamError(
        ErrorClass.RESPONSE_INCOMPLETE, "No.", written=True, proxy_status="http_protocol_error"
    )
    assert UpstreamFailed(error).proxy_status == "http_protocol_error"


def test_an_error_shows_what_matters_of_it() -> None:
    error = UpstreamError(ErrorClass.DNS_ERROR, "No such name.", written=False)
    assert repr(error) == "<UpstreamError dns_error written=False: No such name.>"
