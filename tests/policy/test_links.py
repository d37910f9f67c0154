"""Links: which URLs lead to the upstream, what becomes of them, and that nothing else changes by a byte."""

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Headers, Response
from proxy.policy.links import Links, json_coding, restored, revalidated, weak

TO = "http://127.0.0.1:8080"
LINKS = Links("https://api.avala.ai")
ODD = Links("http://[2001:db8::7]:8080/a+b/v.1")

OURS = (
    "https://api.avala.ai",
    "https://api.avala.ai:443",
    "https://api.avala.ai:",
    "http://api.avala.ai",
    "http://api.avala.ai:80",
    "HTTPS://API.avala.AI",
)
NOT_OURS = (
    *("https://api.avala.ai.evil/", "https://api.avala.ai@evil/", "https://api.avala.ai:443@evil/"),
    *("https://u@api.avala.ai/", "https://api.avala.aix", "https://xapi.avala.ai/", "https://api-avala.ai/"),
    *(
        "https://api.avala.ai./",
        "https://api%2eavala.ai/",
        "https://api.avala.ai%00/",
        "https://api.avala.ai,/",
    ),
    *("https://api.avala.ai:8443/", "https://api.avala.ai:80/", "http://api.avala.ai:443/"),
    *("https://api.avala.ai:0443/", "https://api.avala.ai:x/", "https://api.avala.ai\u00e9/"),
    *(
        "https:/api.avala.ai/",
        "//api.avala.ai/",
        "/https://api.avala.ai/",
        "https://evil/?https://api.avala.ai/",
    ),
    *(
        "ftp://api.avala.ai/",
        "http\u017f://api.avala.ai/",
        " https://api.avala.ai/",
        "api.avala.ai",
        "https://",
    ),
    *("https://api.avala.ai\\@evil/", "https://api.avala.ai/a\\b", "https://api.avala.ai/\n"),
    *("https://api.avala.ai/a/../b", "https://api.avala.ai/..", "https://api.avala.ai/%2E./?x"),
    *("", "/", "/api/v1/", "next", "?page=2"),
)
RESTS = (
    "",
    "/",
    "/api/v1/datasets/?cursor=a%2Fb&x=/../",
    "?page=2",
    "#f",
    "/a;b//c/./d...",
    "/caf\u00e9?q=\U0001f600",
)


def page(url: str) -> bytes:
    return json.dumps({"next": url, "previous": None}).encode()


def relinked(url: str, links: Links = LINKS) -> str | None:
    """Return what becomes of a URL in JSON; None if nothing does."""
    content = links.json(page(url), TO)
    after: str | None = None if content is None else json.loads(content)["next"]
    return after


def field(name: bytes, value: bytes, links: Links = LINKS) -> bytes:
    before = Headers(((b"Server", b"x"), (name, value), (name, value), (b"X", b"https://api.avala.ai/")))
    ((*_, server), (one, after), second, *rest) = links.headers(before, TO)
    assert (server, one, second, rest) == (b"x", name, (name, after), [before.raw[3]])
    return after


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("base", OURS)
def test_a_url_of_the_upstream_leads_to_us_and_keeps_the_rest(base: str, rest: str) -> None:
    assert relinked(base + rest) == TO + rest
    assert field(b"Location", (base + rest).encode()) == (TO + rest).encode()
    assert field(b"link", f"<{base + rest}>; rel=next".encode()) == f"<{TO + rest}>; rel=next".encode()


@pytest.mark.parametrize("url", NOT_OURS)
def test_every_other_url_stays(url: str) -> None:
    assert relinked(url) is None
    raw = url.encode("utf-8")
    assert field(b"location", raw) == raw
    assert field(b"Link", b"<" + raw + b">") == b"<" + raw + b">"


def test_a_port_and_a_path_prefix_belong_to_the_base() -> None:
    base = "http://[2001:db8::7]:8080"
    assert relinked(f"{base}/a+b/v.1/x?y", ODD) == f"{TO}/x?y"
    assert relinked(f"{base}/a+b/v.1", ODD) == TO
    assert relinked("HTTP://[2001:DB8::7]:8080/a+b/v.1?", ODD) == f"{TO}?"
    for other in ("/a+b/v.10/x", "/a+b/V.1/x", "/aab/v.1/x", "/a+b/vx1/", "/a+b", "/x", "", "/a+b/v.1/../x"):
        assert relinked(base + other, ODD) is None
    assert relinked("https://[2001:db8::7]:8080/a+b/v.1/", ODD) is None
    assert relinked("http://[2001:db8::7]/a+b/v.1/", ODD) is None
    assert relinked("https://[2001:db8::7]/a+b/v.1/", ODD) is None


