"""Projects: list, get, approve."""

from __future__ import annotations

from proxy.sandbox import errors
from proxy.sandbox.calls import Call
from proxy.sandbox.pages import page
from proxy.sandbox.replies import Reply, json_reply
from proxy.sandbox.store import Record, timestamp


def list_projects(call: Call) -> Reply:
    """Give a page of the caller's projects."""
    return json_reply(page(call.account.projects.rows(), call.url, call.query, call.world.settings.page_size))


def get_project(call: Call) -> Reply:
    """Give one project by uid."""
    return json_reply(_find(call))


def approve_project(call: Call) -> Reply:
    """Make a project active, on a plan that allows it; the plan is asked first, for any uid."""
    if call.caller.plan == "FREE" and not call.caller.stranger:
        raise errors.plan_insufficient()
    project = _find(call)
    if project["status"] == "active":
        raise errors.bad_request("Project is already active.")
    project.update(status="active", updated_at=timestamp(call.moment))
    return json_reply(project)


def _find(call: Call) -> Record:
    project = call.account.projects.get(call.params["uid"])
    if project is None:
        raise call.missing()
    return project
