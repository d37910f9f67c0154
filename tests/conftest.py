"""What tests of more than one place begin with."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import StoreServer, start_store

# Machines are shared: how long an example takes says nothing of it.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def valkey() -> Iterator[StoreServer]:
    """Have the newest store running; each worker has its own."""
    with start_store("valkey") as server:
        yield server
