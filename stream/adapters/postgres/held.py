"""Lines of held messages: put there and settled by the relay of their shard, sent on their way or shortened by a person.

Whoever changes a line first locks all of it, then reads it in a later statement: so a message that is put at the end of a line and an order that
takes away what stood before it never miss each other, and nothing stays behind nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import asyncpg

from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.adapters.refusals import sorted_out
from stream.ports import Outgoing, Refusal, Round
from stream.ports.held import Reply

_BEHIND = ("behind", "an earlier message of its key is held")

Places = tuple[list[str], list[bytes]]


async def hold(connection: Connection, round: Round, refused: Sequence[Refusal], passed: Sequence[Outgoing]) -> None:
    """Put what was refused, what came after it, and what was passed over at the end of their lines. In a transaction, under the fence."""
    _, stopped, behind = sorted_out(round, refused)
    rows = [*((r.seq, r.reason, r.error) for r in stopped), *((row.seq, *_BEHIND) for row in (*behind, *passed))]
    places = _places([*_named(round, stopped), *passed])
    await connection.fetch("lock_lines", *places)
    await connection.execute("hold", *([r[i] for r in rows] for i in range(3)))
    await connection.execute("follow_lines", *places, False)


async def settle(connection: Connection, round: Round, refused: Sequence[Refusal]) -> None:
    """Note what became of lines on their way. In a transaction, under the fence."""
    sent, stopped, _ = sorted_out(round, refused)
    await connection.fetch("lock_lines", *_places(round.rows))
    await connection.execute("settle_sent", [row.seq for row in sent])
    ended = _named(round, stopped)
    if ended:
        await connection.execute("refuse_again", [r.seq for r in stopped], [r.reason for r in stopped], [r.error for r in stopped])
        await connection.execute("stop_lines", *_places(ended))
    # Where nothing was refused the rest of a long line follows, whatever became of it before.
    closed = {(row.topic, row.key) for row in ended}
    await connection.execute("follow_lines", *_places(row for row in sent if (row.topic, row.key) not in closed), True)


class PostgresHeldLines:
    """See `ports.held.HeldLines`."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.connection = Connection(settings, keyed=True)

    async def retry(self, seqs: Collection[int], actor: str) -> Mapping[int, Reply]:
        async with self.connection.transaction("begin_plain"):
            lines = await self._lines(seqs)
            replies = {row["seq"]: _reply(row) for row in lines}
            firsts = sorted({row["first"] for row in lines if replies[row["seq"]] is Reply.DONE})
            await self.connection.execute("retry_held", firsts)
            await self.connection.execute("note_held", actor, "outbox retry", firsts, "")
        return {seq: replies.get(seq, Reply.GONE) for seq in seqs}

    async def skip(self, seq: int, actor: str, reason: str) -> Reply:
        async with self.connection.transaction("begin_plain"):
            lines = await self._lines([seq])
            reply = _reply(lines[0]) if lines else Reply.GONE
            if reply is Reply.DONE and lines[0]["first"] != seq:
                reply = Reply.BEHIND
            if reply is Reply.DONE:
                await self.connection.execute("drop_held", seq)
                await self.connection.execute("follow_lines", [lines[0]["topic"]], [lines[0]["key"]], False)
                await self.connection.execute("note_held", actor, "outbox skip", [seq], reason)
        return reply

    async def _lines(self, seqs: Collection[int]) -> list[asyncpg.Record]:
        """Lock the lines of these messages, then look at them."""
        places = {(row["topic"], row["key"]) for row in await self.connection.fetch("places_of_held", list(seqs))}
        await self.connection.fetch("lock_lines", [topic for topic, _ in places], [key for _, key in places])
        return await self.connection.fetch("lines_of_held", list(seqs))

    async def close(self) -> None:
        await self.connection.close()


def _reply(row: asyncpg.Record) -> Reply:
    if row["status"] in ("sent", "dropped"):
        return Reply.GONE
    return Reply.BUSY if row["retrying"] else Reply.DONE


def _named(round: Round, refused: Sequence[Refusal]) -> list[Outgoing]:
    seqs = {r.seq for r in refused}
    return [row for row in round.rows if row.seq in seqs]


def _places(rows: Iterable[Outgoing]) -> Places:
    """Topic and key of each line, once."""
    found = list(dict.fromkeys((row.topic, row.key) for row in rows))
    return [topic for topic, _ in found], [key for _, key in found]
