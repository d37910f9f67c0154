"""What an exchange is, and the parts that its requests and answers are made of."""

from dataclasses import dataclass

from tests.wire.raw import OK, Script, Step


@dataclass(frozen=True)
class Exchange:
    """Requests over one connection, and the answers; a request in two parts waits for a 100 between them."""

    name: str
    requests: tuple[tuple[bytes, ...], ...]
    answers: tuple[Script, ...]
    pipelined: bool = False


def request(
    target: bytes = b"/",
    *fields: bytes,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    host: bytes | None = b"api.example",
    body: bytes = b"",
) -> bytes:
    hosts = [] if host is None else [b"Host: " + host]
    lines = [b"%b %b HTTP/%b" % (method, target, version), *hosts, *fields, b"", body]
    return b"\r\n".join(lines)


def answer(status: bytes, *fields: bytes, body: bytes | None = None, version: bytes = b"1.1") -> bytes:
    lengths = [] if body is None else [b"Content-Length: %d" % len(body)]
    return b"\r\n".join([b"HTTP/%b %b" % (version, status), *fields, *lengths, b"", body or b""])


def one(name: str, sent: bytes, *script: Step) -> Exchange:
    return Exchange(name, ((sent,),), (script or (OK,),))


def chunked(*chunks: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    framed = (b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return b"".join(framed) + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def after(name: str, second: bytes, *script: Step) -> Exchange:
    """The answer comes over a connection that has been used."""
    return Exchange(name, ((request(b"/first"),), (second,)), ((OK,), script or (OK,)))


TWO = chunked(b"abc", b"0\r\n\r\n")
