"""Path patterns: what `*` and `**` stand for, and that no path makes matching slow."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.paths import compile_paths


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/api/v1/signup/", "/api/v1/signup/"),
        ("/api/v1/**/upload/**", "/api/v1/fleet/recordings/x/upload/init/"),
        ("/api/v1/**/upload/**", "/api/v1/upload/"),
        ("/api/v1/**/upload/**", "/api/v1/upload/upload/upload/"),
        ("/api/v1/uploads/**", "/api/v1/uploads/"),
        ("/api/v1/uploads/**", "/api/v1/uploads/a/b"),
        ("/api/*/x", "/api/v1/x"),
        ("/v*", "/v"),
        ("/v*-beta*x", "/v1-beta-betax"),
        ("/**/a*b*c/d", "/acb/abcbc/d"),
        ("/**/a/**/a/**/b", "/a/b/a/b"),
        ("/a/**/**/b", "/a/b"),
        ("**", "/"),
        ("/**", "/a/b"),
        ("**/upload/", "/upload/"),
        ("**/upload/", "/x/y/upload/"),
        ("/a.b", "/a.b"),
        ("/api/v1/uploads/**", "/api/v1/%75ploads/x"),
        ("/**/b", "/a\n/b"),
    ],
)
def test_a_pattern_matches_a_path(pattern: str, path: str) -> None:
    assert compile_paths([pattern])(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/api/v1/signup/", "/api/v1/signup"),
        ("/api/v1/signup/", "/api/v1/signup/x"),
        ("/api/v1/signup/", "/api/v1/signup/\n"),
        ("/api/v1/**/upload/**", "/api/v1x/upload/"),
        ("/api/v1/**/upload/**", "/api/v1/upload"),
        ("/api/v1/**/upload/**", "/api/v1/manual-upload/"),
        ("/api/v1/uploads/**", "/api/v1/uploads"),
        ("/api/*/x", "/api//x"),
        ("/api/*/x", "/api/v1/v2/x"),
        ("/v*-beta*x", "/v1-betx"),
        ("/a.b", "/a+b"),
        ("/**/a/**/a/**/b", "/a/b/b"),
    ],
)
def test_a_pattern_does_not_match_a_path(pattern: str, path: str) -> None:
    assert not compile_paths([pattern])(path)


def test_no_patterns_match_everything() -> None:
    assert compile_paths(())("anything, even this")


def test_any_of_several_patterns_may_match() -> None:
    matches = compile_paths(["/a/**", "/b/"])
    assert [matches(path) for path in ("/a/x", "/b/", "/c/", "/b/a/")] == [True, True, False, False]


def test_equal_patterns_are_compiled_once() -> None:
    assert compile_paths(["/once/*"]) is compile_paths(("/once/*",))


@pytest.mark.parametrize("pattern", ["", "api/", "*", "/a**", "/a/**b/", "/***/"])
def test_a_pattern_without_meaning_is_an_error_that_shows_it(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        compile_paths(["/fine/", pattern])


def _agrees(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Match by definition, in exponential time: the reference for the property below."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_agrees(pattern[1:], path[skipped:]) for skipped in range(len(path) + 1))
    segment = ".+" if pattern[0] == "*" else pattern[0].replace("*", ".*")
    return bool(path) and re.fullmatch(segment, path[0]) is not None and _agrees(pattern[1:], path[1:])


_segments = st.text("ab", min_size=1, max_size=4)
_globs = st.one_of(
    st.just("**"), st.text("ab*", min_size=1, max_size=5).filter(lambda text: "**" not in text)
)


@given(st.lists(_globs, max_size=5), st.lists(_segments, max_size=6))
def test_matching_from_the_left_finds_what_trying_everything_finds(
    pattern: list[str], path: list[str]
) -> None:
    # The end is a segment too, so that a trailing `**` is not asked to match nothing at all.
    matches = compile_paths(["/" + "/".join([*pattern, "end"])])
    assert matches("/" + "/".join([*path, "end"])) == _agrees([*pattern, "end"], [*path, "end"])


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "pattern", ["/**/a*b*c/**/a*b*d/**/x", "/**/a*b*c*d*e", "/**/*a*a*a*b", "/**/a/a/a/b"]
)
@pytest.mark.parametrize("piece", ["a", "/", "/a", "/abc", "ab", "/abcabc", "%61", "%"])
def test_a_hostile_path_takes_no_longer_than_it_is_long(pattern: str, piece: str) -> None:
    assert not compile_paths([pattern])("/" + piece * 10_000 + "!")


def test_bytes_that_are_no_utf8_are_matched_as_they_are() -> None:
    assert compile_paths(["/a/*/b"])("/a/\udcff%ff/b")
