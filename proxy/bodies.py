"""Response bodies that are read before a client gets them: to replace a broken one, or to give one later."""

from dataclasses import replace

from proxy.errors import UpstreamError
from proxy.messages import Begun, Bytes, Response, ResponseBody

_KEEP = 1024 * 1024
"""Bytes of an answer that is kept while another attempt is made."""


async def begin(body: ResponseBody, most: int) -> Bytes | Begun:
    """Read a body to its end and give its connection back; or, if it is larger, no further than `most`."""
    content = bytearray()
    chunks = body.chunks()
    try:
        async for chunk in chunks:
            content += chunk
            if len(content) > most:
                return Begun(bytes(content), chunks, body)
    except BaseException:
        await body.close()
        raise
    await body.close()
    return Bytes(bytes(content))


async def keep(outcome: Response | UpstreamError) -> Response | None:
    """Return an answer that can be given later, its connection given back; None if it is too large."""
    if isinstance(outcome, UpstreamError):
        return None
    try:
        body = await begin(outcome.body, _KEEP)
    except UpstreamError:
        return None
    if isinstance(body, Begun):
        await body.close()
        return None
    return replace(outcome, body=body)
