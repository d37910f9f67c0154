"""The settings, and the three sources that they are loaded from."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.config import ConfigError, Limit, Match, Pace, Settings, load
from proxy.config_places import Place

QUEUE = "size, longest_wait, ageing, interim, observe, callers"
TABLES = (
    "one of upstream, listen, credential, clients, headers, links, limits, queue, coalescing, retry, "
    "breaker, body, state, redis, log, metrics, tracing"
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("AVALA_PROXY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "avala.toml"


def refusals(path: Path | None = None, overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path, overrides)
    return [str(problem) for problem in refused.value.problems]


def refusal(path: Path, text: str) -> str:
    path.write_text(text)
    (only,) = refusals(path)
    return only.replace(str(path), "FILE")


def test_without_any_source_everything_has_its_default() -> None:
    assert load() == Settings()


def test_making_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_QUEUE__SIZE", "7")
    assert Settings().queue.size == 2000


def test_the_command_line_beats_the_environment_and_that_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[retry]\nbase = 2.0\ncap = 20.0\nmax_retries = 2\n")
    monkeypatch.setenv("AVALA_PROXY_RETRY__BASE", "3")
    monkeypatch.setenv("AVALA_PROXY_RETRY__CAP", "21")
    retry = load(file, {"retry": {"base": 4.0}}).retry
    assert (retry.base, retry.cap, retry.max_retries, retry.jitter) == (4.0, 21.0, 2, 0.5)


def test_the_environment_names_the_file_when_the_command_line_does_not(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[queue]\nsize = 5\n")
    monkeypatch.setenv("AVALA_PROXY_CONFIG", str(file))
    assert load().queue.size == 5
    other = file.with_name("other.toml")
    other.write_text("")
    assert load(other).queue.size == 2000


def test_a_table_in_the_environment_is_json_and_merges_with_its_parts_and_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[retry]\nmax_retries = 2\n")
    monkeypatch.setenv("AVALA_PROXY_RETRY", '{"base": 2, "cap": 9}')
    monkeypatch.setenv("AVALA_PROXY_RETRY__CAP", "10")
    retry = load(file).retry
    assert (retry.max_retries, retry.base, retry.cap) == (2, 2.0, 10.0)


def test_a_list_in_the_environment_is_json_and_replaces_the_one_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('[[limits]]\nname = "a"\nconcurrent = 1\n[[limits]]\nname = "b"\nconcurrent = 1\n')
    monkeypatch.setenv("AVALA_PROXY_LIMITS", '[{"name": "c", "requests": 5, "per": 1}]')
    monkeypatch.setenv("AVALA_PROXY_UPSTREAM__CREDENTIAL_HEADERS", '["X-Key"]')
    settings = load(file)
    assert settings.limits == (Limit(name="c", requests=5, per=1.0),)
    assert settings.upstream.credential_headers == ("X-Key",)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_LOG__LEVEL", "")
    monkeypatch.setenv("AVALA_PROXY_CONFIG", "")
    assert load() == Settings()


def test_variables_are_known_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("avala_proxy_log__level", "debug")
    assert load().log.level == "debug"


def test_variables_that_kubernetes_makes_for_a_service_of_our_name_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "AVALA_PROXY_SERVICE_HOST": "10.0.0.1",
        "AVALA_PROXY_SERVICE_PORT": "8080",
        "AVALA_PROXY_SERVICE_PORT_HTTP": "8080",
        "AVALA_PROXY_PORT": "tcp://10.0.0.1:8080",
        "AVALA_PROXY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "AVALA_PROXY_PORT_8080_TCP_PROTO": "tcp",
        "AVALA_PROXY_PORT_8080_TCP_PORT": "8080",
        "AVALA_PROXY_PORT_8080_TCP_ADDR": "10.0.0.1",
        "AVALA_PROXY_ADMIN_SERVICE_HOST": "10.0.0.1",
        "AVALA_PROXY_ADMIN_PORT_9464_TCP": "tcp://10.0.0.1:9464",
    }.items():
        monkeypatch.setenv(name, value)
    assert load() == Settings()


def test_a_port_of_people_is_no_port_of_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_PORT", "8080")
    assert "is not a setting" in refusals()[0]


def test_everything_wrong_is_said_at_once_with_where_it_is_written(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(
        '[queue]\nsize = "many"\nlengthiest_wait = 3\n[[limits]]\nname = "a"\nrequests = 1\nper = -1\n'
    )
    monkeypatch.setenv("AVALA_PROXY_RETRY__MAX_RETRIES", "-1")
    monkeypatch.setenv("AVALA_PROXY_RETRY__BSE", "1")
    told = refusals(file, {"listen": {"addresses": ["nowhere"]}})
    assert told == [
        "retry.bse (from the environment variable AVALA_PROXY_RETRY__BSE) is not a setting; "
        "allowed: retry.base (the nearest)",
        'listen.addresses[0] (from the command line) is "nowhere"; allowed: HOST:PORT, https://HOST:PORT or '
        "unix:/path, such as 127.0.0.1:8080, https://0.0.0.0:8443 or unix:/run/avala-proxy.sock; port 0 is "
        "any free one",
        f"limits[0].per in {file} is -1; allowed: a number above 0",
        f'queue.size in {file} is "many"; allowed: a whole number of at least 0',
        f"queue.lengthiest_wait in {file} is not a setting; allowed: queue.longest_wait (the nearest)",
        "retry.max_retries (from the environment variable AVALA_PROXY_RETRY__MAX_RETRIES) is -1; "
        "allowed: a whole number from 0 to 20",
    ]


def test_a_file_that_is_missing_does_not_hide_what_else_is_wrong(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVALA_PROXY_QUEUE__SIZE", "-1")
    assert len(refusals(file)) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[retry]\nbase = nan", "retry.base in FILE is NaN; allowed: a number above 0"),
        ("[retry]\ncap = inf", "retry.cap in FILE is Infinity; allowed: a number above 0"),
        ("[listen]\ngrace = inf", "listen.grace in FILE is Infinity; allowed: a number of at least 0"),
        (
            "[retry]\nmax_retries = true",
            "retry.max_retries in FILE is true; allowed: a whole number from 0 to 20",
        ),
        ("[retry]\nbase = { x = 1 }", "retry.base in FILE is a table; allowed: a number above 0"),
        (
            "[retry]\nmax_retries = 1.5",
            "retry.max_retries in FILE is 1.5; allowed: a whole number from 0 to 20",
        ),
        (
            "retry = 3",
            "retry in FILE is 3; allowed: a table with max_retries, base, cap, jitter, budget, budget_floor, "
            "longest_pause, routes",
        ),
        (
            '[log]\nlevel = "loud"',
            'log.level in FILE is "loud"; allowed: "debug", "info", "warning" or "error"',
        ),
        (
            "[upstream]\ncredential_headers = []",
            "upstream.credential_headers in FILE is an empty list; "
            "allowed: a list of at least one header name",
        ),
        (
            '[upstream]\ncredential_headers = ["X Key"]',
            'upstream.credential_headers[0] in FILE is "X Key"; '
            "allowed: a header name, such as X-Avala-Api-Key",
        ),
        (
            '[upstream]\nbase_url = "http://localhost:8080"',
            "upstream.base_url in FILE leads back to this proxy (127.0.0.1:8080); allowed: the API's address",
        ),
        (
            '[upstream]\nbase_url = "http://127.0.0.1:9464"',
            "upstream.base_url in FILE leads back to this proxy (127.0.0.1:9464); allowed: the API's address",
        ),
        (
            '[listen]\nadmin_address = "127.0.0.1:8080"',
            "listen.admin_address in FILE is where clients connect too; "
            "allowed: another port than listen.addresses have",
        ),
        (
            "max_retries = 1",
            "max_retries in FILE is not a setting; allowed: retry.max_retries (of the same name)",
        ),
        (
            '_env_file = "x"',
            "_env_file in FILE is not a setting; allowed: " + TABLES,
        ),
        (
            '[[retry.routes]]\npaths = ["x"]\nrepeat = "always"',
            'retry.routes[0].paths[0] in FILE is "x"; allowed: a path that begins with /, '
            "such as /api/v1/exports/ or /api/v1/**, without query",
        ),
        (
            '[[retry.routes]]\npaths = ["/"]',
            'retry.routes[0].repeat in FILE is missing; allowed: "always" or "never"',
        ),
        (
            '[[limits]]\nname = "a"\nconcurrent = 1\nmatch = { anonymous = "perhaps" }',
            'limits[0].match.anonymous in FILE is "perhaps"; allowed: true or false',
        ),
        (
            '[[limits]]\nname = "a"\nconcurrent = 1\nkey = ["x"]',
            'limits[0].key in FILE is a list; allowed: "credential", "address" or "global"',
        ),
        (
            '[[limits]]\nname = "A"\nconcurrent = 1',
            'limits[0].name in FILE is "A"; allowed: text like ^[a-z][a-z0-9_]{0,31}$',
        ),
        (
            '[[limits]]\nname = "a"',
            "limits[0] in FILE is neither kind of limit, or both; "
            "allowed: `requests` and `per`, or else `concurrent`",
        ),
        (
            '[[limits]]\nname = "a"\nconcurrent = 1\npace = { burst = 1, rate = 1 }',
            "limits[0].pace in FILE is for a rate; allowed: `pace` only beside `requests` and `per`",
        ),
        *(
            (
                f'[[limits]]\nname = "a"\nconcurrent = 5\n{name} = 5',
                f"limits[0].{name} in FILE is for a rate; allowed: `{name}` only beside `requests` and `per`",
            )
            for name in ("floor", "ceiling", "reserve")
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 5\nper = 1\nfloor = 6',
            "limits[0].floor in FILE is 6; allowed: at most `requests`, 5",
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 5\nper = 1\nfloor = 0',
            "limits[0].floor in FILE is 0; allowed: a whole number of at least 1",
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 5\nper = 1\nceiling = 4',
            "limits[0].ceiling in FILE is 4; allowed: at least `requests`, 5",
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 5\nper = 1\nreserve = 5',
            "limits[0].reserve in FILE is 5; allowed: less than `requests`, 5",
        ),
        (
            '[[limits]]\nname = "breaker"\nconcurrent = 1',
            'limits[0].name in FILE is "breaker"; '
            "allowed: any other name: in metrics this one means that the breaker held a request",
        ),
        (
            '[[limits]]\nname = "none"\nconcurrent = 1',
            'limits[0].name in FILE is "none"; '
            "allowed: any other name: in metrics this one means that no limit held a request",
        ),
        (
            '[[breaker.groups]]\nname = "upstream"\npaths = ["/x"]',
            'breaker.groups[0].name in FILE is "upstream"; '
            "allowed: any other name: this one is all that is in no group",
        ),
        (
            '[[breaker.groups]]\nname = "a"\npaths = ["/x"]\n[[breaker.groups]]\nname = "a"\npaths = ["/y"]',
            "breaker.groups in FILE has the name a twice; allowed: a name of its own for each group",
        ),
        (
            '[[breaker.groups]]\nname = "a"\npaths = ["x"]',
            'breaker.groups[0].paths[0] in FILE is "x"; allowed: a path that begins with /, '
            "such as /api/v1/exports/ or /api/v1/**, without query",
        ),
        ("[breaker]\nfailures = 0", "breaker.failures in FILE is 0; allowed: a whole number of at least 1"),
        ("[breaker]\ninterval = 0", "breaker.interval in FILE is 0; allowed: a number above 0"),
        ("[retry]\nbudget = -0.1", "retry.budget in FILE is -0.1; allowed: a number of at least 0"),
        (
            "[retry]\nbudget_floor = -1",
            "retry.budget_floor in FILE is -1; allowed: a whole number of at least 0",
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 1\nper = 1\npace = { burst = 2, rate = 1 }',
            "limits[0].pace.burst in FILE is 2; allowed: at most `requests`, 1",
        ),
        (
            '[[limits]]\nname = "a"\nrequests = 1\nper = 1\npace = { burst = 1, rate = inf }',
            "limits[0].pace.rate in FILE is Infinity; allowed: a number above 0",
        ),
        (
            '[[limits]]\nname = "a"\nconcurrent = 1\n[[limits]]\nname = "a"\nconcurrent = 1',
            "limits in FILE has the name a twice; allowed: a name of its own for each limit",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(file: Path, text: str, told: str) -> None:
    assert refusal(file, text) == told


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RETRI__BASE", "1", "retri.base {} is not a setting; allowed: retry (the nearest)"),
        ("RETRY__BASE__X", "1", "retry.base.x {} is not a setting; allowed: no keys here"),
        (
            "FOO",
            "1",
            "foo {} is not a setting; allowed: " + TABLES,
        ),
        (
            "LIMITS__0__PER",
            "1",
            "limits.0.per {} is a part of a list; allowed: all of it as JSON, in AVALA_PROXY_LIMITS",
        ),
        (
            "UPSTREAM__CREDENTIAL_HEADERS",
            "X-Key",
            "upstream.credential_headers {} is not JSON; allowed: JSON of a list, each text",
        ),
        (
            "QUEUE",
            "{",
            f"queue {{}} is not JSON; allowed: JSON of a table with {QUEUE}",
        ),
        ("QUEUE", '{"sise": 1}', "queue.sise {} is not a setting; allowed: queue.size (the nearest)"),
        ("QUEUE", "3", f"queue {{}} is 3; allowed: a table with {QUEUE}"),
        ("RETRY__JITTER", "NaN", 'retry.jitter {} is "NaN"; allowed: a number from 0 to 1'),
        (
            "BODY__MEMORY",
            '{"a": 1}',
            'body.memory {} is "{\\"a\\": 1}"; allowed: a whole number of at least 0',
        ),
    ],
)
def test_a_wrong_variable_is_told_with_its_name(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AVALA_PROXY_{name}", value)
    assert refusals() == [
        told.replace("{}", f"(from the environment variable AVALA_PROXY_{name})", 1),
    ]


def test_a_rule_over_two_variables_names_the_one_that_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_LISTEN__ADDRESSES", '["127.0.0.1:9464"]')
    assert refusals()[0].startswith("listen.admin_address is where clients connect too")
    monkeypatch.setenv("AVALA_PROXY_LISTEN__ADMIN_ADDRESS", "127.0.0.1:9464")
    variable = "(from the environment variable AVALA_PROXY_LISTEN__ADMIN_ADDRESS)"
    assert refusals()[0].startswith(f"listen.admin_address {variable} is where clients")


def test_a_table_that_two_variables_make_is_told_by_one_of_them(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVALA_PROXY_RETRY", "[]")
    assert "(from the environment variable AVALA_PROXY_RETRY) is an empty list" in refusals()[0]


@pytest.mark.parametrize(
    "text",
    [
        '[upstream]\nbase_url = "https://me:hunter2@host"',
        '[upstream]\nbase_url = "https:/me:hunter2@host"',
        'upstream = "https://me:hunter2@host"',
        '[upstream]\nbase_url = "https://host/?token=hunter2"',
        '[log]\nlevel = "avk_hunter2"',
        '[log]\nlevel = "Bearer hunter2"',
        'token = "hunter2"',
        '[upstream]\ntoken = "hunter2"',
        'upstream = { token = "hunter2" }\nlog = ["hunter2"]',
        'token = "hunter2',
    ],
)
def test_a_value_that_may_be_secret_is_never_repeated(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_json_that_may_hold_a_secret_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_UPSTREAM", '{"base_url": "https://me:hunter2@host"')
    assert "hunter2" not in refusals()[0]


def test_a_path_prefix_and_methods_come_out_in_their_normal_form(file: Path) -> None:
    file.write_text(
        '[upstream]\nbase_url = "HTTPS://Host:443/v2/"\n'
        '[[retry.routes]]\nmethods = ["post"]\npaths = ["/x"]\nrepeat = "never"\n'
    )
    settings = load(file)
    assert settings.upstream.base_url == "https://host/v2"
    assert settings.retry.routes[0].methods == ("POST",)


def test_the_size_of_a_limit_is_what_the_api_calls_its_limit() -> None:
    assert Limit(name="a", requests=5, per=1.0).size == 5
    assert Limit(name="a", concurrent=7).size == 7


def test_the_api_may_move_a_limit_from_a_tenth_to_ten_times_its_size() -> None:
    assert Limit(name="a", requests=100, per=60.0).bounds == (10, 1000)
    assert Limit(name="a", requests=5, per=1.0).bounds == (1, 50), "none at all would be no limit"


def test_the_api_may_move_a_limit_only_as_far_as_is_configured() -> None:
    limit = Limit(name="a", requests=100, per=60.0, floor=100, ceiling=100, reserve=99)
    assert limit.bounds == (100, 100)
    assert Limit(name="a", requests=100, per=60.0, floor=1).bounds == (1, 1000)
    assert Limit(name="a", requests=100, per=60.0, ceiling=120).bounds == (10, 120)


def test_routes_that_fail_apart_are_named(file: Path) -> None:
    file.write_text('[[breaker.groups]]\nname = "jobs"\nmethods = ["post"]\npaths = ["/api/v1/exports/"]\n')
    (group,) = load(file).breaker.groups
    assert (group.name, group.methods, group.paths) == ("jobs", ("POST",), ("/api/v1/exports/",))


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().queue.size = 1  # type: ignore[misc]


def test_models_say_what_is_wrong_when_they_are_made_directly() -> None:
    with pytest.raises(ValidationError, match="neither kind of limit"):
        Limit(name="a", requests=1)
    with pytest.raises(ValidationError, match="finite number"):
        Pace(burst=1, rate=math.inf)
    assert Match(anonymous=True, methods=("get",)).methods == ("GET",)


def test_addresses_are_split_for_whoever_listens() -> None:
    assert Settings().listen.places == (Place("http", "127.0.0.1", 8080),)
    assert Settings().listen.admin_place == Place("http", "127.0.0.1", 9464)


SECRET = "hunter2-hunter2-hunter2"
LENT = f'[credential]\nvalue = "{SECRET}"\n'
CLIENT = f'[[clients]]\nname = "ci"\ntoken = "{SECRET}"\n'


@pytest.mark.parametrize("name", ["value", "file"])
def test_a_key_is_held_once_it_is_given_as_a_value_or_as_a_file(file: Path, name: str) -> None:
    assert not Settings().holds_key
    file.write_text(f'[credential]\n{name} = "{file}"\n')
    assert load(file).holds_key


def test_a_key_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVALA_PROXY_CREDENTIAL__VALUE", SECRET)
    monkeypatch.setenv("AVALA_PROXY_CLIENTS", f'[{{"name": "ci", "token": "{SECRET}"}}]')
    settings = load()
    assert settings.credential.value is not None
    assert settings.credential.value.get_secret_value() == SECRET
    assert [client.name for client in settings.clients] == ["ci"]
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'{LENT}file = "FILE"', "credential in FILE is given twice; allowed: `file` or else `value`"),
        (
            '[credential]\nvalue = "two words"',
            "credential.value in FILE is a value that may hold a secret, so it is not shown; "
            "allowed: 1 to 4096 visible ASCII characters",
        ),
        (
            '[credential]\nfile = "/missing"',
            "credential.file in FILE is no file that can be read; "
            "allowed: a file that the proxy's user may read",
        ),
        (
            '[[clients]]\nname = "ci"',
            "clients[0] in FILE has no token, or two; allowed: `token` or else `token_file`",
        ),
        (
            f'{CLIENT}token_file = "FILE"',
            "clients[0] in FILE has no token, or two; allowed: `token` or else `token_file`",
        ),
        (
            '[[clients]]\nname = "ci"\ntoken = "hunter2-hunter2"',
            "clients[0].token in FILE is a value that may hold a secret, so it is not shown; allowed: "
            "16 to 1024 visible ASCII characters, such as `openssl rand -hex 16` prints",
        ),
        (
            '[[clients]]\nname = "ci"\ntoken_file = "/missing"',
            "clients[0].token_file in FILE is no file that can be read; "
            "allowed: a file that the proxy's user may read",
        ),
        (
            f'[[clients]]\nname = "c i"\ntoken = "{SECRET}"',
            'clients[0].name in FILE is "c i"; allowed: text like ^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$',
        ),
        (
            CLIENT + CLIENT,
            "clients in FILE has the name ci twice; allowed: a name of its own for each client",
        ),
    ],
)
def test_what_is_wrong_with_a_key_or_a_client_is_said_without_repeating_a_secret(
    file: Path, text: str, problem: str
) -> None:
    assert refusal(file, text.replace("FILE", str(file))) == problem
    assert "hunter2" not in problem


RELAY = (
    "where anybody could use the key that the proxy holds; allowed: loopback addresses and Unix sockets, "
    "unless clients show a token ([[clients]]) or a certificate (listen.tls.client_ca)"
)


@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "proxy.internal:80"])
def test_a_held_key_is_not_lent_to_whoever_reaches_an_address(file: Path, address: str) -> None:
    places = f'[listen]\naddresses = ["127.0.0.1:81", "{address}"]\n'
    expected = f"listen.addresses in FILE has {address}, {RELAY}"
    assert refusal(file, places + LENT) == expected
    assert refusal(file, f'{places}[credential]\nfile = "{file}"\n') == expected


@pytest.mark.parametrize("address", ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "localhost:80", "unix:/a"])
def test_a_held_key_is_lent_where_only_this_machine_can_ask(file: Path, address: str) -> None:
    file.write_text(f'[listen]\naddresses = ["{address}"]\n{LENT}')
    assert load(file).holds_key


def test_a_held_key_is_lent_anywhere_to_clients_with_tokens_and_by_tls_to_those_with_certificates(
    file: Path,
) -> None:
    file.write_text(f'[listen]\naddresses = ["0.0.0.0:80"]\n{LENT}{CLIENT}')
    assert load(file).holds_key
    tls = f'[listen.tls]\ncertificate = "{file}"\nkey = "{file}"\n'
    secure = f'[listen]\naddresses = ["https://0.0.0.0:443"]\n{tls}'
    assert refusal(file, secure + LENT) == f"listen.addresses in FILE has https://0.0.0.0:443, {RELAY}"
    file.write_text(f'{secure}client_ca = "{file}"\n{LENT}')
    assert load(file).holds_key
    plain = secure.replace('"https', '"0.0.0.0:80", "https')
    assert "has 0.0.0.0:80, where" in refusal(file, f'{plain}client_ca = "{file}"\n{LENT}')


def test_without_a_held_key_any_address_is_allowed_since_nothing_is_lent(file: Path) -> None:
    file.write_text('[listen]\naddresses = ["0.0.0.0:80"]\n')
    assert not load(file).holds_key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[listen]\naddresses = ["127.0.0.1:80", "0.0.0.0:80"]',
            "listen.addresses[1] in FILE is there already; allowed: each place once",
        ),
        (
            '[listen]\naddresses = ["https://127.0.0.1:80"]',
            "listen.tls.certificate is missing, and clients connect by TLS; allowed: PEM files in "
            "listen.tls.certificate and listen.tls.key (`avala-proxy cert` makes some)",
        ),
        (
            '[listen.tls]\ncertificate = "FILE"',
            "listen.tls.key is missing; allowed: a PEM file, beside the other of the two",
        ),
        (
            '[listen.tls]\nkey = "FILE"',
            "listen.tls.certificate is missing; allowed: a PEM file, beside the other of the two",
        ),
        (
            '[listen]\nunix_mode = "rw"',
            'listen.unix_mode in FILE is "rw"; allowed: text like ^0?[0-7]{3}$',
        ),
    ],
)
def test_what_is_wrong_with_a_place_is_said(file: Path, text: str, problem: str) -> None:
    assert refusal(file, text.replace("FILE", str(file))) == problem


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLIENTS", '["hunter2hunter2hunter2"]'),
        ("CLIENTS", '"hunter2hunter2hunter2"'),
        ("CLIENTS", '[{"hunter2hunter2hunter2": 1, "name": "x"}]'),
        ("CREDENTIAL", '"hunter2hunter2hunter2"'),
        ("CREDENTIAL", '{"hunter2hunter2hunter2": 1}'),
        ("LISTEN", '{"hunter2hunter2hunter2": 1}'),
        ("LISTEN", '{"admin_tokn": "hunter2hunter2hunter2"}'),
        ("LISTEN__ADMIN_TOKN", "hunter2hunter2hunter2"),
        ("LISTEN__ADMIN_TOKEN", "hunter2"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"AVALA_PROXY_{variable}", value)
    told = "\n".join(refusals())
    assert f"AVALA_PROXY_{variable}" in told
    assert "hunter2" not in told
