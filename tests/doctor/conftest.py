"""What the doctor changes for its own process is put back."""

from collections.abc import Iterator
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

import pytest


@pytest.fixture(autouse=True)
def _as_many_open_files() -> Iterator[None]:
    before = getrlimit(RLIMIT_NOFILE)
    yield
    setrlimit(RLIMIT_NOFILE, before)
