"""Commands by which a person gets things moving again: parked lines and dead letters."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from stream.adapters.postgres.columns import unpack_headers
from stream.core.changes import Changes
from stream.core.errors import ConfigurationError
from stream.core.order import Claim, Retry
from stream.core.outcome import Outcome
from stream.core.record import Ref
from stream.ops.command import LARGEST, AppOption, LimitOption, OutputOption, awaited, group, no
from stream.ops.orders import AgreedStore, Note, NotOpenError, carry_out
from stream.ops.queries import Letter, LetterLine, Parked, Waits, questions
from stream.ops.render import Output, fields, safe, show, table
from stream.ops.site import Site, actor, read_site
from stream.runtime.doors import Letters, Lines

parked = group("Entities that wait for a person because a handler failed.\n\nExample: stream parked retry ticket T-1")
letters = group("Records and events that were refused, with their original bytes.\n\nExample: stream dead-letters show 17")

MachineArgument = Annotated[str, typer.Argument(help="The machine's name.")]
IdArgument = Annotated[str, typer.Argument(help="The entity's id.")]


@parked.command("list")
def list_parked(
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None, limit: LimitOption = 50, output: OutputOption = Output.TABLE
) -> None:
    """Parked entities, the longest waiting first.

    Example: stream parked list --machine ticket
    """
    found = awaited(_parked(read_site(), machine, limit))
    names = ("machine", "id", "stopped at", "error", "tries", "since", "waiting")
    rows = [(p.machine, p.entity_id, p.event_type, p.error, p.attempts, p.since, p.waiting) for p in found]
    show(output, found, table("parked", names, rows))


async def _parked(site: Site, machine: str | None, limit: int) -> list[Parked]:
    async with questions(site.postgres) as ask:
        return await ask.parked(machine, limit)


@parked.command("show")
def show_parked(machine: MachineArgument, id: IdArgument, output: OutputOption = Output.TABLE) -> None:
    """What waits for one entity, in order, with the events' own bytes.

    Example: stream parked show ticket T-1
    """
    line = _line(read_site(), Ref(machine, id))
    names = ("id", "event", "event id", "outcome", "reason", "since", "tries", "error", "value")
    rows = [(w.id, w.event_type, w.event_id, w.outcome, w.reason, w.since, w.attempts, w.error, w.value) for w in line]
    show(output, line, table(f"{machine}/{id}", names, rows))


@parked.command("retry")
def retry_parked(machine: MachineArgument, id: IdArgument, app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Try the first event of a parked line again; when it goes through, those behind it follow in order. Ends with 1 when it fails again.

    Example: stream parked retry ticket T-1
    """
    _order(read_site({"app": app}), Ref(machine, id), "", output)


