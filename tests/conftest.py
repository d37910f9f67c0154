"""What tests of more than one place begin with."""

from collections.abc import Iterator

import pytest

from tests.servers import StoreServer, start_store


@pytest.fixture(scope="session")
def valkey() -> Iterator[StoreServer]:
    """Have the newest store running; each worker has its own."""
    with start_store("valkey") as server:
        yield server
