"""What is taken over while the proxy runs, what needs a new start, and what goes together with neither."""

from pathlib import Path
from typing import Any

import pytest

from proxy.config import ConfigError, Settings
from proxy.config_reload import taken_over

KEY = {"value": "hunter2-hunter2-hunter2"}
CLIENTS = [{"name": "ci", "token": "hunter2-hunter2-hunter2"}]
PUBLIC = {"addresses": ["0.0.0.0:8080"]}


def settings(**tables: Any) -> Settings:
    return Settings(**tables)


def refusal(now: Settings, wanted: Settings) -> str:
    with pytest.raises(ConfigError) as refused:
        taken_over(now, wanted)
    (problem,) = refused.value.problems
    assert "hunter2" not in str(problem)
    return str(problem)


TAKEN: dict[str, Any] = {
    "upstream": {"base_url": "https://other.example", "transit": 2.0},
    "credential": KEY,
    "clients": CLIENTS,
    "headers": {"via": False},
    "links": {"rewrite": False},
    "limits": [{"name": "a", "requests": 5, "per": 1.0, "reserve": 2}],
    "queue": {"size": 7, "longest_wait": 9.0, "callers": [{"name": "a", "weight": 2.0}]},
    "coalescing": {"enabled": False},
    "retry": {"max_retries": 0, "budget": 0.5},
    "breaker": {"failures": 3, "groups": [{"name": "a", "paths": ["/x"]}]},
    "body": {"max_size": 3},
    "log": {"level": "debug"},
}
FIXED: dict[str, Any] = {
    "listen": {"idle_timeout": 5.0},
    "metrics": {"routes": 7},
    "state": {"file": "/var/lib/avala-proxy/state.json"},
    "redis": {"replicas": 2},
    "tracing": {"enabled": True},
    "queue": {"observe": True},
    "log": {"format": "json"},
}


def test_the_same_again_changes_nothing_and_needs_no_new_start() -> None:
    assert taken_over(Settings(), Settings()) == (Settings(), [])


@pytest.mark.parametrize("name", list(TAKEN))
def test_what_is_bound_to_nothing_that_stays_is_taken_over(name: str) -> None:
    wanted = settings(**{name: TAKEN[name]})
    assert wanted != Settings()
    assert taken_over(Settings(), wanted) == (wanted, [])
    assert taken_over(wanted, Settings()) == (Settings(), []), "and back"


def test_all_of_it_is_taken_over_together() -> None:
    wanted = settings(**TAKEN)
    assert taken_over(Settings(), wanted) == (wanted, [])


@pytest.mark.parametrize("name", list(FIXED))
def test_what_is_bound_to_sockets_files_or_the_metrics_page_stays_and_is_named(name: str) -> None:
    wanted = settings(**{name: FIXED[name]})
    named = {"queue": "queue.observe", "log": "log.format"}.get(name, name)
    assert taken_over(Settings(), wanted) == (Settings(), [named])
    assert taken_over(wanted, Settings()) == (wanted, [named]), "and back"


def test_every_setting_is_taken_over_or_named() -> None:
    assert set(Settings.model_fields) == TAKEN.keys() | FIXED.keys()


def test_of_a_table_in_which_one_setting_stays_the_others_are_taken_over() -> None:
    wanted = settings(queue={"observe": True, "size": 7}, log={"format": "json", "level": "debug"})
    got, left = taken_over(Settings(), wanted)
    assert (got.queue.observe, got.queue.size) == (False, 7)
    assert (got.log.format, got.log.level) == ("auto", "debug")
    assert sorted(left) == ["log.format", "queue.observe"]


def test_what_needs_a_new_start_does_not_hold_up_the_rest() -> None:
    wanted = settings(**{name: TAKEN[name] | FIXED.get(name, {}) for name in ("queue", "log", "retry")})
    got, left = taken_over(Settings(), wanted)
    assert got.retry == wanted.retry
    assert sorted(left) == ["log.format", "queue.observe"]


def test_a_key_is_not_lent_to_everybody_because_the_old_addresses_stay() -> None:
    """By itself what is wanted is safe: the key, and loopback addresses. But these need a new start."""
    public = settings(listen=PUBLIC)
    wanted = settings(credential=KEY)
    told = refusal(public, wanted)
    assert told.startswith(
        "listen.addresses has 0.0.0.0:8080, where anybody could use the key that the proxy holds; allowed: "
    )


def test_the_tokens_that_keep_a_key_from_everybody_cannot_be_taken_away_while_the_addresses_stay() -> None:
    running = settings(listen=PUBLIC, credential=KEY, clients=CLIENTS)
    assert refusal(running, settings(credential=KEY)).startswith("listen.addresses has 0.0.0.0:8080, where")
    got, left = taken_over(running, settings(clients=CLIENTS))
    assert (got.holds_key, left) == (False, ["listen"]), "with the key gone, there is nothing to lend"


def test_public_addresses_with_a_key_are_wanted_in_vain_without_tokens() -> None:
    """They would be refused at a start, and are before a reload comes so far."""
    with pytest.raises(ValueError, match="anybody could use the key"):
        settings(listen=PUBLIC, credential=KEY)
    got, left = taken_over(Settings(), settings(listen=PUBLIC, credential=KEY, clients=CLIENTS))
    assert (got.listen.addresses, left) == (("127.0.0.1:8080",), ["listen"])


def test_certificates_that_are_demanded_of_clients_are_still_demanded_when_that_is_not_wanted_any_more(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tls.pem"
    file.touch()
    tls = {"certificate": str(file), "key": str(file), "client_ca": str(file)}
    running = settings(listen={"addresses": ["https://0.0.0.0:8443"], "tls": tls}, credential=KEY)
    got, left = taken_over(running, settings(credential=KEY))
    assert got.listen.tls.client_ca == str(file)
    assert left == ["listen"]


def test_an_upstream_that_leads_to_an_address_that_stays_is_a_loop() -> None:
    wanted = settings(
        upstream={"base_url": "http://127.0.0.1:8080"}, listen={"addresses": ["127.0.0.1:9090"]}
    )
    assert refusal(Settings(), wanted) == (
        "upstream.base_url leads back to this proxy (127.0.0.1:8080); allowed: the API's address"
    )


def test_settings_that_are_refused_leave_those_that_run_as_they_were() -> None:
    public = settings(listen=PUBLIC)
    before = public.model_copy(deep=True)
    refusal(public, settings(credential=KEY, retry={"max_retries": 7}))
    assert public == before