def test_an_upstream_without_tls_may_say_that_it_has_it() -> None:
    links = Links("http://api.local")
    assert relinked("https://api.local/x", links) == f"{TO}/x"
    assert relinked("http://api.local:80/x", links) == f"{TO}/x"
    assert relinked("http://api.local:443/x", links) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<@/1>; rel=next, <@/2>;rel=prev", b"<!/1>; rel=next, <!/2>;rel=prev"),
        (b' <@/1>;t="<@/2>, <@/3>\\", <@/4>",,\t<@/5>', b' <!/1>;t="<@/2>, <@/3>\\", <@/4>",,\t<!/5>'),
        (b'<@/1>; anchor="@/x"; x=<@/2>', b'<!/1>; anchor="@/x"; x=<@/2>'),
        (b"</1>, <https://else.example/>, <@/1,2;3>", b"</1>, <https://else.example/>, <!/1,2;3>"),
        (b'<@/1>; title="<@/2>, <@/3>', b'<!/1>; title="<@/2>, <@/3>'),
        (b"<@/1, <@/2>", b"<@/1, <!/2>"),
        (b"@/1", b"@/1"),
        (b"<>, < @/1>, <@>\xff", b"<>, < @/1>, <!>\xff"),
    ],
)
def test_of_link_the_targets_change_and_nothing_else(before: bytes, after: bytes) -> None:
    before, after = (value.replace(b"@", OURS[0].encode()) for value in (before, after))
    assert field(b"LINK", before) == after.replace(b"!", TO.encode())


ESCAPED = (
    rb"https:\/\/api.avala.ai",
    rb"\u0068ttps://api.avala.ai",
    rb"https:\u002f\u002Fapi.avala.ai",
    rb"https://\u0061\u0070\u0069\u002Eavala.ai",
    rb"HTTP://\u0041PI.AVALA.AI\u003a80",
)


@pytest.mark.parametrize("origin", ESCAPED)
@pytest.mark.parametrize("key", [b"next", rb"n\u0065xt", rb"\u006e\u0065\u0078\u0074", rb"\u0070revious"])
def test_escapes_hide_nothing_and_those_behind_the_origin_stay(origin: bytes, key: bytes) -> None:
    before = rb'{"%b" : "%b\/x\u003fy=\u00e9\ud83d\ude00"}' % (key, origin)
    assert LINKS.json(before, TO) == before.replace(origin, TO.encode())


@pytest.mark.parametrize(
    "content",
    [
        b'{"results":[{"next":"@"}],"a":{"previous":"@"},"b":"\\"next\\":\\"@\\""}',
        b'["next","@",{"next":"@"}]',
        b'"@/next"',
        b'{"next":["@"],"previous":{"next":"@"}}',
        b'{"nex":"@","Next":"@","next ":"@","other":"@"}',
        b'{"@":"next"}',
        b'{"a":[{"b":"}"},["]"],"[{"],"c":{"next":"@"}}',
        b"",
        b"@",
    ],
)
def test_only_the_two_keys_of_the_outermost_object_count(content: bytes) -> None:
    assert LINKS.json(content.replace(b"@", b"https://api.avala.ai/"), TO) is None


def test_both_keys_count_wherever_they_stand_and_as_often_as_they_do() -> None:
    before = (
        b'\xef\xbb\xbf \t\r\n{ "a":[[{"next":"@"}],[]] , "previous"\n:\n"@/1",'
        b'"n":-1.5e3 ,"t":true,"s":"\\"","o":{"x":[{}]},"next":"@/2","next":null,"next":"@/3"} \n'
    )
    after = before.replace(b'"@/', b'"' + TO.encode() + b"/")
    assert LINKS.json(before.replace(b"@", OURS[0].encode()), TO) == after.replace(b"@", OURS[0].encode())


