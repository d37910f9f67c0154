"""What is cut out of a line, in whatever form it stands there, and what stays."""

import io
import json
import string
from dataclasses import replace
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import ErrorClass
from proxy.events import Crashed, LifecycleChanged, LimitPaused, RetryScheduled
from proxy.telemetry.redaction import Redaction
from tests.telemetry.lines import KEY, REQUEST, logger_to, logs_to
from tests.telemetry.telling import tell

redact = Redaction()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZWFtIn0.c2lnbmF0dXJl-of_it"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nx0y1z2\n-----END RSA PRIVATE KEY-----"


def knowing(*values: str) -> Redaction:
    redaction = Redaction()
    for value in values:
        redaction.learn(value)
    return redaction


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"key={KEY}, {KEY}.", "key=avk_…, avk_…."),
        (KEY.upper(), "avk_…"),
        ("avk%5Flive%2D1 and more", "avk_… and more"),
        ("avk%255flive", "avk_…"),
        (r"avk\u005flive", "avk_…"),
        (r"\u0061vk_live\u002dx", "avk_…"),
        (r"\\u0061vk\\x5flive", "avk_…"),
        ("%61%76%6b%5flive", "avk_…"),
        ("xavk_live.of.it.", "xavk_…."),
        (f"\x1b[35m{KEY}\x1b[0m", "\x1b[35mavk_…\x1b[0m"),
        ("Bearer abc.def==", "Bearer …"),
        ("basic dXNlcjpwdw==", "basic …"),
        ("\x1b[35mBearer%20abc\x1b", "\x1b[35mBearer%20…"),
        ('"Authorization": "Bearer abc.def=="', '"Authorization": …'),
        ("Authorization: Token abc def", "Authorization: …"),
        ('authorization=Digest username="Mufasa", response="66"', "authorization=…"),
        ("Proxy-Authorization: AWS4-HMAC-SHA256 Credential=a, Signature=b", "Proxy-Authorization: …"),
        ("(b'Authorization', b'Hawk id=1')", "(b'Authorization', …"),
        ("Cookie: a=b; c=d\nHost: h", "Cookie: …\nHost: h"),
        ("Set-Cookie: session=1; Path=/", "Set-Cookie: …"),
        (json.dumps("Cookie: a=b\nHost: h"), r'"Cookie: …\nHost: h"'),
        ("GET /x?token=abc&d=e HTTP/1.1", "GET /x?… HTTP/1.1"),
        ("https://bucket.example/o?X-Amz-Signature=ab&X-Amz-Credential=cd", "https://bucket.example/o?…"),
        ("https://h/o%3Fsig%3Dab", "https://h/o%3F…"),
        ("https://h/callback#access_token=abc", "https://h/callback#access_token=…"),
        ("redis://user:pa/s@s@host:6379/0", "redis://…@host:6379/0"),
        ("redis://:pw@host/0", "redis://…@host/0"),
        ("https://token@host/", "https://…@host/"),
        (JWT, "eyJ…"),
        (f"id {JWT}, next", "id eyJ…, next"),
        (PEM + " next", "-----BEGIN RSA PRIVATE KEY-----… next"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "-----BEGIN PRIVATE KEY-----…"),
        ("api_key=abc token=def", "api_key=… token=…"),
        ("password='a b' x", "password='…' x"),
        ('"password": "a, b", "x": 1', '"password": "…", "x": 1'),
        (json.dumps('{"client_secret": "a b", "x": 1}'), r'"{\"client_secret\": \"…\", \"x\": 1}"'),
        ("Avala-Proxy-Token: abc", "Avala-Proxy-Token: …"),
        ("X-Avala-Api-Key: abc", "X-Avala-Api-Key: …"),
        ("AWSAccessKeyId=AKIA&Signature=x", "AWSAccessKeyId=…"),
        ("a&key=abc", "a&key=…"),
    ],
)
def test_what_looks_like_a_secret_is_cut_and_what_it_was_stays(text: str, left: str) -> None:
    assert redact(text) == left
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "/api/v1/datasets/{id}/",
        "/api/v1/tasks/{id}/",
        "4f1c2b7a9be84bde8f0c1d2e3a4b5c6d",
        "credential=5e1f0a1b2c3d key=5e1f client=ci",
        "192.0.2.1 [2001:db8::1]:8080",
        "http://127.0.0.1:8080, https://proxy.example:8443 (metrics and status: http://127.0.0.1:9464)",
        "The store at redis://127.0.0.1:6379/0 refuses the password: check redis.username and "
        "redis.password_file.",
        "/run/secrets/avala-key has changed and was read again.",
        "/run/key holds fewer than 16 characters: write a longer secret in it.",
        "Put one there (listen.tls.key).",
        "Changed: credential.value, clients, redis.secret_file.",
        'listen.admin_token in FILE is "x"; allowed: `token` or else `token_file`',
        'File "/usr/lib/python3.11/asyncio/tasks.py", line 1, in wait_for',
        "why? because",
    ],
)
def test_what_operators_need_stays(text: str) -> None:
    assert redact(text) == text
    assert redact(json.dumps({"detail": text})) == json.dumps({"detail": text})


def test_a_value_that_is_known_is_cut_in_every_form_and_for_ever() -> None:
    redaction = knowing('correct/horse"battery', "second-value-of-it")
    for text in ('correct/horse"battery', r"correct\/horse\"battery", "correct%2Fhorse%22battery"):
        assert redaction(f"a {text} b") == "a … b"
        assert redaction(json.dumps(f"a {text} b")) == '"a … b"'
    assert redaction.without_known("Bearer second-value-of-it") == "Bearer …"
    assert redaction.cuts("second-value-of-it")
    assert not redaction.cuts("third-value-of-it")
    assert repr(redaction) == "<Redaction of 2 known values>"


