"""Datasets: list, create, get (by uid or by owner and slug), delete."""

from __future__ import annotations

from proxy.sandbox import errors, fields
from proxy.sandbox.calls import Call, created, no_content
from proxy.sandbox.pages import page
from proxy.sandbox.replies import Reply, json_reply
from proxy.sandbox.store import Record

_FILTERS = ("data_type", "name", "status", "visibility")
_OPTIONAL = ("data_type", "visibility", "metadata", "industry", "license")


def list_datasets(call: Call) -> Reply:
    """Give a page of the caller's datasets, narrowed by the SDK's filters."""
    wanted = [(name, call.query[name]) for name in _FILTERS if name in call.query]
    rows = [
        (position, dataset)
        for position, dataset in call.account.datasets.rows()
        if all(dataset.get(name) == value for name, value in wanted)
    ]
    return json_reply(page(rows, call.url, call.query, call.world.settings.page_size))


def create_dataset(call: Call) -> Reply:
    """Keep a new dataset; 400 for a missing or bad field, 409 for a name or slug that is taken."""
    payload = call.payload()
    fields.check(payload, {"name": fields.text, "slug": fields.slug})
    for _, dataset in call.account.datasets.rows():
        for field in ("name", "slug"):
            if dataset[field] == payload[field]:
                raise errors.conflict("A dataset", field)
    chosen = {name: payload[name] for name in ("name", "slug", *_OPTIONAL) if name in payload}
    return created(call.account.add_dataset(chosen, call.moment))


def get_dataset(call: Call) -> Reply:
    """Give one dataset by uid."""
    return json_reply(_find(call))


def delete_dataset(call: Call) -> Reply:
    """Delete one dataset by uid."""
    call.account.datasets.delete(_find(call)["uid"])
    return no_content()


def get_dataset_by_slug(call: Call) -> Reply:
    """Give one dataset by its owner's name and its slug."""
    owner, slug = call.params["owner"], call.params["slug"]
    for _, dataset in call.account.datasets.rows():
        if dataset["owner_name"] == owner and dataset["slug"] == slug:
            return json_reply(dataset)
    raise call.missing()


def _find(call: Call) -> Record:
    dataset = call.account.datasets.get(call.params["uid"])
    if dataset is None:
        raise call.missing()
    return dataset
