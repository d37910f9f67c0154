"""The table of errors: every class has a fault, and only what is safe is called repeatable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import RouteRepeat
from proxy.errors import ErrorClass, Fault, UpstreamError
from proxy.messages import Headers, Request, Response
from proxy.policy.classify import FAULT_OF, IDEMPOTENT, TRANSIENT, judge, structured_code

NETWORK = [error_class for error_class in ErrorClass if FAULT_OF[error_class] is Fault.NETWORK]


def request(method: str = "GET", target: str = "/api/v1/tasks/?a=/b", **fields: str) -> Request:
    raw = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())
    return Request(method, target, Headers(raw), "127.0.0.1", arrived=0.0, deadline=300.0, id="r")


def answer(status: int, **fields: str) -> Response:
    raw = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items())
    return Response(status, "", Headers(raw))


def failure(error_class: ErrorClass, *, written: bool = True) -> UpstreamError:
    return UpstreamError(error_class, "it broke", written=written)


def test_every_class_has_a_fault() -> None:
    assert set(FAULT_OF) == set(ErrorClass)


def test_a_class_of_the_proxy_is_never_transient() -> None:
    assert all(FAULT_OF[error_class] in (Fault.UPSTREAM, Fault.NETWORK) for error_class in TRANSIENT)


@pytest.mark.parametrize(
    ("status", "error_class", "fault", "transient"),
    [
        (100, "none", "none", False),
        (200, "none", "none", False),
        (304, "none", "none", False),
        (399, "none", "none", False),
        (400, "validation", "client", False),
        (401, "authentication", "client", False),
        (402, "client_error", "client", False),
        (403, "permission", "client", False),
        (404, "not_found", "client", False),
        (405, "method_not_allowed", "client", False),
        (408, "client_error", "client", False),
        (409, "conflict", "client", False),
        (413, "payload_too_large", "client", False),
        (422, "validation", "client", False),
        (429, "rate_limited", "upstream", True),
        (499, "client_error", "client", False),
        (500, "server_error", "upstream", True),
        (501, "upstream_error", "upstream", False),
        (502, "bad_gateway", "upstream", True),
        (503, "unavailable", "upstream", True),
        (504, "gateway_timeout", "upstream", True),
        (505, "upstream_error", "upstream", False),
        (599, "upstream_error", "upstream", False),
        (999, "upstream_error", "upstream", False),
        (0, "upstream_error", "upstream", False),
    ],
)
def test_a_status_has_its_class(status: int, error_class: str, fault: str, transient: bool) -> None:
    judgement = judge(answer(status), request())
    assert (judgement.error_class, judgement.fault, judgement.transient) == (error_class, fault, transient)


@pytest.mark.parametrize(
    ("status", "code", "error_class"),
    [
        (403, "plan_insufficient", "plan_insufficient"),
        (403, "scope_required", "scope_required"),
        (403, "something_new", "permission"),
        (403, "rate_limited", "permission"),
        (404, "scope_required", "not_found"),
        (200, "scope_required", "none"),
    ],
)
def test_a_code_tells_one_403_from_another_and_nothing_else(status: int, code: str, error_class: str) -> None:
    assert judge(answer(status), request(), code=code).error_class == error_class


@pytest.mark.parametrize("error_class", NETWORK)
def test_a_network_failure_is_transient(error_class: ErrorClass) -> None:
    judgement = judge(failure(error_class), request())
    assert (judgement.fault, judgement.transient) == (Fault.NETWORK, True)


@pytest.mark.parametrize("error_class", [ErrorClass.CLIENT_DISCONNECTED, ErrorClass.INTERNAL_ERROR])
def test_a_client_that_left_and_a_fault_of_ours_are_not_transient(error_class: ErrorClass) -> None:
    assert not judge(failure(error_class), request()).transient


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_an_idempotent_method_may_be_repeated_after_anything_transient(method: str) -> None:
    outcomes = [answer(status) for status in (500, 502, 503, 504)] + [failure(each) for each in NETWORK]
    assert all(judge(outcome, request(method)).repeatable for outcome in outcomes)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND", "get", "Put"])
def test_another_method_may_not(method: str) -> None:
    outcomes = [answer(status) for status in (500, 502, 503, 504)] + [failure(each) for each in NETWORK]
    assert not any(judge(outcome, request(method)).repeatable for outcome in outcomes)


@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND", "GET"])
def test_any_method_may_be_repeated_after_a_429_or_when_nothing_was_sent(method: str) -> None:
    assert judge(answer(429), request(method)).repeatable
    assert judge(failure(ErrorClass.CONNECTION_REFUSED, written=False), request(method)).repeatable


@pytest.mark.parametrize(
    ("status", "retry_after", "repeatable"), [(503, "5", True), (503, " ", False), (500, "5", False)]
)
def test_a_post_may_be_repeated_after_a_503_that_says_when(
    status: int, retry_after: str, repeatable: bool
) -> None:
    assert judge(answer(status, retry_after=retry_after), request("POST")).repeatable is repeatable


@pytest.mark.parametrize(("key", "repeatable"), [("k-1", True), ('"k"', True), ("", False), (' "" ', False)])
def test_an_idempotency_key_makes_any_request_repeatable_unless_it_is_empty(
    key: str, repeatable: bool
) -> None:
    assert judge(answer(500), request("POST", Idempotency_Key=key)).repeatable is repeatable


def test_a_route_can_be_declared_repeatable_always() -> None:
    exceptions = [RouteRepeat(methods=("POST",), paths=("/api/v1/tasks/",), repeat="always")]
    assert judge(answer(500), request("POST"), exceptions=exceptions).repeatable
    assert not judge(answer(500), request("PATCH"), exceptions=exceptions).repeatable
    assert not judge(answer(500), request("POST", "/api/v1/other/"), exceptions=exceptions).repeatable


def test_a_route_declared_never_is_repeated_only_when_nothing_was_done() -> None:
    exceptions = [RouteRepeat(paths=("/api/**",), repeat="never")]
    asked = request("GET", Idempotency_Key="k")
    assert not judge(answer(500), asked, exceptions=exceptions).repeatable
    assert not judge(answer(503, Retry_After="1"), asked, exceptions=exceptions).repeatable
    assert not judge(failure(ErrorClass.READ_TIMEOUT), asked, exceptions=exceptions).repeatable
    assert judge(answer(429), asked, exceptions=exceptions).repeatable
    assert judge(failure(ErrorClass.DNS_ERROR, written=False), asked, exceptions=exceptions).repeatable


def test_the_first_exception_that_matches_counts() -> None:
    exceptions = [
        RouteRepeat(paths=("/elsewhere/",), repeat="always"),
        RouteRepeat(paths=("/api/v1/tasks/",), repeat="never"),
        RouteRepeat(paths=("/api/**",), repeat="always"),
    ]
    assert not judge(answer(500), request("POST"), exceptions=exceptions).repeatable
    assert judge(answer(500), request("POST", "/api/v1/x/"), exceptions=exceptions).repeatable


@given(st.sampled_from([*IDEMPOTENT, "POST", "PATCH"]), st.integers(0, 999), st.text(max_size=20))
def test_no_method_and_no_code_changes_what_is_transient(method: str, status: int, code: str) -> None:
    judgement = judge(answer(status), request(method), code=code)
    assert judgement.fault is FAULT_OF[judgement.error_class]
    assert judgement.transient == (status in (429, 500, 502, 503, 504))


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599, 0])
def test_an_answer_that_is_the_servers_fault_speaks_against_its_health(status: int) -> None:
    assert judge(answer(status), request("POST")).is_failure


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 413, 422, 429])
def test_no_other_answer_does_nor_does_a_refusal_by_a_limit(status: int) -> None:
    assert not judge(answer(status), request()).is_failure


def test_every_failure_of_the_network_does_and_no_fault_of_ours_or_a_clients() -> None:
    failures = {each for each in ErrorClass if judge(failure(each), request()).is_failure}
    assert failures >= set(NETWORK)
    assert all(FAULT_OF[each] in (Fault.NETWORK, Fault.UPSTREAM) for each in failures)
    assert ErrorClass.RATE_LIMITED not in failures
    assert ErrorClass.CIRCUIT_OPEN not in failures


def test_the_code_of_an_error_body_is_read() -> None:
    assert structured_code(b'{"detail": "No.", "code": "scope_required"}') == "scope_required"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>403</html>",
        b'{"detail": "No."}',
        b'{"code": null}',
        b'{"code": 7}',
        b'{"code": ["scope_required"]}',
        b'["code"]',
        b'"code"',
        b"\xff\xfe\x00\xd8",
        b'{"code": "scope_required"',
        b"[" * 1_000_000,
        b'{"code":' * 200_000,
        b'{"code": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_a_body_without_a_code_has_none_however_hostile(content: bytes) -> None:
    assert structured_code(content) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_a_code_fail(content: bytes) -> None:
    assert structured_code(content) is None or "code" in json.loads(content)
