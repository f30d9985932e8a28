"""Commands on what leaves: what waits in the outbox, what the broker refused, and whether outbox and topics agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import anyio
import typer
from rich.text import Text

from stream.adapters.postgres.held import PostgresHeldLines
from stream.core.errors import ConfigurationError
from stream.ops.command import LARGEST, AppOption, LimitOption, OutputOption, awaited, group, instant, no
from stream.ops.outbox import HeldLine, held_lines, message_tables, read_message, read_waiting, waiting_tables
from stream.ops.proof import plain, proof_tables
from stream.ops.queries import questions
from stream.ops.render import Output, note, progress, show
from stream.ops.site import Site, actor, read_site
from stream.ops.verify import Question, verify
from stream.ports.held import Reply

outbox = group("Messages on their way out: what is unsent, and what the broker refused.\n\nExample: stream outbox list")

MOST = 100_000
"""Lines of one order."""
LOOK = 0.2
"""Seconds between two looks at lines on their way."""

SeqArgument = Annotated[int, typer.Argument(help="The message's number, as `stream outbox list` shows it.", min=1, max=LARGEST)]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the relay to have sent them; 0 only leaves the order.")]
_REFUSED = {
    Reply.GONE: "is not held, or not any more",
    Reply.BUSY: "stands in a line that is on its way already: look again in a moment",
    Reply.BEHIND: "is not the first of its line: what stands before it is dealt with first",
}


@outbox.command("list")
def list_waiting(
    topic: Annotated[str | None, typer.Option(help="Only held messages of this topic.")] = None,
    limit: LimitOption = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """What is unsent, by topic and by shard with its relay; and the lines of held messages, the longest waiting first.

    A line is what is held of one topic and key: the message that the broker refused, and all later ones. Other keys flow.

    Example: stream outbox list
    """
    found = awaited(read_waiting(read_site(), topic, limit))
    show(output, found, *waiting_tables(found))


@outbox.command("show")
def show_message(seq: SeqArgument, output: OutputOption = Output.TABLE) -> None:
    """One message: what became of it, its headers and bytes.

    Example: stream outbox show 4711
    """
    told = awaited(read_message(read_site(), seq))
    if told is None:
        no(f"there is no message {seq}: sent ones leave the outbox when it is turned")
    show(output, told, *message_tables(told))


@outbox.command("verify")
def verify_topics(
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; may be said several times.")] = None,
    since: Annotated[str | None, typer.Option(help="Prove only what was written from this instant on, such as 2026-03-01T09:30:00Z.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Tell all that is found, not only the first 50.")] = False,
    app: AppOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that outbox and topics agree: reads the topics from their begin, and ends with 1 when something is found, a line each.

    Every committed message is on its topic, but for those unsent, held or skipped; nothing else is; the same id has the same bytes; numbers have no
    gaps, and first arrivals their order. Relays may be at work. What a topic, or the outbox, no longer keeps is counted as unverifiable.

    It reads all there is and needs some 300 bytes a message of temporary disk space (TMPDIR).

    Example: stream outbox verify --topic customers
    """
    site = read_site({"app": app})
    question = Question(topics=frozenset(topic or ()), since=instant(since), limit=None if all_ else 50)
    with progress() as tell:
        proof = awaited(verify(site, question, tell))
    show(output, plain(proof), *proof_tables(proof))
    if not proof.holds:
        no(proof.verdict)


