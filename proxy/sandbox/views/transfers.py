"""Bytes in bulk: uploads, the URLs for others, downloads, the event stream. All in bounded memory."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import AsyncGenerator
from datetime import timedelta
from hashlib import sha256

from proxy.sandbox import errors, fields
from proxy.sandbox.calls import Call, Sleep, created
from proxy.sandbox.replies import Reply, StreamReply, dump, json_reply
from proxy.sandbox.store import timestamp

_BLOCK = bytes(range(256)) * 256
MOST_DIGITS = 12
STORAGE = "https://uploads.sandbox.invalid/"
"""Where a pretended upload URL leads: a name that never resolves (RFC 2606), so that no file can leave."""
_URL_LASTS = timedelta(hours=1)


def upload(call: Call) -> Reply:
    """Accept any body; answer its size and digest, which were taken while it was read."""
    return created(
        {"uid": call.account.new_uid("upload"), "size": call.body.size, "sha256": call.body.sha256}
    )


def create_upload_url(call: Call) -> Reply:
    """Give a form that would upload one file to storage, as S3 presigns it; 413 beyond the owner's quota.

    A URL counts with its full size from now on; another one for the same file takes its place.
    """
    payload = call.payload()
    names = ("dataset_name", "file_path_in_dataset")
    fields.check(payload, {**dict.fromkeys(names, fields.text), "content_length": fields.size})
    key = f"__u__=/{call.account.profile['uid']}/" + "/".join(payload[name] for name in names)
    promised, limit = call.account.promised, call.world.settings.upload_quota
    used = sum(promised.values()) - promised.get(key, 0)
    if used + payload["content_length"] > limit:
        raise errors.quota_exceeded(limit, used)
    promised[key] = payload["content_length"]
    expires = timestamp(call.moment + _URL_LASTS)
    policy = dump({"expiration": expires, "conditions": [{"key": key}]})
    form = {
        "key": key,
        "policy": b64encode(policy).decode(),
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-signature": sha256(policy).hexdigest(),
    }
    return json_reply({"url": STORAGE, "fields": form, "method": "POST", "expires_at": expires})


def download(call: Call) -> StreamReply:
    """Give n bytes: 0 to 255, over and over."""
    text = call.params["bytes"]
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise errors.not_found()
    size = int(text)
    return StreamReply(_bytes(size), {"Content-Type": "application/octet-stream"}, length=size)


async def _bytes(size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, size, len(_BLOCK)):
        yield _BLOCK[: size - start]


def stream_events(call: Call) -> StreamReply:
    """Send `count` events (default 10), one each `interval` seconds (default 1), the first at once."""
    count = _number(call, "count", 10)
    interval = _number(call, "interval", 1.0)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    return StreamReply(_events(int(count), interval, call.world.sleep), headers)


async def _events(count: int, interval: float, sleep: Sleep) -> AsyncGenerator[bytes, None]:
    for number in range(1, count + 1):
        if number > 1:
            await sleep(interval)
        yield f'id: {number}\nevent: tick\ndata: {{"number":{number}}}\n\n'.encode()


def _number(call: Call, name: str, default: float) -> float:
    try:
        number = float(call.query.get(name, default))
    except ValueError:
        number = math.nan
    if not (number >= 0 and math.isfinite(number)):
        raise errors.validation({name: ["A valid number is required."]})
    return number
