"""A process of its own for the tests that kill one: `python -m tests.integration.runtime.child TAG KAFKA DSN [ROLE ...]`."""

import sys

import anyio

from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.memory_telemetry import MemoryTelemetry
from stream.runtime.app import run
from stream.runtime.logs import configure
from tests.integration.runtime.world import World, application, broker


async def main(*words: str) -> None:
    tag, kafka, dsn, *roles = words
    configure("json")
    world = World(tag, application(tag), kafka, dsn, MemoryTelemetry(), KafkaPublisher(broker(kafka)))
    await run(world.app, world.settings, world.parts(), roles)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