@parked.command("skip")
def skip_parked(
    machine: MachineArgument,
    id: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the history and the audit.")],
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Reject the first event of a parked line instead of applying it; those behind it follow. It becomes a dead letter that can be replayed.

    Example: stream parked skip ticket T-1 --reason "sent twice by the old desk"
    """
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why, whoever reads the history will ask")
    _order(read_site({"app": app}), Ref(machine, id), reason.strip(), output)


def _order(site: Site, ref: Ref, skip: str, output: Output) -> None:
    head = next((w for w in _line(site, ref) if w.outcome == Outcome.PARKED), None)
    if head is None:
        no(f"{ref.machine} {ref.id!r} is not parked")
    note = Note(actor(), "parked skip" if skip else "parked retry", "/".join(ref), skip)
    _, changes = awaited(carry_out(site, Lines([Retry(ref, actor(), skip, head.id)]), [note], AgreedStore(site.postgres, _something)))
    line = _line(site, ref)
    still = next((w for w in line if w.outcome == Outcome.PARKED), None)
    outcomes = _outcomes(changes)
    told = {"machine": ref.machine, "id": ref.id, "outcomes": outcomes, "waiting": len(line), "parked": still is not None}
    show(output, told, _told(outcomes, f"{len(line)} still wait" if line else "nothing waits any more"))
    if still:
        no(f"{ref.machine} {ref.id!r} is parked at {still.event_type}: {still.error}")


def _something(changes: Changes) -> None:
    if not changes.entities:
        raise NotOpenError("somebody else dealt with it meanwhile: nothing was done, look again")


def _line(site: Site, ref: Ref) -> list[Waits]:
    async def read() -> list[Waits]:
        async with questions(site.postgres) as ask:
            return await ask.line(ref)

    return awaited(read())


def _outcomes(changes: Changes) -> dict[str, int]:
    return dict(Counter(str(h.outcome) for h in changes.handled))


def _told(outcomes: dict[str, int], more: str = "") -> Text:
    return Text(", ".join([*(f"{n} {name}" for name, n in outcomes.items()), *([more] if more else [])]) or "nothing to do")


@letters.command("list")
def list_letters(
    status: Annotated[str, typer.Option(help="open, replayed, dropped, or all.")] = "open",
    reason: Annotated[str | None, typer.Option(help="Only for this reason.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only from this topic.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Dead letters, the newest first.

    Example: stream dead-letters list --reason schema_invalid
    """
    if status not in ("open", "replayed", "dropped", "all"):
        raise ConfigurationError(f"--status {status!r}: say open, replayed, dropped or all")
    found = awaited(_letters(read_site(), None if status == "all" else status, reason, topic, limit))
    names = ("id", "at", "status", "reason", "event", "entity", "where", "error")
    show(output, found, table("dead letters", names, [_letter_row(letter) for letter in found]))


async def _letters(site: Site, status: str | None, reason: str | None, topic: str | None, limit: int) -> list[LetterLine]:
    async with questions(site.postgres) as ask:
        return await ask.letters(status, reason, topic, limit)


def _letter_row(letter: LetterLine) -> tuple[object, ...]:
    entity = f"{letter.machine}/{letter.entity_id}" if letter.machine else ""
    return (letter.id, letter.at, letter.status, letter.reason, letter.event_type, entity, _where(letter), letter.error)


def _where(letter: LetterLine) -> str:
    return f"{letter.topic}/{letter.partition}@{letter.offset}"


@letters.command("show")
def show_letter(id: Annotated[int, typer.Argument(help="The letter's id.", min=1, max=LARGEST)], output: OutputOption = Output.TABLE) -> None:
    """One dead letter with its key, headers and value as they came.

    Example: stream dead-letters show 17
    """
    letter = awaited(_letter(read_site(), id))
    if letter is None:
        no(f"there is no dead letter {id}")
    headers = [(name, value) for name, value in unpack_headers(letter.headers)]
    told = {name: getattr(letter, name) for name in letter.__struct_fields__ if name != "headers"}
    show(output, {**told, "headers": headers}, *_letter_tables(letter, headers))


async def _letter(site: Site, id: int) -> Letter | None:
    async with questions(site.postgres) as ask:
        return await ask.letter(id)


def _letter_tables(letter: Letter, headers: list[tuple[str, bytes | None]]) -> list[RenderableType]:
    names = ("status", "reason", "error", "at", "event_type", "event_id", "machine", "entity_id", "correlation_id", "closed_by", "closed_at")
    head = [(name.replace("_", " "), getattr(letter, name)) for name in names]
    own = [("record", _where(letter)), ("key", letter.key), ("value", letter.value)]
    return [fields(f"dead letter {letter.id}", [*head, *own]), fields("headers", [(safe(name), value) for name, value in headers])]


@letters.command("replay")
def replay_letters(
    ids: Annotated[list[int], typer.Argument(help="The letters' ids.", min=1, max=LARGEST)],
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take refused events again, as they came. Limits of age are waived. All of them or none; what is refused again is a new letter, and ends with 1.

    Example: stream dead-letters replay 17 18
    """
    site = read_site({"app": app})
    notes = [Note(actor(), "dead-letter replay", f"dead letter {id}") for id in sorted(set(ids))]
    claim, changes = awaited(carry_out(site, Letters(sorted(set(ids)), actor()), notes))
    told = _replayed(ids, claim, changes)
    outcomes = _outcomes(changes)
    show(output, told, _told({**outcomes, **({"refused again": len(changes.dead)} if changes.dead else {})}))
    if changes.dead:
        no("refused again: " + "; ".join(dict.fromkeys(f"{d.reason}: {d.error}" for d in changes.dead)))


def _replayed(ids: list[int], claim: Claim, changes: Changes) -> dict[str, object]:
    refused = [{"reason": str(d.reason), "error": d.error} for d in changes.dead]
    return {"asked": sorted(set(ids)), "taken": len(claim.stored), "outcomes": _outcomes(changes), "refused": refused}
