"""A request falls under every limit that matches it; a refusal speaks of one of them."""

from collections.abc import Mapping

from proxy.config import DOCUMENTED_LIMITS, Limit
from proxy.policy.feedback import Feedback, Quota
from proxy.policy.limits import Lane, LimitTable
from tests.fakes import headers, request

TABLE = LimitTable(DOCUMENTED_LIMITS)


def names(method: str = "GET", target: str = "/api/v1/datasets/", **fields: str | None) -> list[str]:
    credential = fields.pop("credential", "team")
    made = request(
        method, target, credential=credential, fields=headers(**{k: v for k, v in fields.items() if v})
    )
    return [lane.limit for lane in TABLE.lanes(made)]


def test_an_authenticated_request_counts_by_the_minute_and_by_the_second() -> None:
    assert names() == ["standard", "burst"]


def test_a_request_without_a_credential_is_anonymous() -> None:
    assert names(credential=None) == ["anonymous"]


def test_a_signup_counts_as_a_signup_whether_or_not_it_has_a_key() -> None:
    assert names("POST", "/api/v1/signup/", credential=None) == ["anonymous", "signup"]
    assert "signup" in names("POST", "/api/v1/signup/")
    assert "signup" not in names("GET", "/api/v1/signup/")


def test_an_inference_needs_room_in_three_limits() -> None:
    assert names("POST", "/api/v1/inference/invoke/") == ["standard", "burst", "inference"]


def test_the_query_does_not_change_what_a_path_is() -> None:
    assert "inference" in names("POST", "/api/v1/inference/invoke/?dry=1")


def test_uploads_and_exports_are_limited_at_once_and_by_the_minute() -> None:
    assert names("POST", "/api/v1/fleet/recordings/7/upload/init/") == ["standard", "burst", "uploads"]
    assert names("POST", "/api/v1/exports/") == ["standard", "burst", "exports"]
    assert names("GET", "/api/v1/exports/7/") == ["standard", "burst"]


def test_a_stream_is_not_counted_by_the_minute() -> None:
    assert names(accept="text/event-stream") == ["burst", "streams"]


def test_each_credential_has_a_budget_of_its_own_and_addresses_share_one() -> None:
    assert Lane("standard", "team") in TABLE.lanes(request(credential="team"))
    assert Lane("standard", "other") in TABLE.lanes(request(credential="other"))
    assert TABLE.lanes(request(credential=None)) == (Lane("anonymous", "address"),)


def test_a_limit_by_credential_that_also_matches_anonymous_requests_has_one_budget_for_them() -> None:
    table = LimitTable([Limit(name="all", requests=1, per=1.0)])
    assert table.lanes(request(credential=None)) == (Lane("all", "anonymous"),)


INFERENCE = TABLE.lanes(request("POST", "/api/v1/inference/invoke/"))


def refused(*quotas: Quota, capacities: Mapping[str, int] | None = None) -> str:
    sizes = {name: limit.size for name, limit in TABLE.by_name.items()} | dict(capacities or {})
    lane = TABLE.refused(INFERENCE, Feedback(quotas=quotas), lambda lane: sizes[lane.limit])
    assert lane is not None
    return lane.limit


def test_a_429_speaks_of_the_limit_whose_size_it_names() -> None:
    assert refused(Quota(limit=100, remaining=0)) == "standard"
    assert refused(Quota(limit=20)) == "burst"


def test_a_429_speaks_of_the_limit_whose_size_has_moved_there() -> None:
    assert refused(Quota(limit=77, remaining=0), capacities={"burst": 77}) == "burst"


def test_a_429_that_names_a_limit_with_room_left_speaks_of_the_narrowest() -> None:
    assert refused(Quota(limit=100, remaining=40)) == "inference"


def test_a_429_that_names_none_or_an_impossible_limit_speaks_of_the_narrowest() -> None:
    assert refused() == "inference"
    assert refused(Quota(limit=7777, remaining=0)) == "inference"


def test_a_429_that_names_a_size_that_none_has_speaks_of_the_first_that_may_have_moved_there() -> None:
    assert refused(Quota(limit=77, remaining=0)) == "standard"


def test_a_429_for_a_request_under_no_limit_speaks_of_none() -> None:
    assert TABLE.refused((), Feedback(quotas=(Quota(limit=100),)), lambda lane: 0) is None


def spoken_of(*quotas: Quota, target: str = "/api/v1/inference/invoke/") -> dict[str, Quota]:
    lanes = TABLE.lanes(request("POST", target))
    found = TABLE.spoken_of(lanes, Feedback(quotas=quotas), lambda lane: TABLE.by_name[lane.limit].size)
    return {lane.limit: quota for lane, quota in found}


def test_an_answer_speaks_of_the_limit_whose_size_it_names_else_of_the_first_that_may_have_moved() -> None:
    assert list(spoken_of(Quota(10))) == ["inference"]
    assert list(spoken_of(Quota(300))) == ["standard"]
    assert list(spoken_of(Quota(100), Quota(20), Quota(10))) == ["standard", "burst", "inference"]
    assert spoken_of(Quota(None, 5)) == spoken_of(Quota(10**6)) == {}


def test_a_window_that_is_told_and_a_reset_beyond_a_window_rule_limits_out() -> None:
    assert list(spoken_of(Quota(30, window=1.0))) == ["burst"]
    assert list(spoken_of(Quota(30, window=60.0))) == ["standard"]
    assert spoken_of(Quota(30, window=3600.0)) == {}
    assert list(spoken_of(Quota(20, reset_in=30.0))) == ["standard"], "a second has no such reset"
    assert spoken_of(Quota(100, reset_in=100.0)) == {}


def test_of_an_at_once_limit_nothing_is_learned_and_its_refusal_is_its_own() -> None:
    exports = TABLE.lanes(request("POST", "/api/v1/exports/"))
    five = Feedback(quotas=(Quota(5, 0),))

    def size(lane: Lane) -> int:
        return TABLE.by_name[lane.limit].size

    assert TABLE.spoken_of(exports, five, size) == ()
    assert TABLE.refused(exports, five, size) == Lane("exports", "team")


def test_lanes_that_are_no_limits_of_this_table_are_never_meant() -> None:
    strange = (Lane("gone", "team"), Lane("breaker", "upstream"))
    told = Feedback(quotas=(Quota(100, 0),))
    assert TABLE.spoken_of(strange, told, lambda lane: 100) == ()
    assert TABLE.refused(strange, told, lambda lane: 100) is None
