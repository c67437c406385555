"""Worker processes start what is queued, so they get databases where only these tests queue anything."""

from collections.abc import Iterator

import pytest

from tests.conftest import Databases, own_databases


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Databases of our own."""
    yield from own_databases(tmp_path_factory)
