"""Watermarks: up to which instant each machine's events have certainly been applied, found by sweeps over levels of feeds.

Theory of operation. A sweep carries one instant, `bound`, up the levels of the App. On a level it first waits until no message for the level's
topics is unsent that was written before the level below was done, then until every partition of those topics was seen drained after that (or has
taken an event beyond the bound); then the level's machines are known up to the bound. What stands still for ten minutes of real time, while
somebody looks, holds nothing any more; what is reached by passing it over is marked. Pure: looks go in, watermarks come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stream.core.app import Feedmap
from stream.core.record import TopicPartition
from stream.ports import Feed, Feeds

PATIENCE = timedelta(minutes=10)

Hold = TopicPartition | str
"""A partition, or a topic: of which nothing is known yet, or whose messages are unsent."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Where a sweep stands: on `level`, waiting for what is unsent (`sending`) or for the partitions, as of `since`.

    All in movable time, as drained marks and outbox rows are stamped. `marked`: something silent was passed over.
    """

    bound: datetime
    since: datetime
    level: int = 0
    sending: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Watermarks:
    """What is known: the bound of each machine, which of them were reached past a silent feed, the sweep under way, and what was last seen move.

    `moved`: for each hold, what it looked like and the real time of the first look at it like that.
    """

    until: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    marked: Set[str] = frozenset()
    sweep: Sweep | None = None
    moved: Mapping[Hold, tuple[object, datetime]] = field(default_factory=dict[Hold, tuple[object, datetime]])


def step(known: Watermarks, feedmap: Feedmap, look: Feeds) -> Watermarks:
    """Take one look into account; goes up as many levels as it allows. A sweep that is through is followed by the next one."""
    moved = _moved(known.moved, feedmap, look)
    silent = {hold for hold, (_, since) in moved.items() if look.clock - since >= PATIENCE}
    sweep = known.sweep or _begun(look)
    until, marked = dict(known.until), set(known.marked)
    while sweep.level < len(feedmap.levels) and (passed := _passes(sweep, feedmap, look, silent)) is not None:
        sweep = replace(sweep, marked=sweep.marked or passed)
        if sweep.sending:
            sweep = replace(sweep, sending=False, since=look.now)
            continue
        for name, (level, _) in feedmap.machines.items():
            if level == sweep.level:
                until[name] = max(sweep.bound, until.get(name, sweep.bound))
                (marked.add if sweep.marked else marked.discard)(name)
        sweep = replace(sweep, level=sweep.level + 1, sending=True, since=look.now)
    return Watermarks(until, frozenset(marked), sweep if sweep.level < len(feedmap.levels) else _begun(look), moved)


def _begun(look: Feeds) -> Sweep:
    return Sweep(look.now, look.now)


def _passes(sweep: Sweep, feedmap: Feedmap, look: Feeds, silent: Set[Hold]) -> bool | None:
    """None: the sweep must wait; otherwise whether something silent was passed over."""
    holding = set(_unsent(sweep, feedmap, look) if sweep.sending else _lagging(sweep, feedmap, look))
    return bool(holding) if holding <= silent else None


def _unsent(sweep: Sweep, feedmap: Feedmap, look: Feeds) -> Iterator[Hold]:
    for topic in feedmap.levels[sweep.level]:
        if topic in look.unsent and look.unsent[topic] <= sweep.since:
            yield topic


def _lagging(sweep: Sweep, feedmap: Feedmap, look: Feeds) -> Iterator[Hold]:
    for topic in feedmap.levels[sweep.level]:
        feeds = [feed for feed in look.partitions if feed.place.topic == topic]
        if not feeds:
            yield topic
        yield from (feed.place for feed in feeds if not _done(feed, sweep))


def _done(feed: Feed, sweep: Sweep) -> bool:
    drained = feed.drained_at is not None and feed.drained_at >= sweep.since
    return drained or (feed.stream_time is not None and feed.stream_time > sweep.bound)


def _moved(before: Mapping[Hold, tuple[object, datetime]], feedmap: Feedmap, look: Feeds) -> dict[Hold, tuple[object, datetime]]:
    looks: dict[Hold, object] = {topic: look.unsent.get(topic) for topics in feedmap.levels for topic in topics}
    looks |= {feed.place: (feed.next_offset, feed.drained_at) for feed in look.partitions}
    return {hold: before[hold] if hold in before and before[hold][0] == seen else (seen, look.clock) for hold, seen in looks.items()}