@pytest.mark.parametrize(
    "broken",
    [
        b'{"next":"@',
        b'{"next":"@\\',
        b'{"next":"@\\u00"}',
        b'{"next":"@\\x"}',
        b'{"next":"@/\x01"}',
        b'{"next":"@/\xff"}',
        b'{"next" "@"}',
        b'{"a":1 "next":"@"}',
        b'{"a":[1,"next":"@"}',
        b'{"a":"x,"next":"@"}',
        b'{"a":],"next":"@"}',
        b'{"a":[1]}[[],"next":"@"}',
        b"{'next':'@'}",
        b'\x00{"next":"@"}',
        b'{next:"@"}',
        b'{"a":{"b":"next',
    ],
)
def test_what_is_no_json_is_left_alone(broken: bytes) -> None:
    assert LINKS.json(broken.replace(b"@", b"https://api.avala.ai"), TO) is None


def test_a_key_that_cannot_be_read_is_none_of_ours() -> None:
    before = b'{"\xff":"@","\\u00zz":"@","next":"@/1"}'.replace(b"@", OURS[0].encode())
    assert LINKS.json(before, TO) == before.replace(
        b'"next":"https://api.avala.ai', b'"next":"' + TO.encode()
    )


def test_our_own_address_cannot_break_out_of_its_string() -> None:
    to = 'http://h/",\\'
    after = LINKS.json(page("https://api.avala.ai/x"), to)
    assert after is not None
    assert json.loads(after) == {"next": f"{to}/x", "previous": None}


def test_what_leads_to_us_already_is_no_change() -> None:
    assert LINKS.json(page("https://api.avala.ai/x"), "https://api.avala.ai") is None


@pytest.mark.parametrize(
    "content", [b"{}", b'{"next":"https://else.example/"}', b'{"x":"\\u0026"}', b'{"x":"\\n"}']
)
def test_what_does_not_name_the_upstream_is_told_at_a_glance(content: bytes) -> None:
    assert not LINKS.named_in(content)


@pytest.mark.parametrize("content", [*(url.encode() for url in OURS), *ESCAPED])
def test_whatever_may_name_the_upstream_is_looked_at(content: bytes) -> None:
    assert LINKS.named_in(b'{"next":"%b/"}' % content)


# Documents with a mark where the base of a link of ours stands, written in every way that JSON has.
MARK = "\ue000"
TEXT = st.text(st.characters(exclude_characters=MARK, exclude_categories=["Cs"]), max_size=8)
URLS = st.sampled_from([*OURS, *NOT_OURS]) | TEXT
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | URLS
KEYS = st.sampled_from(["next", "previous", "results", "", "Next"]) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)
REST = st.builds(
    "{}{}".format, st.sampled_from(["", "/", "/x/", "?a=1"]), st.sampled_from(["", "y", "caf\u00e9", "z=%2F"])
)
LINKED = REST.filter(lambda rest: not rest or rest[0] in "/?").map(lambda rest: MARK + rest)
MEMBERS = st.tuples(st.sampled_from(["next", "previous"]), LINKED) | st.tuples(
    KEYS.filter(lambda key: key not in ("next", "previous")), VALUES
)
DOCUMENTS = st.lists(MEMBERS, max_size=8)


def escape(text: str, chance: random.Random) -> str:
    """Write characters as they are or escaped, as JSON allows."""
    return "".join(
        json.dumps(char, ensure_ascii=chance.random() < 0.5)[1:-1]
        if char == MARK or ord(char) > 0xFFFF or chance.random() < 0.8
        else f"\\u{ord(char):04x}"
        for char in text
    ).replace(json.dumps(MARK)[1:-1], MARK)


def write(value: Any, chance: random.Random) -> str:
    """Write JSON with blanks and escapes where they may be; pairs in a tuple are an object."""
    match value:
        case str():
            text = f'"{escape(value, chance)}"'
        case dict():
            return write(tuple(value.items()), chance)
        case tuple():
            text = ",".join(f"{write(key, chance)}:{write(item, chance)}" for key, item in value)
            text = f"{{{text}}}"
        case list():
            text = f"[{','.join(write(item, chance) for item in value)}]"
        case _:
            text = json.dumps(value)
    before, after = (chance.choice(["", "", " ", "\r\n\t"]) for _ in "12")
    return f"{before}{text}{after}"


