"""Whether there is a configuration that can be used, and where it comes from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy import config, config_sources
from proxy.doctor.report import Finding, fail, ok

CHECK = "configuration"


def read(path: Path | None, overrides: Mapping[str, Any]) -> tuple[Finding, config.Settings | None]:
    """Load the settings as `serve` would; return what was found, and the settings if they are of use."""
    try:
        settings = config.load(path, overrides)
    except config.ConfigError as error:
        how_many = "1 problem" if len(error.problems) == 1 else f"{len(error.problems)} problems"
        advice = "Put right what is named above; config/avala.toml has every setting and its default."
        return fail(CHECK, f"{how_many}:\n{error}", advice), None
    sources = config_sources.read(config.Settings, path, overrides)
    said = [sources.file_name] if path or os.environ.get(config_sources.FILE_VARIABLE) else []
    said += sorted(sources.variables.values())
    if overrides:
        said.append("the command line")
    origin = f"it comes from {', '.join(said)}" if said else "all of it is the defaults"
    return ok(CHECK, f"It is valid; {origin}."), settings
