"""Inference: one endpoint, whose narrow limit is its point."""

from __future__ import annotations

from proxy.sandbox.calls import Call
from proxy.sandbox.replies import Reply, json_reply


def invoke(call: Call) -> Reply:
    """Pretend to run a model over whatever was sent."""
    payload = call.payload()
    return json_reply(
        {"uid": call.account.new_uid("inference"), "status": "completed", "input": payload, "output": []}
    )