@given(DOCUMENTS, st.integers(), st.sampled_from(OURS))
def test_in_any_document_the_links_lead_to_us_and_every_other_byte_stays(
    members: list[tuple[str, Any]], seed: int, base: str
) -> None:
    chance = random.Random(seed)
    marked = write(tuple(members), chance)
    before = marked.replace(MARK, escape(base, chance).replace("/", chance.choice(["/", "\\/"]))).encode()
    after = marked.replace(MARK, TO).encode()
    assert (LINKS.json(before, TO) or before) == after
    assert LINKS.json(after, TO) is None
    loaded = json.loads(before)
    for key in {"next", "previous"} & loaded.keys():
        loaded[key] = TO + loaded[key].removeprefix(base)
    assert json.loads(after) == loaded


@given(DOCUMENTS, st.integers(), st.data())
def test_of_a_document_that_is_cut_off_what_is_there_is_dealt_with(
    members: list[tuple[str, Any]], seed: int, data: st.DataObject
) -> None:
    whole = write((*members, ("next", "x")), random.Random(seed)).replace(MARK, OURS[0]).encode()
    cut = data.draw(st.integers(0, len(whole)))
    start = LINKS.json(whole[:cut], TO) or whole[:cut]
    together = LINKS.json(whole, TO) or whole
    # The cut is behind a value, or within the last one that could have been changed.
    assert (LINKS.json(start + whole[cut:], TO) or start + whole[cut:]) == together


PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    ":",
    ",",
    " ",
    '"next":',
    "https://api.avala.ai/",
    "\\u0061",
    "<",
    ">",
    "x",
]
NOISE = st.lists(st.sampled_from(PIECES)).map("".join).map(str.encode) | st.binary()


@given(NOISE)
def test_whatever_comes_makes_no_error_and_at_the_second_time_no_difference(content: bytes) -> None:
    after = LINKS.json(content, TO) or content
    assert LINKS.json(after, TO) is None
    assert after.count(TO.encode()) >= content.count(TO.encode())
    fields = Headers(((b"Location", content), (b"Link", content)))
    once = LINKS.headers(fields, TO)
    assert LINKS.headers(once, TO) == once


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "[]",
        "[",
        '"',
        "\\",
        '"a',
        ",",
        '"a":1,',
        '{"a":',
        ",<",
        "<",
        ", ",
        '"\\',
        "https://api.avala.ai/",
        "/.",
        "{}[",
    ],
)
@pytest.mark.parametrize(
    "start", ["", '{"next":"https://api.avala.ai/', '{"a":', '{"a":[', '<https://api.avala.ai/>;a="']
)
def test_the_longest_answer_costs_no_time_that_matters(start: str, piece: str) -> None:
    content = (start + piece * (300_000 // len(piece)) + '"next":"https://api.avala.ai/\\u0061').encode()
    began = time.process_time()
    LINKS.json(content, TO)
    LINKS.headers(Headers(((b"Location", content), (b"Link", content))), TO)
    revalidated(Headers(((b"If-None-Match", content),)), Headers(((b"ETag", content),)))
    json_coding(
        "GET", Response(200, "", Headers(((b"Content-Type", content), (b"Content-Encoding", content))))
    )
    assert time.process_time() - began < 10.0  # were it quadratic, it would be minutes


def coding(*fields: tuple[bytes, bytes], status: int = 200, method: str = "GET") -> str | None:
    return json_coding(method, Response(status, "", Headers(fields)))


JSON = (b"Content-Type", b"application/json")


NO_JSON = (
    *(b"", b"text/html", b"application/jsonl", b"application/json-seq", b"text/json", b"a/b+jsonp", b"+json"),
    *(b"text/event-stream", b"xapplication/json", b"application/json x", b"text/xml, application/json"),
)


@pytest.mark.parametrize("kind", NO_JSON)
def test_nothing_else_is_json(kind: bytes) -> None:
    assert coding((b"Content-Type", kind)) is None
    assert coding((b"Content-Type", kind), JSON) is None
    assert coding() is None
    assert coding(JSON, JSON) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "identity"),
        ([b""], "identity"),
        ([b"identity"], "identity"),
        ([b" GZip\t"], "gzip"),
        ([b"identity, br"], "br"),
        ([b"", b"zstd"], "zstd"),
        ([b"anything"], "anything"),
        ([b"gzip, gzip"], None),
        ([b"gzip", b"br"], None),
    ],
)
def test_one_coding_is_told_and_several_are_not(values: list[bytes], expected: str | None) -> None:
    assert coding(JSON, *((b"Content-Encoding", value) for value in values)) == expected


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        *(("GET", 200, True), ("POST", 201, True), ("PATCH", 299, True), ("HEAD", 200, False)),
        *(("GET", status, False) for status in (204, 205, 206, 300, 304, 404)),
    ],
)
def test_only_a_successful_and_whole_answer_is_read(method: str, status: int, expected: bool) -> None:
    assert (coding(JSON, method=method, status=status) == "identity") == expected


