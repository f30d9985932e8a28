"""Commands that set things up: migrate, topics, publish, config, health."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import time_ns
from typing import Annotated

import typer
from rich.text import Text

from stream.adapters.kafka.admin import Existing, KafkaAdmin, plan, require
from stream.adapters.kafka.publisher import KafkaPublisher
from stream.adapters.otel.telemetry import OtelTelemetry
from stream.adapters.postgres import migrate as migrations
from stream.adapters.postgres.address import read_address
from stream.adapters.postgres.check import check
from stream.adapters.postgres.connection import PostgresSettings
from stream.core.app import App
from stream.core.codec import is_correlation, record_of
from stream.core.errors import ConfigurationError, StreamError
from stream.core.identity import emitted_id, identity_of
from stream.core.record import Record, Ref
from stream.core.topic import Topic
from stream.core.trace import fresh
from stream.ops.command import AppOption, OutputOption, awaited, explained, group, instant, no
from stream.ops.events import event_of
from stream.ops.parts import tracing
from stream.ops.render import Output, fields, show, table
from stream.ops.site import Site, actor, read_site
from stream.ports import Outgoing
from stream.runtime.logs import configure
from stream.runtime.settings import shown

topics = group("Make Kafka's topics as the App declares them.\n\nExample: stream topics apply")
config = group("What is configured, and from where.\n\nExample: stream config show")


def migrate(
    print_sql: Annotated[bool, typer.Option("--print", help="Write the SQL to stdout instead of applying it.")] = False,
    grant: Annotated[str | None, typer.Option("--grant", metavar="ROLE", help="Give this role what `stream run` needs, and no more.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the database's tables, or bring them up to date. Safe to run again, and by several at once.

    Connects by database_owner_url where that is set, and then gives the role of database_url its rights too. A role that was given them before
    gets those on new tables by itself.

    Examples: stream migrate · stream migrate --grant stream_worker · stream migrate --print > schema.sql
    """
    if print_sql:
        typer.echo(migrations.text(grant or ""), nl=False)
        return
    site = read_site()
    role = grant or (read_address(site.postgres.dsn).user if site.postgres.owner_dsn else "")
    applied = awaited(_migrate(site.postgres.as_owner(), role))
    told = f"applied {', '.join(applied)}" if applied else f"schema {site.postgres.schema!r} is up to date"
    show(output, {"schema": site.postgres.schema, "applied": applied, "granted": role}, Text(told + (f"; {role!r} may run it" if role else "")))


async def _migrate(owner: PostgresSettings, role: str) -> list[str]:
    applied = [m.name for m in await migrations.apply(owner)]
    if role:
        await migrations.grant(owner, role)
    return applied


