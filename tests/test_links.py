"""The localiser: which bodies it reads, in every coding, how far, and what it leaves as it was."""

import asyncio
import gzip
import json
import random
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import brotli  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import config
from proxy.errors import ErrorClass, UpstreamError
from proxy.links import Localiser
from proxy.messages import Bytes, Headers, Request, Response
from tests import fakes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UPSTREAM, TO = "https://api.avala.ai", "http://127.0.0.1:8080"


def deflate(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-15)


def inflate(content: bytes) -> bytes:
    return zlib.decompress(content, wbits=-15)


Code = Callable[[bytes], bytes]
CODINGS: dict[str, tuple[str, Code, Code]] = {
    "gzip": ("gzip", gzip.compress, gzip.decompress),
    "x-gzip": ("X-GZip", gzip.compress, gzip.decompress),
    "deflate": ("deflate", zlib.compress, zlib.decompress),
    "deflate, raw": ("deflate", deflate, inflate),
    "br": ("br", brotli.compress, brotli.decompress),
    "zstd": ("zstd", zstd.compress, zstd.decompress),
}
every_coding = pytest.mark.parametrize(("name", "encode", "decode"), CODINGS.values(), ids=CODINGS)


class Body:
    """A response body in pieces; notes what was taken from it, and when it was closed."""

    def __init__(self, *pieces: bytes, then: Exception | None = None) -> None:
        self.pieces = pieces
        self.then = then
        self.taken = 0
        self.closed = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
        if self.then is not None:
            raise self.then

    async def close(self) -> None:
        self.closed += 1


def asked(method: str = "GET", *, url: str = TO, fields: Headers | None = None) -> Request:
    return replace(fakes.request(method, fields=fields), arrival_url=url)


def answer(body: Body, *, status: int = 200, kind: str = "application/json", **fields: str) -> Response:
    return Response(status, "OK", fakes.headers(content_type=kind, **fields), body)


def sized(content: bytes, **fields: str) -> Response:
    body, sizes = Body(content), {"content_length": str(len(content))}
    return Response(200, "OK", fakes.headers(content_type="application/json", **sizes, **fields), body)


async def localised(
    response: Response, request: Request | None = None, *, rewrite: bool = True, max_size: int = 100_000
) -> Response:
    localiser = Localiser(config.Links(rewrite=rewrite, max_size=max_size), UPSTREAM)
    return await localiser.localise(request or asked(), response)


async def read(response: Response) -> bytes:
    return b"".join([chunk async for chunk in response.body.chunks()])


def page(base: str = UPSTREAM, rows: int = 2, **more: object) -> bytes:
    results = [{"uid": f"{number:032x}", "url": "https://else.example/x"} for number in range(rows)]
    return json.dumps(
        {"next": f"{base}/api/v1/?page=2", "previous": None, "results": results, **more}
    ).encode()