def test_what_a_change_makes_untrue_is_made_true_and_the_rest_stays() -> None:
    before = (
        (b"ETag", b'"a"'),
        (b"Digest", b"x"),
        (b"content-length", b"10"),
        (b"Content-MD5", b"x"),
        (b"X-A", b'"a"'),
        (b"etag", b'W/"b"'),
        (b"Content-Digest", b"x"),
        (b"REPR-DIGEST", b"x"),
        (b"Last-Modified", b"x"),
        (b"x-a", b""),
        (b"accept-ranges", b"bytes"),
    )
    kept = (
        (b"ETag", b'W/"a"'),
        (b"X-A", b'"a"'),
        (b"etag", b'W/"b"'),
        (b"x-a", b""),
        (b"accept-ranges", b"none"),
    )
    assert weak(Headers(before), 7).raw == (kept[0], (b"content-length", b"7"), *kept[1:])
    assert weak(Headers(before), None).raw == kept


def test_tags_of_a_precondition_are_restored() -> None:
    asked = Headers(((b"A", b'W/"x"'), (b"IF-Match", b'W/"a", "b",W/"c"'), (b"if-match", b"*")))
    assert restored(asked).raw == ((b"A", b'W/"x"'), (b"IF-Match", b'"a", "b","c"'), (b"if-match", b"*"))
    untouched = Headers(((b"If-None-Match", b'W/"a"'),))
    assert restored(untouched) is untouched


def test_a_length_takes_the_place_of_a_transfer_coding() -> None:
    before = Headers(((b"Transfer-Encoding", b"chunked"), (b"A", b"1")))
    assert weak(before, 7).raw == ((b"A", b"1"), (b"Content-Length", b"7"))
    assert weak(before, None) == before
    assert weak(Headers(), 0).raw == ((b"Content-Length", b"0"),)
    assert weak(Headers(((b"Content-Length", b"1"), (b"content-length", b"1"))), 7).raw == (
        (b"Content-Length", b"7"),
    )


@pytest.mark.parametrize(
    ("asked", "said", "told"),
    [
        ([b'W/"x"'], b'"x"', b'W/"x"'),
        ([b'"y", W/"x"'], b'"x"', b'W/"x"'),
        ([b'"y"', b'W/"x,"'], b'"x,"', b'W/"x,"'),
        ([b'W/"x", "x"'], b'"x"', b'"x"'),
        ([b'"x"'], b'"x"', b'"x"'),
        ([b'W/"x"'], b'W/"x"', b'W/"x"'),
        ([b'W/"x"'], b'"y"', b'"y"'),
        ([b'W/"\xff"'], b'"\xff"', b'W/"\xff"'),
        ([b"*"], b'"x"', b'"x"'),
        ([b'W/"x'], b'"x', b'"x'),
        ([], b'"x"', b'"x"'),
    ],
)
def test_a_304_names_the_tag_that_the_client_holds(asked: list[bytes], said: bytes, told: bytes) -> None:
    request = Headers(tuple((b"If-None-Match", value) for value in asked))
    answer = Headers(((b"Date", b"x"), (b"Etag", said), (b"X-Tag", said)))
    assert revalidated(request, answer).raw == ((b"Date", b"x"), (b"Etag", told), (b"X-Tag", said))
