"""Commands on tasks: what is asked of whom, who has it, and the answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream.core.errors import ConfigurationError
from stream.core.task import FIRST, LAST, LONGEST
from stream.ops import cli_clocks
from stream.ops import tasks as desk
from stream.ops.cli_desk import YesOption, checked_reason, do
from stream.ops.command import LARGEST, AppOption, LimitOption, OutputOption, awaited, group, no
from stream.ops.orders import Note
from stream.ops.render import Output, explain_none, safe, show
from stream.ops.site import actor, read_site, unknown
from stream.runtime.doors import Desk

tasks = group(
    "Tasks: what people are asked, who has it, and the answer.\n\n"
    "Examples: stream tasks list --owner 'desk lead' · stream tasks answer 7 ticket.taken_over '{\"assignee\": \"ann\"}'"
)

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="The task's number.", min=1, max=LARGEST)]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit.")]


class Status(StrEnum):
    """Which tasks."""

    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"
    ANY = "any"


@tasks.command("list")
def list_tasks(
    owner: Annotated[str | None, typer.Option(help="Only what this owner is asked.")] = None,
    person: Annotated[str | None, typer.Option(help="Only what this person has claimed.")] = None,
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only of this entity.")] = None,
    status: Annotated[Status, typer.Option(help="Open ones, or those that were answered or closed.")] = Status.OPEN,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what should have been answered by now.")] = False,
    limit: LimitOption = 50,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What people are asked, the most urgent first, then the oldest; a negative "due in" is overdue.

    Example: stream tasks list --owner "desk lead"
    """
    wanted = desk.Wanted(owner, person, machine, entity, None if status is Status.ANY else status.value)
    site = read_site({"app": app})
    found = awaited(desk.read_tasks(site, wanted, limit, overdue=overdue))
    show(output, found, desk.tasks_table(found))
    explain_none(found, unknown(site, machine, owner))


@tasks.command("show")
def show_task(id: IdArgument, app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """One task: what is asked, which answers there are, who has it, what was said, what became of it.

    Example: stream tasks show 7
    """
    found = awaited(desk.read_task(read_site({"app": app}), id))
    if found is None:
        no(f"there is no task {id}")
    show(output, {"task": found[0], "comments": found[1]}, *desk.task_tables(*found))


@tasks.command("claim")
def claim(id: IdArgument, app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Take a task: nobody else answers it then. Of two at once one gets it, and the other is told who has.

    Example: stream tasks claim 7
    """
    found = awaited(desk.claim(read_site({"app": app}), id, actor()))
    show(output, found, *desk.task_tables(found, []))


@tasks.command("release")
def release(id: IdArgument, reason: WhyOption, app: AppOption = None, output: OutputOption = Output.TABLE) -> None:
    """Give a task back, your own or another's.

    Example: stream tasks release 7 --reason "off to lunch"
    """
    found = awaited(desk.release(read_site({"app": app}), id, actor(), checked_reason(reason)))
    show(output, found, *desk.task_tables(found, []))


@tasks.command("reassign")
def reassign(
    id: IdArgument,
    reason: WhyOption,
    to: Annotated[str | None, typer.Option(help="A person of its owner.")] = None,
    owner: Annotated[str | None, typer.Option(help="Another owner; without --to nobody of it has the task yet.")] = None,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a task to somebody else.

    Examples: stream tasks reassign 7 --to bob --reason "knows it" · stream tasks reassign 7 --owner finance --reason "about money"
    """
    if to is None and owner is None:
        raise ConfigurationError("to whom? say --to PERSON or --owner OWNER")
    found = awaited(desk.reassign(read_site({"app": app}), id, actor(), checked_reason(reason), owner=owner, person=to))
    show(output, found, *desk.task_tables(found, []))


@tasks.command("prioritise")
def prioritise(
    id: IdArgument,
    priority: Annotated[int, typer.Argument(min=FIRST, max=LAST, help="1 comes first.")],
    reason: WhyOption,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say how urgent a task is; lists show the most urgent first.

    Example: stream tasks prioritise 7 1 --reason "the director rang"
    """
    found = awaited(desk.prioritise(read_site({"app": app}), id, actor(), checked_reason(reason), priority))
    show(output, found, *desk.task_tables(found, []))


@tasks.command("due")
def due(
    id: IdArgument,
    reason: WhyOption,
    at: Annotated[str | None, typer.Option(help="The instant until which it is to be answered (RFC 3339).")] = None,
    by: Annotated[str | None, typer.Option(help="So much later, or earlier (-30m), in the time that its clock counts.")] = None,
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a task more time, or less: its limit is the clock "<state> task", and this moves it.

    Example: stream tasks due 7 --by 2h --reason "ann is back at noon"
    """
    found = awaited(desk.read_task(read_site({"app": app}), id))
    if found is None:
        no(f"there is no task {id}")
    task = found[0]
    desk.check_open(task)
    if task.due is None:
        no(f"task {id} may be answered whenever: it has no limit")
    cli_clocks.order(task.ref, cli_clocks.moved(f"{task.state} task", at, by), reason, yes, app, output)


@tasks.command("comment")
def comment(
    id: IdArgument, text: Annotated[str, typer.Argument(help="What you have to say.")], app: AppOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Say something of a task, for whoever has it next.

    Example: stream tasks comment 7 "the customer rang again"
    """
    site = read_site({"app": app})
    awaited(desk.comment(site, id, actor(), _words(text, "a comment")))
    show_task(id, app, output)


@tasks.command("answer")
def answer(
    id: IdArgument,
    type: Annotated[str | None, typer.Argument(help="The answer's type; not needed where there is but one.")] = None,
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its fields; whom it is about is known.")] = "{}",
    reason: Annotated[str, typer.Option(help="One of the task's reasons, where it has some.")] = "",
    comment: Annotated[str, typer.Option(help="What you have to say beside; it stays in the history.")] = "",
    yes: YesOption = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer a task, after a look at what the answer would do. Ends with 1 where it would be refused; a second answer comes too late.

    Examples: stream tasks answer 7 ticket.taken_over '{"assignee": "ann"}' · stream tasks answer 8 --reason vendor
    """
    site, words = read_site({"app": app}), _words(comment, "--comment") if comment else ""
    order, task = awaited(desk.order_of(site, id, actor(), type, data.encode("utf-8", "surrogatepass"), reason, words))
    why = ": ".join(part for part in (reason, words) if part)
    do(site, Desk(orders=[order]), Note(actor(), "tasks answer", task.target, why), yes, output, lambda: desk.check_asked(site, id))


def _words(text: str, what: str) -> str:
    said = text.strip()
    if not said or len(said) > LONGEST or safe(said) != said:
        raise ConfigurationError(f"{what} is one line of plain text of at most {LONGEST} characters")
    return said
