"""What can be changed at the admin listener: a breaker is opened and closed, and the log gets another level.

Who may do so is decided in `visitors`.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import get_args

from aiohttp import web

from proxy.admin.answers import as_json, error, not_allowed
from proxy.admin.visitors import Visitor
from proxy.config import Level
from proxy.state import BreakerState

LEVELS: tuple[Level, ...] = get_args(Level)

_TURNED = re.compile(r"/breakers/(?P<group>[^/]+)/(?P<how>open|close)")
_SET = re.compile(r"/log/(?P<level>[^/]+)")


class Changes:
    """Show and change what can be changed.

    `breakers` are those of the groups that are configured; `force` opens (True) or closes one of them.
    `level` returns the log's level, and `set_level` sets another, until the next reload or start. `token`
    returns the admin token of this moment, and is None if none is configured.
    """

    def __init__(
        self,
        *,
        breakers: Callable[[], tuple[BreakerState, ...]],
        force: Callable[[str, bool], None],
        level: Callable[[], Level],
        set_level: Callable[[Level], None],
        token: Callable[[], str] | None,
    ) -> None:
        self._breakers = breakers
        self._force = force
        self._level = level
        self._set_level = set_level
        self._token = token

    async def show_breakers(self, _request: web.BaseRequest) -> web.Response:
        """Answer with every breaker."""
        return as_json([_breaker(one) for one in self._breakers()])

    async def show_level(self, _request: web.BaseRequest) -> web.Response:
        """Answer with the level in force."""
        return as_json({"level": self._level()})

    def answer(self, request: web.BaseRequest, visitor: Visitor) -> web.Response | None:
        """Change what is asked for, if they may; None if the path is not that of a change."""
        if turned := _TURNED.fullmatch(request.path):
            shown = "A breaker is opened and closed with POST; GET /breakers shows them."
            return self._denied(request, visitor, shown) or self._turn(turned["group"], turned["how"])
        if wanted := _SET.fullmatch(request.path):
            shown = "The level of the log is set with POST; GET /log shows it."
            return self._denied(request, visitor, shown) or self._change_level(wanted["level"])
        return None

    def _denied(self, request: web.BaseRequest, visitor: Visitor, shown: str) -> web.Response | None:
        if request.method != "POST":
            return not_allowed("POST", shown)
        denial = visitor.may_not_change(self._token() if self._token else None)
        if denial is None:
            return None
        response = error(denial.status, denial.detail)
        if denial.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = 'Bearer realm="avala-proxy admin"'
        return response

    def _turn(self, group: str, how: str) -> web.Response:
        # Those that are shown, which are those configured: others may be known from before a reload.
        names = [one.name for one in self._breakers()]
        if group not in names:
            return error(HTTPStatus.NOT_FOUND, f"There is no such group; there are {', '.join(names)}.")
        self._force(group, how == "open")
        return as_json(next(_breaker(one) for one in self._breakers() if one.name == group))

    def _change_level(self, name: str) -> web.Response:
        for level in LEVELS:
            if level == name:
                self._set_level(level)
                return as_json({"level": self._level()})
        return error(HTTPStatus.NOT_FOUND, f"There is no such level; there are {', '.join(LEVELS)}.")


def _breaker(breaker: BreakerState) -> dict[str, object]:
    return {"group": breaker.name, "state": breaker.state, "forced": breaker.forced}
