"""From a site to running parts: the one place where the application, Kafka, PostgreSQL and traces are put together."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from anyio import sleep

from stream.adapters.kafka.log import KafkaLog
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.log_messenger import LogMessenger
from stream.adapters.otel.telemetry import OtelTelemetry, from_environment
from stream.adapters.postgres.check import check
from stream.adapters.postgres.notices import PostgresNotices
from stream.adapters.postgres.outbox import PostgresOutbox
from stream.adapters.postgres.store import PostgresStore
from stream.adapters.postgres.timetable import Ages, PostgresTimetable
from stream.adapters.webhook import WebhookMessenger, key_of, trusting
from stream.core.errors import ConfigurationError, UnavailableError
from stream.ops.site import Site
from stream.runtime.app import Parts, run
from stream.runtime.notifier import Telling

AGAIN = 2.0
"""Seconds between two questions to a database that does not answer at the start."""


def parts(site: Site, telemetry: OtelTelemetry) -> Parts:
    """Factories over the site's addresses; nothing connects before it is used."""
    postgres, kafka, days = site.postgres, site.kafka, site.settings.history_days
    ages = Ages(horizon=site.app.horizon, history=timedelta(days=days) if days else None)
    return Parts(
        store=lambda: PostgresStore(postgres),
        log=lambda: KafkaLog(kafka),
        publisher=lambda: KafkaPublisher(kafka),
        outbox=lambda: PostgresOutbox(postgres),
        timetable=lambda: PostgresTimetable(postgres, ages),
        telling=Telling(
            notices=lambda: PostgresNotices(postgres),
            messengers=lambda: {"webhook": WebhookMessenger(site.environ, ca_file=site.settings.webhook_ca_file), "log": LogMessenger()},
        ),
        telemetry=telemetry,
        sampling=telemetry.sampling,
    )


@contextmanager
def tracing(site: Site) -> Generator[OtelTelemetry]:
    """The exporter, started; at the end what is queued is sent, for a few seconds at most."""
    telemetry = from_environment(site.environ, service=site.app.name, group=site.group)
    telemetry.start()
    try:
        yield telemetry
    finally:
        telemetry.close()


async def checked(site: Site) -> None:
    """Schema, rights and whose they are. Raises `ConfigurationError`, `UnavailableError`."""
    await check(site.postgres, app=site.app.name, group=site.group)


async def serve(site: Site, telemetry: OtelTelemetry, roles: Collection[str] = ()) -> None:
    """Run the App until a signal. A database that is away at the start is waited for; what a person must put right is raised."""
    took = tuple(roles) or site.settings.roles
    if "notifier" in took:
        _check_keys(site)
        trusting(site.settings.webhook_ca_file)
    said = False
    while True:
        try:
            await checked(site)
            break
        except UnavailableError as error:
            if not said:
                structlog.get_logger("stream").warning("waiting for the database", error=str(error))
            said = True
            await sleep(AGAIN)
    await run(site.app, site.settings, parts(site, telemetry), roles)


def _check_keys(site: Site) -> None:
    """That what is sent to webhooks can be signed."""
    names = sorted(site.app.owners.secrets)
    if missing := [name for name in names if not site.environ.get(name)]:
        raise ConfigurationError(f"{', '.join(missing)}: owners.toml says that the key of a webhook is there; set it, or run without --role notifier")
    for name in names:
        try:
            key_of(site.environ[name])
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from None
