"""Webhooks: list, create, get, update, delete. Nothing is ever delivered to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.sandbox import errors, fields
from proxy.sandbox.calls import Call, created, no_content
from proxy.sandbox.pages import page
from proxy.sandbox.replies import Reply, json_reply
from proxy.sandbox.store import Record, timestamp

_FIELDS = {"target_url": fields.https_url, "events": fields.texts, "is_active": fields.boolean}


def list_webhooks(call: Call) -> Reply:
    """Give a page of the caller's webhooks."""
    return json_reply(page(call.account.webhooks.rows(), call.url, call.query, call.world.settings.page_size))


def create_webhook(call: Call) -> Reply:
    """Keep a new webhook. Its secret, made up unless chosen, is told in this answer and never again."""
    payload = call.payload()
    fields.check(payload, {**_FIELDS, "secret": fields.text}, optional=("is_active", "secret"))
    _check_target(call, payload)
    webhook = call.account.add_webhook(_chosen(payload), call.moment)
    secret = payload.get("secret") or f"whsec_{call.account.new_uid('secret').replace('-', '')}"
    return created({**webhook, "secret": secret})


def get_webhook(call: Call) -> Reply:
    """Give one webhook by uid."""
    return json_reply(_find(call))


def update_webhook(call: Call) -> Reply:
    """Change what the payload names, and leave the rest."""
    webhook, payload = _find(call), call.payload()
    fields.check(payload, _FIELDS, optional=tuple(_FIELDS))
    _check_target(call, payload, but=webhook)
    webhook.update(_chosen(payload), updated_at=timestamp(call.moment))
    return json_reply(webhook)


def delete_webhook(call: Call) -> Reply:
    """Delete one webhook by uid."""
    call.account.webhooks.delete(_find(call)["uid"])
    return no_content()


def _chosen(payload: Mapping[str, Any]) -> Record:
    return {name: payload[name] for name in _FIELDS if name in payload}


def _check_target(call: Call, payload: Mapping[str, Any], but: Record | None = None) -> None:
    """Raise ApiError (409) when another webhook than `but` has the target already."""
    others = (webhook for _, webhook in call.account.webhooks.rows() if webhook is not but)
    if payload.get("target_url") in {webhook["target_url"] for webhook in others}:
        raise errors.conflict("A webhook", "target_url")


def _find(call: Call) -> Record:
    webhook = call.account.webhooks.get(call.params["uid"])
    if webhook is None:
        raise call.missing()
    return webhook
