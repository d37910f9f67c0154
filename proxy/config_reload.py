"""Which settings are taken over while the proxy runs, and which only by a new start.

What is bound to sockets, files and connections that stay open, or to the shape of the metrics page and of
traces, stays as it was.
"""

from pydantic import ValidationError

from proxy.config import Settings
from proxy.config_report import ConfigError, problems

_FIXED = ("listen", "metrics", "redis", "state", "tracing")


def taken_over(now: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """Return the settings to go by, and the names of those that are wanted and need a new start.

    Raises ConfigError if what is wanted does not go together with what has to stay.
    """
    fixed: dict[str, object] = {name: getattr(now, name) for name in _FIXED}
    fixed["queue"] = wanted.queue.model_copy(update={"observe": now.queue.observe})
    fixed["log"] = wanted.log.model_copy(update={"format": now.log.format})
    values = {name: getattr(wanted, name) for name in type(wanted).model_fields} | fixed
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigError(tuple(problems(error, Settings, lambda path: ".".join(map(str, path))))) from None
    names = {"queue": "queue.observe", "log": "log.format"}
    return settings, [
        names.get(name, name) for name in fixed if getattr(settings, name) != getattr(wanted, name)
    ]
