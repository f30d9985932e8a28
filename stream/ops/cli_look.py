"""Commands that only look: status, entities, why, machines, trace."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream.core import diagram
from stream.core.errors import ConfigurationError
from stream.core.record import Ref
from stream.ops.causes import Node, flow_tree, read_flow
from stream.ops.command import AppOption, LimitOption, OutputOption, awaited, group, no
from stream.ops.queries import EntityLine, questions
from stream.ops.render import Output, as_json, explain_none, fields, note, safe, show, table
from stream.ops.site import Site, read_site, unknown
from stream.ops.status import read_status, status_tables
from stream.ops.timeline import Told, entity_tables, owner_of, read_entity
from stream.ops.why import ask_unread, ask_why

entities = group("Entities: where each one is, and how it came there.\n\nExample: stream entities show ticket T-1")
machines = group("State machines, as the App declares them.\n\nExample: stream machines show ticket --format mermaid")


class Format(StrEnum):
    """How a machine is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"


def status(
    lag: Annotated[bool, typer.Option(help="Ask the broker how long each log is.")] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """How far every partition is, what became of its records, what waits, what is wrong.

    Examples: stream status · stream status --no-lag -o json
    """
    found = awaited(read_status(read_site(), lag=lag))
    show(output, found, *status_tables(found))


@entities.command("list")
def list_entities(
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    after: Annotated[str, typer.Option(help="Go on after this id; needs --machine.")] = "",
    limit: LimitOption = 50,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Entities, their states, and whose turn it is.

    Example: stream entities list --machine ticket --state Blocked
    """
    if after and not machine:
        raise ConfigurationError("--after names an id of one machine: say --machine too")
    site = read_site({"app": app})
    found = awaited(_entities(site, machine, state, Ref(machine or "", after), limit))
    rows = [(e.machine, e.id, e.state or "not born yet", owner_of(site.app, e.machine, e.state), e.since, e.version, _holds(e)) for e in found]
    shown = table("entities", ("machine", "id", "state", "owner", "since", "moves", "holds"), rows)
    show(output, [{**_plain(e), "owner": owner_of(site.app, e.machine, e.state)} for e in found], shown)
    explain_none(found, unknown(site, machine))


def _plain(entity: EntityLine) -> dict[str, object]:
    return {name: getattr(entity, name) for name in entity.__struct_fields__}


def _holds(entity: EntityLine) -> str:
    return ", ".join(word for bit, word in ((1, "timers"), (2, "line")) if entity.holds & bit)


async def _entities(site: Site, machine: str | None, state: str | None, after: Ref, limit: int) -> list[EntityLine]:
    async with questions(site.postgres) as ask:
        return await ask.entities(machine, state, after, limit)


@entities.command("show")
def show_entity(
    machine: Annotated[str, typer.Argument(help="The machine's name.")],
    id: Annotated[str, typer.Argument(help="The entity's id.")],
    limit: LimitOption = 100,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One entity: state, owner, timeline, timers, line. `--limit` counts the latest moves.

    Example: stream entities show ticket T-1
    """
    site = read_site({"app": app})
    told = awaited(_entity(site, Ref(machine, id), limit))
    if told is None:
        no(_nobody(site, machine, id))
    show(output, told, *entity_tables(told))


def _nobody(site: Site, machine: str, id: str) -> str:
    known = [m.name for m in site.app.machines]
    slip = "" if machine in known else f", and no machine {machine!r} in {site.app.name}, only {', '.join(known)}"
    return f"there is no {machine} {id!r}{slip}"


async def _entity(site: Site, ref: Ref, most: int) -> Told | None:
    async with questions(site.postgres) as ask:
        return await read_entity(ask, site.app, ref, most)


@machines.command("list")
def list_machines(app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """The App's machines.

    Example: stream machines list
    """
    found = [diagram.shown(machine) for machine in read_site({"app": app}).app.machines]
    rows = [(m.name, m.version, len(m.states), len(m.rows), ", ".join(dict.fromkeys(s.owner for s in m.states if s.owner))) for m in found]
    names = ("machine", "version", "states", "rows", "owners")
    show(output, [dict(zip(names, row, strict=True)) for row in rows], table("machines", names, rows))


@machines.command("show")
def show_machine(
    name: Annotated[str, typer.Argument(help="The machine's name.")],
    format: Annotated[Format, typer.Option("--format", "-f", "--output", "-o", help="For a terminal, a page, or a program.")] = Format.TEXT,
    app: AppOption = None,
) -> None:
    """One machine: its states, owners, targets and rows.

    Example: stream machines show ticket --format mermaid > ticket.mmd
    """
    found = read_site({"app": app}).app
    machine = found.machine(name)
    if machine is None:
        no(f"{found.name} has no machine {name!r}; it has {', '.join(m.name for m in found.machines)}")
    match format:
        case Format.JSON:
            typer.echo(as_json(diagram.shown(machine)))
        case Format.MERMAID:
            typer.echo(diagram.mermaid(machine), nl=False)
        case Format.TEXT:
            typer.echo("\n".join(map(safe, diagram.text(machine).splitlines())))


def why(
    machine: Annotated[str, typer.Argument(help="The machine's name.")],
    id: Annotated[str, typer.Argument(help="The entity's id.")],
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Why an entity does not move: the single cause in a sentence, and the next step.

    Example: stream why ticket T-1
    """
    site = read_site({"app": app})
    found = awaited(ask_why(site, Ref(machine, id)))
    if found is None:
        no(_nobody(site, machine, id) + ": no event ever referred to it" + awaited(ask_unread(site, machine)))
    show(output, found, fields(f"{machine}/{id}", [("why", found.sentence), ("next step", found.command)]))


def trace(
    correlation_id: Annotated[str, typer.Argument(help="The flow's correlation id.")],
    limit: LimitOption = 1000,
    output: OutputOption = Output.TABLE,
) -> None:
    """The tree of causes of one flow, from the database: events, what they did to entities, what was said because of them.

    Example: stream trace order-4711
    """
    roots, missing = awaited(_flow(read_site(), correlation_id, limit))
    if not roots:
        no(f"nothing is recorded under {correlation_id!r}")
    show(output, {"correlation_id": correlation_id, "roots": roots, "missing": missing}, flow_tree(correlation_id, roots))
    if missing:
        note(missing)


async def _flow(site: Site, correlation_id: str, most: int) -> tuple[list[Node], str]:
    async with questions(site.postgres) as ask:
        return await read_flow(ask, correlation_id, most)