def random_text(size: int) -> str:
    return random.Random(1).randbytes(size // 2).hex()


async def test_a_page_leads_to_where_the_client_reached_us() -> None:
    before = sized(page(), etag='"x"', location=f"{UPSTREAM}/1", link=f"<{UPSTREAM}/2>", digest="x")
    after = await localised(before)
    assert await read(after) == page(TO)
    assert after.headers == fakes.headers(
        content_type="application/json",
        content_length=str(len(page(TO))),
        etag='W/"x"',
        location=f"{TO}/1",
        link=f"<{TO}/2>",
    )
    assert (after.status, after.reason) == (200, "OK")


@every_coding
async def test_a_coded_page_is_changed_and_coded_again(name: str, encode: Code, decode: Code) -> None:
    after = await localised(sized(encode(page()), content_encoding=name))
    content = await read(after)
    assert decode(content) == page(TO)
    assert after.headers.get(b"content-encoding") == name
    assert after.headers.get(b"content-length") == str(len(content))


@every_coding
async def test_what_holds_no_link_goes_out_in_its_own_bytes(name: str, encode: Code, decode: Code) -> None:
    content = encode(page("https://else.example"))
    before = sized(content, content_encoding=name, etag='"x"')
    after = await localised(before)
    assert (await read(after), after.headers) == (content, before.headers)
    assert decode(content) != page(TO)


@every_coding
@given(cut=st.integers(0, 200), junk=st.binary(max_size=5), flip=st.integers(0, 200))
@settings(max_examples=30)
async def test_broken_data_goes_out_as_it_came(
    name: str, encode: Code, decode: Code, cut: int, junk: bytes, flip: int
) -> None:
    whole = encode(page())
    content = bytearray(whole[: len(whole) - cut % len(whole)] + junk)
    content[flip % len(content)] ^= 0x55
    after = await localised(sized(bytes(content), content_encoding=name))
    out = await read(after)
    assert out == bytes(content) or decode(out) == decode(bytes(content)).replace(
        UPSTREAM.encode(), TO.encode()
    )
    assert after.headers.get(b"content-length") == str(len(out))


@every_coding
@pytest.mark.parametrize("junk", [b"x", b"\0"])
async def test_what_follows_the_coded_stream_leaves_it_alone(
    name: str, encode: Code, decode: Code, junk: bytes
) -> None:
    content = encode(page()) + junk
    assert await read(await localised(sized(content, content_encoding=name))) == content
    assert decode(content[:-1]) == page()


@every_coding
async def test_a_body_may_grow_fourfold_and_no_more(name: str, encode: Code, decode: Code) -> None:
    filler = 4_000 - len(page(filler=""))
    for more, changed in ((0, True), (1, False)):
        content = encode(page(filler=" " * (filler + more)))
        assert len(content) < 1000
        after = await localised(sized(content, content_encoding=name), max_size=1000)
        out = await read(after)
        assert (out != content) == changed
        assert (TO.encode() in decode(out)) == changed


@pytest.mark.parametrize("name", ["compress", "gzip, br", "", "identity", "identity, gzip"])
async def test_of_codings_one_that_is_known_is_undone(name: str) -> None:
    content = gzip.compress(page()) if "gzip" in name else page()
    out = await read(await localised(sized(content, content_encoding=name)))
    assert (out != content) == (name not in ("compress", "gzip, br"))


@pytest.mark.parametrize(
    ("method", "status", "kind"),
    [
        ("HEAD", 200, "application/json"),
        ("GET", 206, "application/json"),
        ("GET", 404, "application/json"),
        ("GET", 200, "text/event-stream"),
        ("GET", 200, "text/html"),
    ],
)
async def test_what_is_no_whole_json_is_not_even_begun(method: str, status: int, kind: str) -> None:
    body = Body(page())
    before = answer(body, status=status, kind=kind, location=f"{UPSTREAM}/1")
    after = await localised(before, asked(method))
    assert body.taken == 0
    assert after.body is body
    assert after.headers.get(b"location") == f"{TO}/1"


async def test_with_nothing_to_do_the_answer_is_the_same_one() -> None:
    before = sized(page(), location=f"{UPSTREAM}/1")
    assert await localised(before, rewrite=False) is before
    assert await localised(before, asked(url="")) is before
    assert (await localised(before, max_size=0)).body is before.body


async def test_a_304_names_the_tag_that_the_client_holds() -> None:
    request = asked(fields=fakes.headers(if_none_match='W/"x"'))
    assert (await localised(answer(Body(), status=304, etag='"x"'), request)).headers.get(b"etag") == 'W/"x"'
    assert (await localised(answer(Body(), status=200, etag='"x"'), request)).headers.get(b"etag") == '"x"'


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_it_does_not_matter_in_which_pieces_a_body_comes(size: int) -> None:
    content = page()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    after = await localised(answer(Body(*pieces), transfer_encoding="chunked"))
    assert await read(after) == page(TO)
    assert after.headers.get(b"content-length") == str(len(page(TO)))
    assert b"transfer-encoding" not in after.headers
    unchanged = answer(Body(*pieces), transfer_encoding="chunked")
    kept = await localised(unchanged, asked(url=UPSTREAM))
    assert await read(kept) == content
    assert kept.headers == unchanged.headers


@pytest.mark.parametrize("fields", [{}, {"transfer_encoding": "chunked"}, {"content_length": ""}])
async def test_of_a_long_body_the_beginning_is_changed_and_the_rest_streams(fields: dict[str, str]) -> None:
    content = page(rows=100)
    pieces = [content[at : at + 300] for at in range(0, len(content), 300)]
    body = Body(*pieces)
    if "content_length" in fields:
        fields = {"content_length": str(len(content))}
    said = {"content_type": "application/json", "etag": '"x"', **fields}
    after = await localised(Response(200, "OK", fakes.headers(**said), body), max_size=1000)
    assert body.taken == 4  # the fourth tells that there is more than 1000
    assert await read(after) == page(TO, rows=100)
    announced = {"content_length": str(len(page(TO, rows=100)))} if "content_length" in fields else fields
    told = {"content_type": "application/json", "etag": 'W/"x"', **announced}
    assert after.headers == fakes.headers(**told)


async def test_behind_the_beginning_of_a_long_body_nothing_is_changed() -> None:
    content = json.dumps({"results": "x" * 2000, "next": f"{UPSTREAM}/x"}).encode()
    before = sized(content)
    after = await localised(before, max_size=1000)
    assert (await read(after), after.headers) == (content, before.headers)


async def test_a_body_of_exactly_the_longest_size_is_whole() -> None:
    content = page()
    assert await read(await localised(sized(content), max_size=len(content))) == page(TO)
    coded = gzip.compress(content)
    out = await read(await localised(sized(coded, content_encoding="gzip"), max_size=len(coded)))
    assert gzip.decompress(out) == page(TO)


async def test_of_a_body_that_is_longer_by_one_piece_the_length_is_right() -> None:
    content = page(rows=100)
    body = Body(content[:1000], content[1000:])
    response = Response(200, "OK", sized(content).headers, body)
    after = await localised(response, max_size=1000)
    assert after.headers.get(b"content-length") == str(len(page(TO, rows=100)))
    assert await read(after) == page(TO, rows=100)


@every_coding
async def test_a_coded_stream_with_something_behind_it_is_not_taken_for_the_whole(
    name: str, encode: Code, decode: Code
) -> None:
    content = encode(page())
    body = Body(content, b"more")
    after = await localised(answer(body, content_encoding=name), max_size=len(content))
    assert await read(after) == content + b"more"
    assert decode(content) == page()


async def test_a_coding_that_demands_much_memory_is_not_undone() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 24}
    compressor = zstd.ZstdCompressor(options=options)
    content = compressor.compress(page()) + compressor.flush()
    assert await read(await localised(sized(content, content_encoding="zstd"))) == content