@outbox.command("retry")
def retry_lines(
    where: Annotated[list[str] | None, typer.Argument(metavar="SEQ | TOPIC KEY", help="A message of the line, or the line's topic and key.")] = None,
    topic: Annotated[str | None, typer.Option(help="All lines of this topic instead.")] = None,
    wait: WaitOption = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have held lines sent again, each from its first message on, before anything newer of its key. Ends with 1 when one is refused again.

    The order stays: where no relay runs, the next one carries it out.

    Examples: stream outbox retry 4711 · stream outbox retry customers C-17 · stream outbox retry --topic customers
    """
    site = read_site()
    lines = awaited(_lines(site, where or [], topic))
    replies = awaited(_retry(site, [line.seq for line in lines]))
    ordered = [line for line in lines if replies[line.seq] is Reply.DONE]
    if not ordered:
        no(f"message {lines[0].seq} {_REFUSED[replies[lines[0].seq]]}")
    _report(site, ordered, wait, output, "ordered")


@outbox.command("skip")
def skip_message(
    seq: SeqArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit.")],
    wait: WaitOption = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Drop the first message of a held line for good; what is behind it goes on. Its consumers will see a gap in `ce_sequence`.

    Example: stream outbox skip 4711 --reason "told the customer by phone"
    """
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why, whoever looks for the missing message will ask")
    site = read_site()
    line = awaited(_lines(site, [str(seq)], None))[0]
    reply = awaited(_skip(site, seq, reason.strip()))
    if reply is not Reply.DONE:
        no(f"message {seq} {_REFUSED[reply]}" + (f"; the first is {line.seq}" if reply is Reply.BEHIND else ""))
    _report(site, [line], wait, output, "dropped")


async def _lines(site: Site, where: Sequence[str], topic: str | None) -> list[HeldLine]:
    """The lines that are meant; ends the command when there is none."""
    if (topic is None) == (not where) or len(where) > 2:
        raise ConfigurationError("say which: the number of a message, or a topic and a key, or --topic for all lines of a topic")
    async with questions(site.postgres) as ask:
        if topic is not None:
            return await held_lines(ask, topic, None, MOST) or no(f"nothing of topic {topic!r} is held")
        if len(where) == 2:
            found = await held_lines(ask, None, [(where[0], where[1].encode())], 1)
            return found or no(f"nothing of topic {where[0]!r} is held under key {where[1]!r}")
        if not where[0].isdecimal():
            raise ConfigurationError(f"{where[0]!r} is no number of a message; for a whole topic say --topic {where[0]}")
        held = await ask.rows("held_message", int(where[0]))
        places = [(row["topic"], row["key"]) for row in held if row["status"] in ("open", "retrying")]
        return await held_lines(ask, None, places, 1) or no(f"message {where[0]} {_REFUSED[Reply.GONE]}")


async def _retry(site: Site, seqs: Sequence[int]) -> dict[int, Reply]:
    lines = PostgresHeldLines(site.postgres)
    try:
        return dict(await lines.retry(seqs, actor()))
    finally:
        await lines.close()


async def _skip(site: Site, seq: int, reason: str) -> Reply:
    lines = PostgresHeldLines(site.postgres)
    try:
        return await lines.skip(seq, actor(), reason)
    finally:
        await lines.close()


def _report(site: Site, ordered: Sequence[HeldLine], wait: float, output: Output, done: str) -> None:
    """Say what became of the lines, as far as it is known when the wait is over."""
    left, relays = awaited(_settled(site, ordered, wait))
    going = [line for line in left if line.retrying]
    stopped = [line for line in left if not line.retrying]
    told = {done: [line.seq for line in ordered], "went": len(ordered) - len(left), "on_their_way": len(going), "refused": stopped}
    text = f"{done} {len(ordered)}; {len(ordered) - len(left)} went to the end"
    show(output, told, Text(text + (f", {len(going)} on their way" if going else "")))
    if stopped:
        no("refused: " + "; ".join(dict.fromkeys(f"message {line.seq}: {line.reason}: {line.error}" for line in stopped[:10])))
    if going and not relays:
        (no if wait else note)("no relay runs: the order stands, and `stream run --role relay` carries it out")
    elif going and wait:
        no(f"not sent within {wait:g} s: the order stands, `stream outbox list` shows what becomes of it")


async def _settled(site: Site, ordered: Sequence[HeldLine], wait: float) -> tuple[list[HeldLine], int]:
    """What is left of these lines when none is on its way any more, or waiting is over, or in vain; and how many relays there are."""
    places = [(line.topic, line.key) for line in ordered]
    async with questions(site.postgres) as ask:
        ends = anyio.current_time() + wait
        while True:
            left, relays = await held_lines(ask, None, places, len(places)), len(await ask.rows("relays"))
            if not relays or not any(line.retrying for line in left) or anyio.current_time() >= ends:
                return left, relays
            await anyio.sleep(LOOK)