@topics.command("apply")
def apply_topics(app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Create what is missing, grow what has too few partitions, set declared retention. Never takes anything away.

    Example: stream topics apply --app handlers:app
    """
    steps = awaited(_apply_topics(read_site({"app": app})))
    show(output, {"steps": steps}, Text("\n".join(steps) if steps else "all topics are as declared"))


async def _apply_topics(site: Site) -> list[str]:
    async with KafkaAdmin(site.kafka) as admin:
        declared = _declared(site.app)
        steps = plan(declared, await admin.topics([t.name for t in declared]))
        await admin.apply(steps)
    return [step.text for step in steps]


@topics.command("list")
def list_topics(app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """The App's topics: what it declares, and what there is.

    Example: stream topics list --output json
    """
    site = read_site({"app": app})
    existing = awaited(_existing(site))
    rows = [_topic_row(site.app, topic, existing.get(topic.name)) for topic in _declared(site.app)]
    names = ["topic", "use", "partitions", "declared", "retention", "state"]
    show(output, [dict(zip(names, row, strict=True)) for row in rows], table("topics", names, rows))


async def _existing(site: Site) -> dict[str, Existing]:
    async with KafkaAdmin(site.kafka) as admin:
        return await admin.topics([t.name for t in _declared(site.app)])


def _declared(app: App) -> list[Topic]:
    names = {t.name for t in app.topics} | app.consumed | app.emitted
    return [app.topic(name) for name in sorted(names)]


def _topic_row(app: App, topic: Topic, there: Existing | None) -> list[object]:
    use = " and ".join(word for word, names in (("in", app.consumed), ("out", app.emitted)) if topic.name in names)
    steps = plan([topic], {topic.name: there} if there else {})
    state = "as declared" if not steps else "missing" if there is None else "; ".join(step.text for step in steps)
    return [topic.name, use or "declared", there.partitions if there else None, topic.partitions, there.retention if there else None, state]


def publish(
    type: Annotated[str, typer.Argument(help="The event's type, such as ticket.opened.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its fields.")],
    key: Annotated[str | None, typer.Option(help="Another record key than the event's own.")] = None,
    id: Annotated[str | None, typer.Option(help="Say the same id again, and it is a duplicate.")] = None,
    source: Annotated[str, typer.Option(help="Who says it: identity is (source, id).")] = "/stream/publish",
    time: Annotated[str | None, typer.Option(help="When it happened (RFC 3339); now by this machine's clock, when left out.")] = None,
    correlation_id: Annotated[str | None, typer.Option(help="The flow it belongs to.")] = None,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check an event against its class and put it on its topic.

    Refused is what would be lost or become a dead letter: a field that its class does not have, an id that is no id. `stream trace` takes the
    correlation id that is shown.

    Example: stream publish ticket.opened '{"ticket_id": "T-1", "title": "no network"}'
    """
    site = read_site({"app": app})
    at = instant(time, exact=True) or datetime.now(UTC)
    event = event_of(site, type, data.encode("utf-8", "surrogatepass"))
    named = id or emitted_id(secrets.token_bytes(16), Ref("publish", ""), 0, at)
    identity = identity_of(source, named)
    flow = _flow(correlation_id) or identity.hex()
    said = [("actor", actor()), ("correlationid", flow)]
    with _traced(site) as telemetry:
        trace = fresh(secrets.token_bytes(16), None, telemetry.sampling) if telemetry else None
        record = record_of(event, id=named, source=source, time=at, trace=trace, attributes=said)
        sent = Outgoing(0, record.topic, key.encode() if key is not None else record.key or b"", record.value or b"", _headers(record))
        began = time_ns()
        awaited(_publish(site, sent))
        if telemetry:
            telemetry.created(sent, began, time_ns())
    told = {"id": named, "source": source, "type": type, "topic": record.topic, "key": sent.key, "time": at, "correlation_id": flow}
    show(output, told, fields("published", [(name.replace("_", " "), value) for name, value in told.items()]))


@contextmanager
def _traced(site: Site) -> Generator[OtelTelemetry | None]:
    """Only where somebody said where traces go: a person at a terminal must not wait for a collector that nobody set up."""
    if not any(site.environ.get(f"OTEL_EXPORTER_OTLP_{which}ENDPOINT") for which in ("", "TRACES_")):
        yield None
        return
    configure(site.settings.log_format, site.settings.log_level)
    with tracing(site) as telemetry:
        yield telemetry


def _flow(said: str | None) -> str:
    """Whoever reads it replaces a correlation id that is none, so nothing would be found under it."""
    if said is not None and not is_correlation(said):
        raise ConfigurationError(f"--correlation-id {said!r}: say 1 to 128 of A-Za-z0-9._:-")
    return said or ""


def _headers(record: Record) -> list[tuple[str, bytes]]:
    return [(name, value) for name, value in record.headers if value is not None]


async def _publish(site: Site, sent: Outgoing) -> None:
    async with KafkaAdmin(site.kafka) as admin:
        require([sent.topic], await admin.topics([sent.topic]))
    publisher = KafkaPublisher(site.kafka)
    await publisher.start()
    try:
        refused = await publisher.publish([sent])
    finally:
        await publisher.stop()
    if refused:
        raise ConfigurationError(f"the broker refuses it ({refused[0].reason}): {refused[0].error}")


@config.command("show")
def show_config(app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Every setting, the value in force, and who said it; secrets masked. As a variable its name is STREAM_ and the setting in capitals.

    Example: stream config show --output json
    """
    site = read_site({"app": app})
    found = shown(site.configured)
    rows = [(name, value, site.said.get(name, "default")) for name, value in found.items()]
    show(output, found, table("settings", ("setting", "value", "from"), rows))


def health(app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Can it run here? Database, schema, broker, topics; ends with 1 when something is not well.

    Example: stream health || echo "not well"
    """
    site = read_site({"app": app})
    # The App first: one that cannot be imported is wrong use, and no fault of the database or the broker.
    checks = awaited(_checks(site, site.app))
    well = all(said == "ok" for _, said in checks)
    show(output, {"well": well, "checks": dict(checks)}, fields("health", checks))
    if not well:
        no("not well: " + ", ".join(name for name, said in checks if said != "ok"))


async def _checks(site: Site, app: App) -> list[tuple[str, str]]:
    async def database() -> None:
        await check(site.postgres, app=app.name, group=site.group)

    async def broker() -> None:
        wanted = app.consumed | app.emitted
        async with KafkaAdmin(site.kafka) as admin:
            require(wanted, await admin.topics(wanted))

    found: list[tuple[str, str]] = []
    for name, ask in (("database", database), ("broker", broker)):
        try:
            await ask()
            found.append((name, "ok"))
        except StreamError as error:
            found.append((name, explained(error)))
    return found