@every_coding
async def test_a_long_coded_body_streams_untouched(name: str, encode: Code, decode: Code) -> None:
    content = encode(page(filler=random_text(5000)))
    known = Body(content)
    after = await localised(
        answer(known, content_encoding=name, content_length=str(len(content))), max_size=1000
    )
    assert (after.body, known.taken) == (known, 0)
    pieces = [content[at : at + 300] for at in range(0, len(content), 300)]
    unknown = Body(*pieces)
    after = await localised(answer(unknown, content_encoding=name), max_size=1000)
    assert unknown.taken == 4
    assert await read(after) == content
    assert decode(content).startswith(b"{")


@pytest.mark.parametrize("base", [UPSTREAM, "https://else.example"])
async def test_closing_the_body_closes_the_original(base: str) -> None:
    body = Body(page(base))
    after = await localised(answer(body))
    await read(after)
    assert body.closed == 0  # whoever holds the answer closes it
    await after.body.close()
    assert body.closed == 1


BROKEN = UpstreamError(ErrorClass.RESPONSE_INCOMPLETE, "The API's answer broke off.", written=True)


async def test_a_body_that_breaks_before_its_head_is_gone_says_so() -> None:
    body = Body(page()[:20], then=BROKEN)
    with pytest.raises(UpstreamError):
        await localised(answer(body))
    assert body.closed == 0


@pytest.mark.parametrize("base", [UPSTREAM, "https://else.example"])
async def test_a_body_that_breaks_later_breaks_later(base: str) -> None:
    after = await localised(answer(Body(page(base, rows=50), b"more", then=BROKEN)), max_size=100)
    got = list[bytes]()

    async def collect() -> None:
        async for piece in after.body.chunks():
            got.append(piece)

    with pytest.raises(UpstreamError):
        await collect()
    assert b"".join(got).endswith(b"]}more")


async def test_a_body_that_is_here_already_is_no_exception() -> None:
    after = await localised(Response(200, "", fakes.headers(content_type="application/json"), Bytes(page())))
    assert await read(after) == page(TO)
    empty = Response(200, "", fakes.headers(content_type="application/json", content_encoding="gzip"))
    assert await read(await localised(empty)) == b""


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("large", [True, False])
async def test_what_takes_long_does_not_hold_up_the_others(coding: str, large: bool) -> None:
    content = page(filler=random_text(200_000 if large else 2))
    content = gzip.compress(content) if coding == "gzip" else content
    others = list[str]()
    asyncio.get_running_loop().call_soon(others.append, "had their turn")
    after = await localised(sized(content, content_encoding=coding), max_size=1_000_000)
    assert bool(others) == large
    assert await read(after) != content


@pytest.mark.wallclock
async def test_to_find_no_link_costs_no_more_than_a_few_passes_over_the_page() -> None:
    """Measured in passes over the same bytes, because machines differ; to parse it takes twelve."""
    content = page("https://else.example", rows=1400)
    localiser, request, response = Localiser(config.Links(), UPSTREAM), asked(), sized(content)
    looks, passes = list[float](), list[float]()
    for _ in range(200):
        began = time.perf_counter()
        await localiser.localise(request, response)
        looked = time.perf_counter()
        content.lower()
        looks.append(looked - began)
        passes.append(time.perf_counter() - looked)
    assert min(looks) < 5 * min(passes)


async def test_a_tag_that_was_made_weak_is_restored_on_its_way_up() -> None:
    request, untouched = asked(fields=fakes.headers(if_match='W/"x"')), asked()
    links = Localiser(config.Links(), UPSTREAM)
    assert links.restore(request).headers.get(b"if-match") == '"x"'
    assert links.restore(untouched) is untouched
    assert Localiser(config.Links(rewrite=False), UPSTREAM).restore(request) is request


async def test_a_head_of_json_promises_no_length_and_no_bytes() -> None:
    before = sized(b"", etag='"x"', x_a="1")
    after = await localised(before, asked("HEAD"))
    assert after.headers == fakes.headers(content_type="application/json", etag='W/"x"', x_a="1")
    kept = await localised(sized(b"", etag='"x"'), asked("HEAD"), rewrite=False)
    assert kept.headers.get(b"etag") == '"x"'
