"""The judge is h11, which shares no code with our parser: of requests, of answers, and of what goes up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import h11

from proxy.adapters.upstream import Upstream
from proxy.messages import Request
from tests.fuzz.conversation import Outcome, Proxy, Seen

TAKEN = (
    # Empty lines before a request line, which RFC 9112 section 2.2 wants ignored.
    (re.compile(rb"\A[\r\n]+"), lambda _: b""),
    # More than one space around the target, which section 3 leaves to the reader; one goes up.
    (re.compile(rb"\A([A-Z]+) +([^ \r\n]+) +(?=HTTP/)"), lambda found: found[1] + b" " + found[2] + b" "),
    # More zeros before a chunk's size than h11 has patience for; the body goes up with a length.
    (re.compile(rb"(?<=\n)0{14,}(?=[0-9A-Fa-f]{1,6}[;\r])"), lambda found: b""),
)
"""What the proxy takes although h11 refuses it, and what makes it bearable to h11."""
OURS = re.compile(rb"https?://127\.0\.0\.1:8080/?", re.IGNORECASE)
"""What goes up of a target that names us is its path and query (RFC 9112 section 3.2.2)."""


def requests_in(content: bytes) -> list[Seen]:
    """Read requests as h11 does, up to what is malformed or not complete."""
    found: list[Seen] = []
    while content:
        for pattern, bearable in TAKEN:
            content = pattern.sub(bearable, content)
        seen, content = one_request(content)
        if seen is None:
            break
        found.append(replace(seen, target=OURS.sub(b"/", seen.target)))
    return found


def one_request(content: bytes) -> tuple[Seen | None, bytes]:
    """Read the first request, and return what comes after it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(content)
    body = b""
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None, content
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None, content
    if not isinstance(event, h11.EndOfMessage):
        return None, content
    return Seen(head.method, head.target, body), connection.trailing_data[0]


@dataclass(frozen=True)
class Answer:
    """A response as h11 understood it."""

    version: bytes
    status: int
    fields: dict[bytes, bytes]
    body: bytes
    open_ended: bool


def answers_in(content: bytes, methods: Sequence[bytes]) -> list[Answer]:
    """Read the answers to requests of these methods; raises where they are not well-formed, whole and all."""
    found = []
    for method in methods:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(content)
        while isinstance(head := connection.next_event(), h11.InformationalResponse):
            assert head.status_code == 100
        assert isinstance(head, h11.Response)
        assert head.http_version in (b"1.0", b"1.1")
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        open_ended = event is h11.NEED_DATA and head.http_version == b"1.0"
        if open_ended:
            connection.receive_data(b"")  # the proxy has closed the connection, and the body ends with it
            event = connection.next_event()
        assert isinstance(event, h11.EndOfMessage)
        found.append(Answer(head.http_version, head.status_code, dict(head.headers), body, open_ended))
        content = connection.trailing_data[0]
    assert content == b""
    return found


def check(proxy: Proxy, pieces: Sequence[bytes]) -> Outcome:
    """Demand all that holds for any bytes whatsoever."""
    outcome = proxy.converse(pieces)
    check_understanding(outcome, b"".join(pieces))
    check_answers(outcome)
    for request, seen in outcome.asked:
        check_upward(proxy.upstream, request, seen)
    return outcome


def check_understanding(outcome: Outcome, content: bytes) -> None:
    """What went on is what h11 reads, from the first request on: none is invented, split or joined."""
    assert outcome.understood == requests_in(content)[: len(outcome.asked)]


def check_answers(outcome: Outcome) -> None:
    """Each request has its own answer; after them comes at most one refusal, and then nothing."""
    answers = answers_in(outcome.written, [event.method.encode() for event in outcome.ended])
    assert not any(answer.open_ended for answer in answers[:-1])
    if answers and answers[-1].open_ended:
        assert outcome.silence < 5
    taken, refused = answers[: len(outcome.asked)], answers[len(outcome.asked) :]
    assert [answer.fields.get(b"x-token", b"").decode() for answer in taken] == [
        seen.token for seen in outcome.understood
    ]
    for answer, seen in zip(taken, outcome.understood, strict=True):
        assert answer.body in (b"", seen.token.encode())
        assert (answer.body == b"") == (seen.method == b"HEAD" or answer.status in (204, 304))
    assert len(refused) <= 1
    for answer in refused:
        assert answer.status in (400, 408, 413, 414, 431, 501)
        assert answer.version == b"1.0" or answer.fields[b"connection"] == b"close"
        assert b'"code":"proxy_' in answer.body or outcome.ended[-1].method == "HEAD"


def check_upward(upstream: Upstream, request: Request, seen: Seen) -> None:
    """What would go up is one request, the same one, and nothing of it speaks of the client's connection."""
    head = upstream._head(request)
    (again,) = requests_in(head + seen.body)
    assert again == seen
    names = re.findall(rb"\r\n([^:\r]+):", head.lower())
    assert names.count(b"host") == 1
    assert names.count(b"x-avala-api-key") == len(request.headers.all(b"x-avala-api-key"))
    assert not {b"transfer-encoding", b"connection", b"upgrade", b"te", b"trailer"} & set(names)