def test_a_value_with_signs_that_json_has_letters_for_is_cut_too() -> None:
    redaction = knowing("two\tparts\nof it")
    assert redaction(json.dumps({"detail": "a two\tparts\nof it b"})) == r'{"detail": "a \u2026 b"}'
    assert redaction(r"a two\tparts\nof it b") == "a … b"


@pytest.mark.parametrize("text", ["{token=abc", '{"a": "token=abc', "{" * 100_000 + " token=abc"])
def test_what_begins_like_json_and_is_none_is_text(text: str) -> None:
    assert redact(text).endswith("token=…")


def test_of_two_values_the_longer_is_cut_whole() -> None:
    assert knowing("secret-of", "secret-of-all")("a secret-of-all b") == "a … b"


def test_what_is_short_is_a_word_and_what_has_a_shape_need_not_be_known() -> None:
    redaction = knowing("standard"[:7], "", KEY)
    assert redaction("standard") == "standard"
    assert repr(redaction) == "<Redaction of 0 known values>"


_ALPHABET = string.ascii_letters + string.digits
_words = st.text(_ALPHABET, min_size=8, max_size=40)
_letters = st.text(string.ascii_lowercase + string.digits + "-_", min_size=8, max_size=40)
_values = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=8, max_size=40)
_forms = st.sampled_from(
    [
        lambda text: text,
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
        lambda text: quote(text, safe=""),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
        lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text),
        quote_plus,
        repr,
    ]
)
_around = st.text(max_size=30)


@given(_values, _around, _around, _forms)
def test_nothing_is_left_of_a_known_value_in_arbitrary_text(
    value: str, before: str, after: str, form: object
) -> None:
    written = form(value)  # type: ignore[operator]
    redaction = knowing(value)
    for text in (before + written + after, json.dumps({"detail": before + written + after})):
        left = redaction(text)
        assert value not in left
        assert written not in left


@given(
    _letters,
    _words,
    st.sampled_from(
        [
            "avk_{0}",
            "AVK_{0}",
            "avk%5F{0}",
            "Bearer {1}",
            "Authorization: Token {1}",
            "Authorization: Digest response={1}",
            '"authorization": "Custom {1}"',
            "Cookie: a=1; session={1}",
            "https://h/p?{1}",
            "/p?a=1&b={1}",
            "?token={1}",
            "token={1}",
            "password='{1}'",
            '"secret": "{1}"',
            "//user:{1}@host",
            "eyJ{1}.{1}.{0}",
            "-----BEGIN EC PRIVATE KEY-----\n{1}\n-----END EC PRIVATE KEY-----",
        ]
    ),
    st.sampled_from(["", " ", "\n", "x: ", "at ", "\t", "é ", "“"]),
)
@example("00000000", "hunter2hunter2", "password='{1}'", "\\")
def test_nothing_is_left_of_what_has_the_shape_of_a_secret(
    letters: str, word: str, shape: str, before: str
) -> None:
    text = before + shape.format(letters, word) + " and more"
    for line in (text, json.dumps({"detail": text}), json.dumps({"a": json.dumps({"b": text})})):
        left = redact(line)
        assert letters not in left or "{0}" not in shape
        assert word not in left or "{1}" not in shape


_pieces = [*"\"'\\:=?@%,} \n", "//", "token=", "Authorization: ", "Cookie", "avk_", "eyJabcdef.", "password"]
_pieces += ["-----BEGIN PRIVATE KEY-----", "api_key", "bearer "]
_hostile = st.lists(st.one_of(st.sampled_from(_pieces), st.text(max_size=5)), max_size=12).map("".join)


@given(st.dictionaries(st.sampled_from(["request_id", "caller", "detail", "stack"]), _hostile))
def test_a_line_of_json_stays_one_with_the_same_fields(line: dict[str, str]) -> None:
    left = json.loads(redact(json.dumps(line | {"last": 1})))
    assert left.keys() == line.keys() | {"last"}
    assert left["last"] == 1


@pytest.mark.parametrize(
    "hostile", ["\\" * 20_000, "eyJ" * 7_000, "//a:" * 5_000, "token" * 4_000, "/" * 20_000, "avk_" * 5_000]
)
def test_no_text_takes_long(hostile: str) -> None:
    """Pytest's timeout ends it if one does."""
    text = f"? @ {hostile}"
    assert len(knowing("correct-horse-battery")(text)) <= len(text)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_key_gets_into_no_line_by_any_way(form: str) -> None:
    stream = io.StringIO()
    logs = logs_to(stream, level="debug", format=form)
    tell(
        logs,
        replace(REQUEST, request_id=KEY, route=f"/{KEY}/", peer=KEY, credential=KEY, method=KEY, limit=KEY),
    )
    tell(logs, LimitPaused(KEY, 1.0, KEY))
    tell(logs, LifecycleChanged(KEY, f"at {KEY}"))
    tell(logs, RetryScheduled(KEY, ErrorClass.UNAVAILABLE, 1.0))
    tell(logs, Crashed(KEY, f"ValueError: {KEY}"))
    logger_to(stream, format=form).error(KEY, nested={KEY: [KEY]}, error=ValueError(KEY))
    assert len(stream.getvalue().splitlines()) >= 6
    assert "avk_live" not in stream.getvalue()
    assert "0123456789" not in stream.getvalue()
