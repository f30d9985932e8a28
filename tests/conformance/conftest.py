"""Storage of both kinds for every test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.storage import Storage, closing, in_memory, in_postgres


@pytest.fixture(params=["memory", "postgres"])
def unclosed(request: pytest.FixtureRequest) -> Storage:
    """Not asynchronous: an asynchronous fixture cannot ask for another by name."""
    if request.param == "memory":
        return in_memory()
    # As the role that streams run as: whatever the suite asks of the store, that role must be allowed.
    return in_postgres(request.getfixturevalue("worker_url"), owner=request.getfixturevalue("database"))


@pytest.fixture
async def storage(unclosed: Storage) -> AsyncIterator[Storage]:
    async with closing(unclosed):
        yield unclosed
