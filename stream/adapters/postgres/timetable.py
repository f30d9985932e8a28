"""The ticker's side of the store: how far the feeds are, what is due, and the turning of what grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream.adapters.postgres.connection import Connection, PostgresSettings
from stream.core.errors import UnavailableError
from stream.core.record import Ref, TopicPartition
from stream.ports.timetable import Feed, Feeds


@dataclass(frozen=True, kw_only=True)
class Ages:
    """What `rotate` keeps. `rows` is the size of a partition of history and outbox and must not change while partitions exist.

    `horizon`: how long identities are remembered at least. `history`: None keeps it for ever.
    """

    horizon: timedelta = timedelta(days=14)
    history: timedelta | None = None
    rows: int = 4_000_000


class PostgresTimetable:
    """See `ports.timetable.Timetable`."""

    def __init__(self, settings: PostgresSettings, ages: Ages | None = None) -> None:
        self.connection = Connection(settings, keyed=True)
        self._ages = ages or Ages()

    async def feeds(self) -> Feeds:
        """Clocks first, then feeds, then what is unsent: each look is at least as late as the instant it is held against."""
        clocks = (await self.connection.fetch("times"))[0]
        feeds = await self.connection.fetch("feeds")
        unsent = await self.connection.fetch("unsent")
        return Feeds(
            now=clocks["now"],
            clock=clocks["clock"],
            partitions=[Feed(TopicPartition(r["topic"], r["partition"]), r["next_offset"], r["drained_at"], r["stream_time"]) for r in feeds],
            unsent={r["topic"]: r["oldest"] for r in unsent},
        )

    async def due(self, until: Mapping[str, datetime], limit: int) -> Sequence[tuple[Ref, datetime]]:
        if not until:
            return ()
        most = limit
        while True:
            rows = await self.connection.fetch("due", list(until), list(until.values()), most)
            read = Counter[str]()
            for row in rows:
                read[row["machine"]] += row["n"]
            if len(rows) >= limit or max(read.values(), default=0) < most:
                return [(Ref(r["machine"], r["entity_id"]), r["due"]) for r in rows[:limit]]
            # Several timers of one entity stood before those of the next.
            most *= 2

    async def rotate(self) -> Sequence[str]:
        """Each step is a transaction of its own with a short lock time-out; what could not be had now is had the next time."""
        ages = self._ages
        done: list[str] = []
        for name, args in (
            ("make_ahead", (ages.rows,)),
            ("turn_inbox", (ages.horizon,)),
            ("drop_outbox", (ages.rows,)),
            ("drop_history", (ages.history, ages.rows)),
            ("drop_notices", ()),
        ):
            try:
                done += (await self.connection.fetch(name, *args))[0]["done"]
            except UnavailableError as error:
                done.append(f"{name} put off: {error}")
        return done

    async def move_clock(self, ahead: timedelta) -> None:
        """Set how far the movable clock is ahead of the real one: for tests and the local stack."""
        await self.connection.execute("move_clock", ahead)

    async def close(self) -> None:
        await self.connection.close()
