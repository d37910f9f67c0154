"""Exports: jobs that are started, polled, and done after a while."""

from __future__ import annotations

from proxy.sandbox.calls import Call, created
from proxy.sandbox.pages import page
from proxy.sandbox.replies import Reply, json_reply
from proxy.sandbox.store import Export, Record

EXPORT_BYTES = 4096


def list_exports(call: Call) -> Reply:
    """Give a page of the caller's exports."""
    rows = [(position, _shown(call, export)) for position, export in call.account.exports.rows()]
    return json_reply(page(rows, call.url, call.query, call.world.settings.page_size))


def create_export(call: Call) -> Reply:
    """Start an export job. Its place among the concurrent ones stays taken until the job ends."""
    payload = call.payload()
    fields = {name: payload.get(name) for name in ("project", "dataset")}
    seconds = call.world.settings.scaled_export_seconds
    export = call.account.add_export(fields, seconds, call.now, call.moment)
    call.permit.hold_until("exports", call.now + seconds)
    return created(_shown(call, export))


def get_export(call: Call) -> Reply:
    """Tell how far an export is."""
    export = call.account.exports.get(call.params["uid"])
    if export is None:
        raise call.missing()
    return json_reply(_shown(call, export))


def _shown(call: Call, export: Export) -> Record:
    status = export.status(call.now)
    url = f"{call.origin}/api/v1/downloads/{EXPORT_BYTES}/" if status == "exported" else None
    return {**export.record, "status": status, "download_url": url}
