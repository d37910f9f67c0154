"""Requests whose body ends in more than one place, depending on who reads them."""

from tests.wire.hostile import Hostile, post, refused, taken

_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_TWO = b"3\r\nabc\r\n0\r\n\r\n"


def _coded(name: str, coding: bytes) -> Hostile:
    """Another coding than `chunked`, or the same one written oddly."""
    return refused(f"te-{name}", post(coding + b"\r\n", b"0\r\n\r\n" + _HIDDEN))


def _te_te(name: str, second: bytes) -> Hostile:
    return refused(f"te.te-{name}", post(_CHUNKED + second + b"\r\n", b"0\r\n\r\n" + _HIDDEN))


def _length(name: str, length: bytes, body: bytes = b"abc") -> Hostile:
    return refused(f"cl-{name}", post(b"Content-Length:" + length + b"\r\n", body))


def _chunk(name: str, body: bytes) -> Hostile:
    return refused(f"chunk-{name}", post(_CHUNKED, body + _HIDDEN))


def _chunk_taken(name: str, how: str, body: bytes, *, keeps: bytes = b"\r\nContent-Length: 3\r\n") -> Hostile:
    return taken(f"chunk-{name}", how, post(_CHUNKED, body), keeps=keeps)


FRAMING = (
    refused("cl.te", post(b"Content-Length: 6\r\n" + _CHUNKED, b"0\r\n\r\nG")),
    refused(
        "cl.te-whole-request",
        post(b"Content-Length: %d\r\n" % (5 + len(_HIDDEN)) + _CHUNKED, b"0\r\n\r\n" + _HIDDEN),
    ),
    refused(
        "te.cl", post(_CHUNKED + b"Content-Length: 4\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN))
    ),
    refused("te.cl-length-0", post(_CHUNKED + b"Content-Length: 0\r\n", _TWO)),
    refused("te.cl-same-length", post(_CHUNKED + b"Content-Length: 13\r\n", _TWO)),
    refused("cl.te-get", b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n" + _CHUNKED + b"\r\n0\r\n\r\n"),
    refused(
        "cl.te-http-1.0", b"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n" + _CHUNKED + b"\r\n0\r\n\r\n"
    ),
    refused("te-http-1.0", b"POST / HTTP/1.0\r\nHost: h\r\n" + _CHUNKED + b"\r\n" + _TWO),
    refused("cl.te-lower-case", post(b"content-length: 6\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\nG")),
    refused("cl.te-odd-coding", post(b"Content-Length: 6\r\nTransfer-Encoding: xchunked\r\n", b"0\r\n\r\nG")),
    refused("cl.te-identity", post(b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n", b"abc")),
    refused("cl.te-empty", post(b"Content-Length: 3\r\nTransfer-Encoding:\r\n", b"abc")),
    refused("cl.te-folded", post(b"Content-Length: 6\r\nTransfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\nG")),
    refused(
        "cl.te-space-before-colon",
        post(b"Content-Length: 6\r\nTransfer-Encoding : chunked\r\n", b"0\r\n\r\nG"),
    ),
    refused(
        "cl.te-tab-before-colon",
        post(b"Content-Length: 6\r\nTransfer-Encoding\t: chunked\r\n", b"0\r\n\r\nG"),
    ),
    refused(
        "cl.te-space-before-name",
        post(b"Content-Length: 6\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\nG"),
    ),
    refused(
        "cl.te-nul-in-name", post(b"Content-Length: 6\r\nTransfer\0-Encoding: chunked\r\n", b"0\r\n\r\nG")
    ),
    refused(
        "cl.te-behind-bare-lf",
        post(b"Content-Length: 6\r\nX: y\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"),
    ),
    refused(
        "cl.te-behind-bare-cr",
        post(b"Content-Length: 6\r\nX: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"),
    ),
    _coded("xchunked", b"Transfer-Encoding: xchunked"),
    _coded("chunkedx", b"Transfer-Encoding: chunkedx"),
    _coded("identity", b"Transfer-Encoding: identity"),
    _coded("gzip", b"Transfer-Encoding: gzip"),
    _coded("gzip-chunked", b"Transfer-Encoding: gzip, chunked"),
    _coded("chunked-gzip", b"Transfer-Encoding: chunked, gzip"),
    _coded("chunked-identity", b"Transfer-Encoding: chunked, identity"),
    _coded("identity-chunked", b"Transfer-Encoding: identity, chunked"),
    _coded("chunked-twice-in-a-list", b"Transfer-Encoding: chunked, chunked"),
    _coded("trailing-comma", b"Transfer-Encoding: chunked,"),
    _coded("leading-comma", b"Transfer-Encoding: ,chunked"),
    _coded("empty", b"Transfer-Encoding:"),
    _coded("quoted", b'Transfer-Encoding: "chunked"'),
    _coded("single-quoted", b"Transfer-Encoding: 'chunked'"),
    _coded("parameter", b"Transfer-Encoding: chunked;q=1"),
    _coded("vertical-tab", b"Transfer-Encoding: \x0bchunked"),
    _coded("form-feed", b"Transfer-Encoding: chunked\x0c"),
    _coded("nul-after", b"Transfer-Encoding: chunked\0"),
    _coded("nul-before", b"Transfer-Encoding: \0chunked"),
    _coded("no-break-space", b"Transfer-Encoding: \xa0chunked"),
    _coded("split-by-a-space", b"Transfer-Encoding: chun ked"),
    _coded("split-by-a-cr", b"Transfer-Encoding: chun\rked"),
    _coded("tab-behind", b"Transfer-Encoding: chunked\t"),
    _coded("two-colons", b"Transfer-Encoding:: chunked"),
    _coded("folded", b"Transfer-Encoding:\r\n chunked"),
    _coded("folded-by-a-tab", b"Transfer-Encoding: chunked\r\n\t, identity"),
    _te_te("same", b"Transfer-Encoding: chunked"),
    _te_te("identity", b"Transfer-Encoding: identity"),
    _te_te("cow", b"Transfer-Encoding: cow"),
    _te_te("lower-case-name", b"transfer-encoding: identity"),
    _te_te("empty", b"Transfer-Encoding:"),
    _te_te("space-before-colon", b"Transfer-Encoding : x"),
    taken("te-case", "the coding's name has no case", post(b"tRANSFER-eNCODING: cHUNKED\r\n", _TWO)),
    taken("te-spaces", "spaces around it are not its own", post(b"Transfer-Encoding: \t chunked \r\n", _TWO)),
    taken(
        "te-underscore",
        "another field, so there is no body, and what was meant as one is no request",
        post(b"Transfer_Encoding: chunked\r\n", b"5\r\nabcde\r\n0\r\n\r\n"),
        then=400,
    ),
    refused("cl.cl", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd")),
    refused("cl.cl-same", post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc")),
    refused("cl.cl-zero-first", post(b"Content-Length: 0\r\nContent-Length: 33\r\n", _HIDDEN)),
    refused("cl.cl-cases", post(b"Content-Length: 0\r\ncontent-length: 33\r\n", _HIDDEN)),
    refused("cl.cl-space-before-colon", post(b"Content-Length: 3\r\nContent-Length : 33\r\n", b"abc")),
    _length("list", b" 3, 3"),
    _length("list-unequal", b" 3, 4"),
    _length("list-trailing-comma", b" 3,"),
    _length("plus", b" +3"),
    _length("minus", b" -3"),
    _length("minus-zero", b" -0"),
    _length("hex", b" 0x3"),
    _length("octal", b" 0o3"),
    _length("exponent", b" 3e0"),
    _length("fraction", b" 3.0"),
    _length("underscore-inside", b" 1_0"),
    _length("space-inside", b" 1 0"),
    _length("tab-inside", b" 1\t0"),
    _length("letter-after", b" 3a"),
    _length("quoted", b' "3"'),
    _length("empty", b""),
    _length("only-spaces", b"   "),
    _length("nul", b" 3\0"),
    _length("vertical-tab", b" \x0b3"),
    _length("arabic-digit", b" \xd9\xa3"),
    _length("superscript", b" \xb3"),
    _length("2^64", b" 18446744073709551616"),
    _length("2^64+3", b" 18446744073709551619"),
    _length("thousand-digits", b" " + b"9" * 1000),
    refused("cl-2^62", post(b"Content-Length: 4611686018427387904\r\n", b"abc"), status=413),
    refused("cl-too-large", post(b"Content-Length: 104857601\r\n", b"abc"), status=413),
    taken(
        "cl-zeros-before",
        "goes up as the number it is",
        post(b"Content-Length: 0003\r\n", b"abc"),
        keeps=b" 3\r\n",
    ),
    taken("cl-spaces", "spaces around it are not its own", post(b"Content-Length: \t 3 \t\r\n", b"abc")),
    taken(
        "cl-underscore",
        "another field, so there is no body, and what was meant as one is no request",
        post(b"Content_Length: 3\r\n", b"abc\r\n\r\n"),
        then=400,
    ),
    taken(
        "cl-longer-body",
        "what is too much is no request",
        post(b"Content-Length: 3\r\n", b"abcde\r\n\r\n"),
        then=400,
    ),
    taken(
        "cl-get-with-a-request-inside",
        "it is that request's body",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(_HIDDEN) + _HIDDEN,
    ),
    _chunk("0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    _chunk("plus", b"+3\r\nabc\r\n0\r\n\r\n"),
    _chunk("minus", b"-3\r\nabc\r\n0\r\n\r\n"),
    _chunk("minus-zero", b"3\r\nabc\r\n-0\r\n\r\n"),
    _chunk("empty-size", b"\r\nabc\r\n0\r\n\r\n"),
    _chunk("only-extension", b";a=b\r\nabc\r\n0\r\n\r\n"),
    _chunk("letters", b"xyz\r\nabc\r\n0\r\n\r\n"),
    _chunk("g-after", b"3g\r\nabc\r\n0\r\n\r\n"),
    _chunk("underscore", b"0_3\r\nabc\r\n0\r\n\r\n"),
    _chunk("space-before", b" 3\r\nabc\r\n0\r\n\r\n"),
    _chunk("space-after", b"3 \r\nabc\r\n0\r\n\r\n"),
    _chunk("tab-after", b"3\t\r\nabc\r\n0\r\n\r\n"),
    _chunk("nul-after", b"3\0\r\nabc\r\n0\r\n\r\n"),
    _chunk("2^64", b"10000000000000000\r\nabc\r\n0\r\n\r\n"),
    _chunk("2^64+3", b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    _chunk("2^128", b"1" + b"0" * 32 + b"\r\nabc\r\n0\r\n\r\n"),
    _chunk("negative-in-64-bits", b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    _chunk("lf-after-size", b"3\nabc\r\n0\r\n\r\n"),
    _chunk("cr-after-size", b"3\rabc\r\n0\r\n\r\n"),
    _chunk("cr-cr-lf-after-size", b"3\r\r\nabc\r\n0\r\n\r\n"),
    _chunk("lf-after-data", b"3\r\nabc\n0\r\n\r\n"),
    _chunk("nothing-after-data", b"3\r\nabc0\r\n\r\n"),
    _chunk("other-bytes-after-data", b"3\r\nabcXX0\r\n\r\n"),
    _chunk("longer-than-its-size", b"3\r\nabcdef\r\n0\r\n\r\n"),
    _chunk("shorter-than-its-size", b"5\r\nabc\r\n0\r\n\r\n"),
    _chunk("lf-at-the-end", b"3\r\nabc\r\n0\r\n\n"),
    _chunk("lf-after-last-size", b"3\r\nabc\r\n0\n\r\n"),
    _chunk("extension-with-lf", b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    _chunk("extension-with-cr", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    _chunk("extension-with-nul", b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
    _chunk("extension-with-quoted-lf", b'3;a="\n"\r\nabc\r\n0\r\n\r\n'),
    _chunk("extension-very-long", b"3;" + b"e" * 20_000 + b"\r\nabc\r\n0\r\n\r\n"),
    _chunk("extension-behind-a-space", b"3 ;a\r\nabc\r\n0\r\n\r\n"),
    _chunk("trailer-with-space-before-colon", b"3\r\nabc\r\n0\r\nX-T : 1\r\n\r\n"),
    _chunk("trailer-folded", b"3\r\nabc\r\n0\r\nX-T: 1\r\n 2\r\n\r\n"),
    _chunk("trailer-without-colon", b"3\r\nabc\r\n0\r\nX-T\r\n\r\n"),
    _chunk("trailer-with-lf", b"3\r\nabc\r\n0\r\nX-T: 1\n\r\n"),
    _chunk("trailer-with-nul", b"3\r\nabc\r\n0\r\nX-T: \0\r\n\r\n"),
    _chunk("trailers-too-long", b"3\r\nabc\r\n0\r\n" + b"X-T: 123456789\r\n" * 2000 + b"\r\n"),
    _chunk_taken("zeros-before", "goes up with a length", b"0000003\r\nabc\r\n000\r\n\r\n"),
    _chunk_taken("extension-quoted", "goes up without it", b'3;a="b;\\"c"\r\nabc\r\n0;d\r\n\r\n'),
    _chunk_taken("trailer-host", "goes up without it", b"3\r\nabc\r\n0\r\nHost: evil\r\n\r\n"),
    _chunk_taken("trailer-length", "goes up without it", b"3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n"),
    _chunk_taken(
        "trailer-coding", "goes up without it", b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    _chunk_taken(
        "trailer-credential", "goes up without it", b"3\r\nabc\r\n0\r\nX-Avala-Api-Key: avk_2\r\n\r\n"
    ),
    _chunk_taken("trailer-connection", "goes up without it", b"3\r\nabc\r\n0\r\nConnection: close\r\n\r\n"),
    _chunk_taken(
        "of-a-request", "is the body", b"%x\r\n%b\r\n0\r\n\r\n" % (len(_HIDDEN), _HIDDEN), keeps=_HIDDEN
    ),
    taken(
        "chunk-bytes-after-the-end",
        "what is too much is no request",
        post(_CHUNKED, _TWO + b"X\r\n\r\n"),
        then=400,
    ),
)
