"""What Django REST Framework's serializers say of a payload's fields, word for word. It reads values only:
which fields a thing has, and what it does with them, is for its view to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proxy.sandbox import errors

Problems = Sequence[str] | Mapping[str, Sequence[str]]
"""Sentences on a value; for a list that is none itself, sentences by the number of its item."""
Check = Callable[[Any], Problems]
"""Looks at a value that is there and not null; gives nothing when it is good."""

_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
_HTTPS_URL = re.compile(r"https://[^\s/?#]+([/?#]\S*)?", re.IGNORECASE)


def check(payload: Mapping[str, Any], fields: Mapping[str, Check], optional: Sequence[str] = ()) -> None:
    """Check each field; raises ApiError (400) that tells all problems at once, by field."""
    problems = {name: _problems(payload, name, fields[name], name in optional) for name in fields}
    if any(problems.values()):
        raise errors.validation({name: found for name, found in problems.items() if found})


def _problems(payload: Mapping[str, Any], name: str, look: Check, optional: bool) -> Problems:
    if name not in payload:
        return [] if optional else ["This field is required."]
    return ["This field may not be null."] if payload[name] is None else look(payload[name])


def text(value: Any) -> Sequence[str]:
    """DRF's CharField."""
    if not isinstance(value, str):
        return ["Not a valid string."]
    return [] if value.strip() else ["This field may not be blank."]


def slug(value: Any) -> Sequence[str]:
    """DRF's SlugField."""
    if problems := text(value):
        return problems
    good = _SLUG.fullmatch(value)
    return [] if good else ["Enter a valid “slug” consisting of letters, numbers, underscores or hyphens."]


def https_url(value: Any) -> Sequence[str]:
    """DRF's URLField, for HTTPS alone."""
    if problems := text(value):
        return problems
    return [] if _HTTPS_URL.fullmatch(value) else ["Enter a valid URL."]


def boolean(value: Any) -> Sequence[str]:
    """DRF's BooleanField, of whose spellings only JSON's own are taken."""
    return [] if isinstance(value, bool) else ["Must be a valid boolean."]


def size(value: Any) -> Sequence[str]:
    """DRF's IntegerField with a least value of 0, of whose spellings only JSON's own are taken."""
    if not isinstance(value, int) or isinstance(value, bool):
        return ["A valid integer is required."]
    return [] if value >= 0 else ["Ensure this value is greater than or equal to 0."]


def texts(value: Any) -> Problems:
    """DRF's ListField of CharFields that may not be empty."""
    if not isinstance(value, list):
        return [f'Expected a list of items but got type "{type(value).__name__}".']
    if not value:
        return ["This list may not be empty."]
    return {str(number): problems for number, item in enumerate(value) if (problems := text(item))}
