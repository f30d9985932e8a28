"""Commands on what owners are told."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from stream.ops.cli_desk import ReasonOption, checked_reason
from stream.ops.command import LARGEST, AppOption, LimitOption, OutputOption, awaited, group, no
from stream.ops.notifications import notice_table, notices_table, order, read_notices
from stream.ops.render import Output, note, show
from stream.ops.site import actor, read_site

notifications = group(
    "Notifications: what owners are told by webhooks and log lines, and what did not arrive.\n\nExample: stream notifications list --status failed"
)

IdsArgument = Annotated[list[int], typer.Argument(metavar="ID...", help="Their numbers.", min=1, max=LARGEST)]


class Status(StrEnum):
    """Which ones."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ANY = "any"


@notifications.command("list")
def list_notices(
    status: Annotated[Status, typer.Option(help="Only these.")] = Status.ANY,
    owner: Annotated[str | None, typer.Option(help="Only for this owner.")] = None,
    limit: LimitOption = 50,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """The latest first. One that waits is tried again by itself, for a day; one that failed waits for you.

    Example: stream notifications list --status failed --owner "desk lead"
    """
    found = awaited(read_notices(read_site({"app": app}), owner, None if status is Status.ANY else status.value, limit))
    show(output, found, notices_table(found))


@notifications.command("show")
def show_notice(
    id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST)], app: AppOption = None, output: OutputOption = Output.TABLE
) -> None:
    """One of them, with what is sent and why it did not arrive.

    Example: stream notifications show 12
    """
    found = awaited(read_notices(read_site({"app": app}), None, None, 1, id))
    if not found:
        no(f"there is no notification {id}")
    show(output, found[0], notice_table(found[0]))


@notifications.command("retry")
def retry(ids: IdsArgument, reason: ReasonOption, app: AppOption = None) -> None:
    """Send them again, at once and then for a day; under the same key, so a receiver that had it knows the repeat.

    Example: stream notifications retry 12 13 --reason "the hook is up again"
    """
    note(f"{awaited(order(read_site({'app': app}), 'retry', ids, actor(), checked_reason(reason)))} will be sent")


@notifications.command("cancel")
def cancel(ids: IdsArgument, reason: ReasonOption, app: AppOption = None) -> None:
    """Never send them.

    Example: stream notifications cancel 12 --reason "told by phone"
    """
    note(f"{awaited(order(read_site({'app': app}), 'cancel', ids, actor(), checked_reason(reason)))} will not be sent")
