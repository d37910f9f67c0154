"""The settings of the shared store: what its URL may be, and what goes together."""

from typing import Any

import pytest
from pydantic import SecretStr

from proxy.config import ConfigError, Redis, Settings, load
from proxy.config_redis import StorePlace, parse_store

SECRET = "0123456789abcdef"
URL = "redis://store:6379/0"


def refusal(**redis: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load(overrides={"redis": redis})
    (problem,) = refused.value.problems
    return str(problem)


def test_without_a_url_nothing_is_shared() -> None:
    assert not Settings().redis.shared
    assert Redis(url=URL, secret=SecretStr(SECRET)).shared


def test_the_place_of_no_store_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not set"):
        _ = Redis().place


@pytest.mark.parametrize(
    ("url", "place", "shown"),
    [
        ("redis://Store", StorePlace("single", False, (("store", 6379),)), "redis://store:6379/0"),
        ("rediss://s:1/2", StorePlace("single", True, (("s", 1),), db=2), "rediss://s:1/2"),
        ("redis://[::1]", StorePlace("single", False, (("::1", 6379),)), "redis://[::1]:6379/0"),
        ("unix:///run/s", StorePlace("unix", path="/run/s"), "unix:///run/s?db=0"),
        ("unix:///run/s?db=3", StorePlace("unix", path="/run/s", db=3), "unix:///run/s?db=3"),
        (
            "redis+sentinel://a:1,b/main",
            StorePlace("sentinel", False, (("a", 1), ("b", 26379)), service="main"),
            "redis+sentinel://a:1,b:26379/main/0",
        ),
        (
            "rediss+sentinel://a/main/4",
            StorePlace("sentinel", True, (("a", 26379),), service="main", db=4),
            "rediss+sentinel://a:26379/main/4",
        ),
        (
            "redis+cluster://a:1,b",
            StorePlace("cluster", False, (("a", 1), ("b", 6379))),
            "redis+cluster://a:1,b:6379",
        ),
        ("rediss+cluster://a/", StorePlace("cluster", True, (("a", 6379),)), "rediss+cluster://a:6379"),
    ],
)
def test_a_url_is_taken_apart_and_written_out(url: str, place: StorePlace, shown: str) -> None:
    assert parse_store(url) == place
    assert Redis(url=url, secret=SecretStr(SECRET)).url == shown
    assert parse_store(shown) == place


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("store:6379", "is no URL of a store"),
        ("http://store", "has a scheme that no store has"),
        ("redisss://store", "has a scheme that no store has"),
        ("rediss+other://store", "has a scheme that no store has"),
        ("redis://", "has a server that is no HOST:PORT"),
        ("redis://store:0", "has a server with port 0"),
        ("redis://store/one", "names a database that is no number"),
        ("redis://store?db=1", "has a query or a fragment"),
        ("redis://a,b", "redis+sentinel:// or redis+cluster://"),
        ("unix://store/socket", "is no Unix socket"),
        ("unix:///socket?password=hunter2", "is no Unix socket"),
        ("redis+sentinel://a", "does not say what the sentinels call the primary"),
        ("redis+cluster://a/1", "names a database, and a cluster has none"),
        ("redis://hunter2@store", "put it in redis.username"),
        ("redis://:hunter2@store", "redis.password_file or redis.password"),
        ("redis://me:hunter2@store/0", "redis.password_file or redis.password"),
        ("unix://me:hunter2@/socket", "redis.password_file or redis.password"),
    ],
)
def test_an_unfit_url_is_told_without_being_repeated(url: str, told: str) -> None:
    said = refusal(url=url, secret=SECRET)
    assert told in said
    assert "redis.url" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("redis", "told"),
    [
        ({"url": URL}, "redis.secret_file is missing"),
        ({"url": URL, "secret": SECRET, "secret_file": "/run/s"}, "`secret_file` or else `secret`"),
        ({"password": "hunter2", "password_file": "/run/s"}, "`password_file` or else `password`"),
        ({"url": URL, "secret": SECRET, "ca": "/run/ca.pem"}, "rediss:// in redis.url"),
        ({"secret": "hunter2"}, "16 to 1024 visible ASCII characters"),
        ({"prefix": "a{b}"}, "redis.prefix"),
        ({"prefix": "a b"}, "redis.prefix"),
        ({"timeout": 0.5}, "0.4"),
        ({"timeout": 0.01}, "0.02"),
        ({"replicas": 0}, "redis.replicas"),
    ],
)
def test_what_does_not_go_together_is_told(redis: dict[str, Any], told: str) -> None:
    said = refusal(**redis)
    assert told in said
    assert "hunter2" not in said


def test_a_file_of_the_secret_is_enough() -> None:
    assert load(overrides={"redis": {"url": URL, "secret_file": "/run/secrets/s"}}).redis.shared
