"""The rooms that failpoints and planted bugs share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.cases import Building, building
from tests.chaos.kiln_room import Kilns
from tests.chaos.kiln_room import kilns as built


@pytest_asyncio.fixture(scope="session")
async def rooms(kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Building]:
    async with building(kafka, postgres, tmp_path_factory.mktemp("rooms")) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def kilns(kafka: str, postgres: str, worker_login: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kilns]:
    async with built(kafka, postgres, tmp_path_factory.mktemp("kilns"), worker_login) as made:
        yield made
