"""Accounts: sign up, who am I, and the one endpoint that everybody may ask."""

from __future__ import annotations

import re
from hashlib import sha256

from proxy.sandbox import errors
from proxy.sandbox.callers import identify
from proxy.sandbox.calls import Call, created
from proxy.sandbox.replies import Reply, json_reply

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def get_status(_call: Call) -> Reply:
    """Say that the API is there."""
    return json_reply({"status": "ok"})


def get_me(call: Call) -> Reply:
    """Give the caller's own profile."""
    return json_reply(call.account.profile)


def sign_up(call: Call) -> Reply:
    """Make an account and its key; the same e-mail address cannot sign up twice."""
    payload = call.payload()
    problems = {name: ["This field is required."] for name in ("email", "password") if not payload.get(name)}
    email = str(payload.get("email", ""))
    if "email" not in problems and not _EMAIL.fullmatch(email):
        problems["email"] = ["Enter a valid email address."]
    if problems:
        raise errors.validation(problems)
    # Hexadecimal digits after `avk_` can spell none of the prefixes that mark a special key.
    key = "avk_" + sha256(f"signup/{email}".encode()).hexdigest()[:40]
    account = call.world.store.account(identify(key))
    if account.profile["email"] == email:
        raise errors.conflict("A user", "email")
    names = {name: payload.get(name) or "" for name in ("first_name", "last_name")}
    account.profile.update(email=email, in_waitlist=True, **names)
    return created({"user": account.profile, "api_key": key})
